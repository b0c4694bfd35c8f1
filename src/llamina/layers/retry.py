"""Try again what can succeed the next time, as patiently as the provider asks.

    Retry(attempts=3, backoff=Exponential(base=0.5, cap=30))
    Retry(attempts=5, backoff={RateLimitError: Exponential(base=1), NetworkError: Constant(0)})

What is tried again: rate limits, overload, server and network errors, timeouts, malformed answers (the table is in
`llamina.policy.classify`). Never: a mistake of the caller, a used-up quota, a context that does not fit, content that was
refused, a cancellation, an error of a kind that nobody declared, and nothing at all once content of a stream has been
delivered. A server's Retry-After is waited for in full, with jitter on top; when it is longer than *retry_after_max*, or
a wait would not end before the request's deadline, the error is raised at once.

The one surprise: `attempts` counts all tries, the first one too.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import get_running_loop
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, ClassVar

from attrs import field, frozen

from llamina.errors import CircuitOpenError, ConfigurationError, RateLimitError
from llamina.layer import Layer
from llamina.policy._validate import at_least, non_negative
from llamina.policy.backoff import Backoff, Exponential
from llamina.policy.classify import default_classifier, wait_hint
from llamina.policy.retry_budget import RetryBudget
from llamina.protocol import Handler, Request, Response

from ._sharing import leaves_traces

__all__ = ["Retry"]

BackoffChoice = Backoff | Mapping[type[BaseException], Backoff]


def _usable(_layer: Any, _field: Any, value: Any) -> None:
    policies = value.values() if isinstance(value, Mapping) else [value]
    if isinstance(value, Mapping):
        for kind in value:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ConfigurationError(
                    f"Retry.backoff has the key {kind!r}; its keys are error classes: {{RateLimitError: Exponential()}}"
                )
    for policy in policies:
        if isinstance(policy, type) or not callable(getattr(policy, "delay", None)):
            raise ConfigurationError(
                f"Retry.backoff must be a backoff, or a mapping from error classes to backoffs, got {policy!r}; "
                "write Exponential(base=0.5, cap=30)"
            )


def _decider(value: Any) -> Callable[[BaseException], bool]:
    kinds = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    if kinds and all([isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds]):
        return lambda error: isinstance(error, kinds)
    if isinstance(value, type) or not callable(value):
        raise ConfigurationError(
            f"Retry.retry_on must be a function of an error, or classes of errors, got {value!r}; "
            "write lambda error: isinstance(error, RateLimitError)"
        )
    decide: Callable[[BaseException], bool] = value
    return decide


class _Counts:
    """What the layer has done so far."""

    def __init__(self) -> None:
        self.calls = self.successful = self.retries = 0
        self.waited = 0.0
        self.reasons: dict[str, int] = {}

    def because(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


@frozen(eq=False, slots=False, repr=False)
class Retry(Layer):
    """Call the handlers below again while that can help.

    Args:
        attempts: total tries, at least 1.
        backoff: how long to wait between tries, or one policy per error class (the nearest class wins; what is not
            listed waits as `Exponential()`).
        retry_on: `error -> bool` in place of the default classifier, or classes of errors that are tried again.
        budget: bounds retries over all calls of this layer, so that an outage is not answered by a storm; None for none.
        retry_after_max: seconds; a longer wait that the server asks for is not waited for, the error is raised.
        side_effects: `request -> bool`: such a request is tried again only after a failure that certainly came before
            the provider worked on it.
        rng: source of the jitter that is added to a server's Retry-After.

    Raises:
        The last try's own error, when tries, budget or time are used up; `error.call.attempts` lists all of them.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"replays", "needs-commit-point"})

    attempts: int = field(
        default=3, validator=at_least(1, remedy="leave Retry out of the stack to disable it", integer=True)
    )
    backoff: BackoffChoice = field(factory=Exponential, kw_only=True, validator=_usable)
    retry_on: Callable[[BaseException], bool] = field(
        default=default_classifier, converter=_decider, kw_only=True, repr=False
    )
    budget: RetryBudget | None = field(factory=RetryBudget, kw_only=True)
    retry_after_max: float = field(default=60.0, kw_only=True, validator=non_negative())
    side_effects: Callable[[Request], bool] = field(default=leaves_traces, kw_only=True, repr=False)
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False)

    _counts: _Counts = field(init=False, repr=False, factory=_Counts)
    _learning: tuple[Any, ...] = field(init=False, repr=False)

    @_learning.default
    def _policies_that_learn(self) -> tuple[Any, ...]:
        policies = self.backoff.values() if isinstance(self.backoff, Mapping) else (self.backoff,)
        return tuple([policy for policy in policies if _learns(policy)])

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        budget = self.budget
        deposit = None if budget is None else budget.deposit
        learning = self._learning
        counts = self._counts

        async def handle(request: Request) -> Response:
            counts.calls += 1
            tried = 0
            delay: float | None = None
            while True:
                if learning:
                    await self._admit(request)
                tried += 1
                try:
                    response = await call_next(request)
                except Exception as error:
                    for policy in learning:
                        policy.observe_error(error, get_running_loop().time())
                    reason, delay = self._decide(request, error, tried, delay)
                    if reason:
                        counts.because(reason)
                        raise
                else:
                    if deposit is not None:
                        deposit()
                    for policy in learning:
                        policy.observe_success(get_running_loop().time())
                    counts.successful += 1
                    if tried > 1:
                        counts.because("recovered")
                    return response
                # Outside of the except block, so that a cancellation here does not drag the old error along.
                ledger = request.ledger
                if ledger is not None and ledger.attempts:
                    ledger.attempts[-1].backoff = delay
                await asyncio.sleep(delay)
                counts.retries += 1
                counts.waited += delay

        return handle

    def _decide(self, request: Request, error: Exception, tried: int, previous: float | None) -> tuple[str, float]:
        """Why not to try again ("" to do so), and how many seconds to wait first."""
        if not self.retry_on(error):
            return "not_retryable", 0.0
        if tried >= self.attempts:
            return "exhausted", 0.0
        if not request.replayable:
            return "committed", 0.0
        if self.side_effects(request) and getattr(error, "processed", True):
            return "side_effects", 0.0
        hint = wait_hint(error)
        if hint is None and isinstance(error, CircuitOpenError):
            return "circuit_open", 0.0  # not known when it will let anything through
        delay = self._policy(error).delay(tried, error, previous)
        if not 0.0 <= delay < inf:
            raise ConfigurationError(
                f"{type(self._policy(error)).__name__}.delay must give seconds of at least 0, got {delay!r}"
            ) from error
        if hint is not None:
            if hint > self.retry_after_max:
                return "retry_after_max", 0.0
            # Never below the hint, and spread above it: clients that were told the same do not come back together.
            delay = max(delay, hint) + self.rng.random() * max(0.1 * hint, 0.01)
        if request.deadline is not None and get_running_loop().time() + delay >= request.deadline:
            return "deadline", 0.0
        if self.budget is not None and not self.budget.try_withdraw(error):
            return "budget", 0.0
        return "", delay

    def _policy(self, error: BaseException) -> Backoff:
        backoff = self.backoff
        if not isinstance(backoff, Mapping):
            return backoff
        for kind in type(error).__mro__:
            if kind in backoff:
                return backoff[kind]
        return _DEFAULT

    async def _admit(self, request: Request) -> None:
        """Wait as long as a learning backoff slows this client down; a wait beyond the deadline is refused."""
        now = get_running_loop().time()
        wait = max([policy.admission_delay(now) for policy in self._learning])
        if wait <= 0.0:
            return
        if request.deadline is not None and now + wait >= request.deadline:
            self._forgo()
            raise RateLimitError(
                f"this client slows itself down for {wait:.3g} s more, which is beyond the deadline",
                model=request.model,
                retry_after=wait,
                processed=False,
            )
        self._counts.waited += wait
        try:
            await asyncio.sleep(wait)
        except BaseException:
            self._forgo()
            raise

    def _forgo(self) -> None:
        """Give back the turn that was taken: others wait for it."""
        for policy in self._learning:
            if hasattr(policy, "forgo_admission"):
                policy.forgo_admission()

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations_of_tries import of_retry

        return "\n".join(of_retry(self, request))

    def _at_worst(self, calls: float, own: float, asked: float) -> tuple[float, float, float]:
        from ._explanations_of_tries import longest_waits

        waits, longer = longest_waits(self)
        return calls * self.attempts, own * self.attempts + waits, asked * self.attempts + longer

    def stats(self) -> dict[str, Any]:
        """`retry.attempts` made, `.successful` calls, `.failed` calls, `.delay` seconds waited, why it gave up."""
        counts = self._counts
        failed = sum([count for reason, count in counts.reasons.items() if reason != "recovered"])
        gave_up = {f"retry.{name}": count for name, count in counts.reasons.items()}
        return {
            "retry.calls": counts.calls,
            "retry.attempts": counts.calls + counts.retries,
            "retry.retries": counts.retries,
            "retry.successful": counts.successful,
            "retry.failed": failed,
            "retry.delay": counts.waited,
            **gave_up,
        }


_DEFAULT = Exponential()


def _learns(policy: Any) -> bool:
    return all([hasattr(policy, name) for name in ("observe_success", "observe_error", "admission_delay")])
