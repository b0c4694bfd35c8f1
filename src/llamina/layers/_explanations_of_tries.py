"""What the layers that deal with tries say of themselves: how often, at which intervals, for how much, and whether.

    of_cost_meter(CostMeter(budgets=[Budget("5", period="day")]), request)

As in `_explanations`: nothing is counted, held or drawn, and a prompt is never shown.

The one surprise: an open circuit whose time is over is still open. It is the next call that makes it half open.
"""

from __future__ import annotations

import math
from asyncio import get_running_loop
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamina.explain import duration, one_line, time_left
from llamina.policy.accounts import Budget
from llamina.policy.classify import default_classifier
from llamina.policy.estimate import worst_case
from llamina.policy.money import to_decimal, to_units
from llamina.protocol import Request
from llamina.record import estimate_prompt

from ._explanations import function_name
from ._sharing import leaves_traces

if TYPE_CHECKING:
    from ._circuit import Circuit
    from .circuit_breaker import CircuitBreaker
    from .cost import CostMeter
    from .retry import Retry

__all__ = ["longest_waits", "of_circuit_breaker", "of_cost_meter", "of_retry"]

_SHOWN = 5
"""Waits that are listed."""
_RECKONED = 10_000
"""Waits that are added up one by one; what is above is reckoned as this often the last."""


def of_retry(layer: Retry, request: Request | None) -> list[str]:
    """How many tries, after which waits, and what stops it."""
    if layer.attempts == 1:
        return ["tries once, and never again"]
    usual = layer.retry_on is default_classifier
    judge = "where another try can help" if usual else "for the errors that retry_on names"
    said = [f"tries up to {layer.attempts} times in all, {judge}; never once a stream has delivered content"]
    backoff = layer.backoff
    policies = backoff if isinstance(backoff, Mapping) else {None: backoff}
    for kind, policy in policies.items():
        said.append(f"waits {_waits(policy, layer.attempts)}{'' if kind is None else f' after {kind.__name__}'}")
    hint = layer.retry_after_max
    said.append(
        f"waits for a Retry-After of up to {duration(hint)} instead; a longer one ends the call"
        if hint
        else "a Retry-After ends the call"
    )
    budget = layer.budget
    if request is None:
        return said
    if budget is not None:
        left = int(budget.balance / budget.cost + 1e-9)
        said.append(f"its budget has room for {left} {'retry' if left == 1 else 'retries'} now")
    if layer.side_effects(request):
        why = "" if layer.side_effects is leaves_traces else f" ({function_name(layer.side_effects)})"
        said.append(f"this request has side effects{why}: again only after a failure before the provider worked on it")
    if not request.replayable:
        said.append("of this request a stream has delivered content already: it will not be tried again")
    left_over = time_left(request)
    if left_over is not None:
        said.append(f"does not wait beyond the request's deadline, {duration(left_over)} away")
    return said


def _waits(policy: Any, attempts: int) -> str:
    """The waits of a policy: each as a length or as the most that can be drawn."""
    bounds = getattr(policy, "bounds", None)
    if bounds is None:
        return f"as {one_line(type(policy).__name__)} says"
    spans: list[tuple[float, float]] = []
    for tried in range(1, min(attempts, _SHOWN + 1)):
        spans.append(bounds(tried, None, spans[-1][1] if spans else None))
    highs = [f"{high:.4g}" for _, high in spans]
    if len(set(highs)) == 1:
        highs, each = highs[:1], " each time" if len(highs) > 1 else ""
    else:
        each = ""
    listed = f"{', '.join(highs)}{' ...' if attempts - 1 > len(spans) and len(highs) > 1 else ''} s{each}"
    learns = "; learns from errors and may slow first tries down too" if hasattr(policy, "admission_delay") else ""
    jitter = getattr(policy, "jitter", "none")
    if jitter == "none" or all([low == high for low, high in spans]):
        return f"{listed}{learns}"
    return f"up to {listed}, drawn anew each time ({jitter} jitter){learns}"


def longest_waits(layer: Retry) -> tuple[float, float]:
    """Seconds that all waits of one call last at most: as the policies say, and where the provider asks for waits."""
    policies = layer.backoff.values() if isinstance(layer.backoff, Mapping) else (layer.backoff,)
    own = 0.0
    asked = 0.0
    hint = layer.retry_after_max
    previous: dict[int, float] = {}
    for tried in range(1, min(layer.attempts, _RECKONED + 1)):
        longest = 0.0
        for policy in policies:
            bounds = getattr(policy, "bounds", None)
            if bounds is None or layer._learning:
                return math.inf, math.inf
            previous[id(policy)] = high = bounds(tried, None, previous.get(id(policy)))[1]
            longest = max(longest, high)
        times = 1 if tried < _RECKONED else layer.attempts - _RECKONED
        own += times * longest
        # As the layer reckons: the longer of both, and a tenth of the hint on top.
        asked += times * (max(longest, hint) + max(0.1 * hint, 0.01) if hint else longest)
    return own, asked


def of_cost_meter(layer: CostMeter, request: Request | None) -> list[str]:
    """What is charged, which budgets refuse, and what they have left."""
    hard = any([budget.hard for budget in layer.budgets])
    said = [f"charges each try below{', and refuses a call for which a budget has no room' if hard else ''}"]
    if request is None:
        return [*said, *[_budget(budget) for budget in layer.budgets]]
    price = layer.prices.price(request.model, None)
    if price is None:
        units = 0
        refused = layer.unpriced == "refuse" and hard
        fate = "refused" if refused else "not counted in the budgets" if layer.budgets else "counted without a cost"
        said.append(f"knows no price for {one_line(request.model)!r}: this call will be {fate}")
    else:
        tokens, output = worst_case(estimate_prompt(request), request.params, layer.default_output_tokens)
        output = 0 if request.kind == "embed" else output
        units = price.worst_case(tokens, output)
        holds = "will hold" if layer.budgets else "reckons with"
        said.append(f"{holds} up to {_usd(units)} USD: about {tokens} tokens in, at most {output} out")
    known = {(balance.budget, balance.account): balance for balance in layer.balances()}
    for budget in layer.budgets:
        account = _account(budget, request)
        balance = known.get((budget, account))
        left = to_units(budget.limit)
        if balance is not None:
            left -= to_units(balance.spent) + to_units(balance.held)
        line = f"{_budget(budget)}: {_usd(max(0, left))} USD left{f' for {one_line(account)!r}' if account else ''}"
        if units > left and units:
            line += ", so it will be refused now" if budget.hard else ", which refuses nothing"
        said.append(line)
    return said


def _budget(budget: Budget) -> str:
    period = f" a {budget.period}" if budget.period else " in all"
    owner = f" for each {budget.scope}" if budget.scope else ""
    return one_line(f"a {'budget' if budget.hard else 'soft budget'} of {budget.limit} USD{period}{owner}")


def _account(budget: Budget, request: Request) -> str | None:
    """The account of *budget* that the request falls under, as balances name it."""
    from llamina.policy.accounts import UNTAGGED

    scope = budget.scope
    if scope is None:
        return None
    value = request.model if scope == "model" else None if scope == "provider" else request.tags.get(scope)
    return value or UNTAGGED


def _usd(units: int) -> str:
    """An amount as people read it: six decimals are enough, and what is not nothing never looks like it."""
    text = f"{to_decimal(units):.6f}"
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0")
    if units > 0 and whole == "0" and not decimals:
        return "less than 0.000001"
    return f"{whole}.{decimals:0<2}"


def of_circuit_breaker(layer: CircuitBreaker, request: Request | None) -> list[str]:
    """What opens a circuit, how it closes, and where that of the request stands now."""
    if layer._off:
        return ["lets every call pass, and judges none (off)"]
    causes = []
    if layer.fail_max is not None:
        causes.append(f"{layer.fail_max} failure{'' if layer.fail_max == 1 else 's'} in a row")
    among = f"of the calls in {duration(layer.window)} (from {layer.minimum_calls} on)"
    if layer.failure_rate is not None:
        causes.append(f"failures of {layer.failure_rate * 100:.3g} % {among}")
    if layer.slow_call is not None and layer.slow_rate is not None:
        causes.append(f"more than {duration(layer.slow_call)} for {layer.slow_rate * 100:.3g} % {among}")
    key = layer.key
    each = "" if key is None else " of that model" if key == "model" else f" of that {function_name(key)}"
    said = [
        f"refuses calls{each} for {duration(layer.reset_timeout)} after {' or '.join(causes)}",
        f"then lets {layer.half_open_max} at a time through; {layer.success_threshold} successes close it again",
    ]
    if layer._observes:
        said.append("lets every call pass nevertheless (observe)")
    if request is None:
        return said
    name = request.model if layer.key == "model" else layer.name if layer.key is None else layer.key(request)  # type: ignore[operator]
    circuit = layer._circuits.get(name)
    if circuit is None:
        fate = "isolated: it is refused" if layer._isolated else "closed: it passes"
    else:
        fate = _fate(circuit)
    if layer._observes:
        fate = fate.partition(":")[0]
    return [*said, f"this request falls under the circuit {one_line(name)!r}, which is {fate}"]


def _fate(circuit: Circuit) -> str:
    """The state of a circuit and what becomes of a call, without asking to be admitted."""
    state = circuit.state
    if state == "closed":
        return "closed: it passes"
    if state == "half-open":
        return f"half-open with {circuit.probes} of its probes in flight: it passes if a place is free"
    if state == "isolated":
        return "isolated: it is refused until that is ended by hand"
    try:
        now = get_running_loop().time()
    except RuntimeError:
        return "open: it is refused until the time is over"
    left = None if circuit._since is None else circuit._since + circuit._pause - now
    if left is not None and left <= 0:
        return "open, but its time is over: it passes as a probe"
    return f"open: it is refused for {'some time' if left is None else duration(round(left, 3))}"
