"""What calls cost, per model, user, project and any other tag, and budgets that hold under concurrency.

    meter = CostMeter(prices={"gpt-4o-mini": {"input": "0.15", "output": "0.60"}},    # USD per million tokens
                      budgets=[Budget("5.00", period="day", scope="user")])
    build_stack([Retry(), meter, Timeout(30)], transport)
    meter.totals().cost, meter.by("user")["ada"].cost                                 # exact Decimals

Every physical try is charged: failed, timed-out and aborted ones too, from the ledger. Before a call its worst case is
held in every budget or in none; afterwards what it cost is settled. So any number of callers at once never spends a hard
budget beyond its limit by more than calls cost above their estimates. Put the meter inside Retry: each try is then held
and settled for itself.

The one surprise: only the provider's own count gives money back. A try that was cut after the provider may have worked
on it keeps what was held for it in the budget, while `totals()` shows its estimate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import field, frozen
from msgspec.structs import replace

from llamina.call import Attempt, Ledger
from llamina.errors import BudgetExceededError, ConfigurationError
from llamina.layer import Layer
from llamina.policy._validate import at_least
from llamina.policy.accounts import Accounts, Budget, BudgetBalance, Refusal, Reservation
from llamina.policy.estimate import DEFAULT_OUTPUT_TOKENS, worst_case
from llamina.policy.prices import Price, PriceBook, price_book
from llamina.policy.totals import Rows, Totals
from llamina.protocol import Handler, Request, Response
from llamina.record import estimate_prompt

__all__ = ["CostMeter"]

_log = logging.getLogger("llamina")


def _budgets(value: Any) -> tuple[Budget, ...]:
    budgets = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for budget in budgets:
        if not isinstance(budget, Budget):
            raise ConfigurationError(
                f'CostMeter.budgets must hold Budgets, got {budget!r}; write Budget("5.00", period="day", scope="user")'
            )
    return budgets


def _unpriced(_layer: Any, _field: Any, value: str) -> None:
    if value not in ("count", "refuse"):
        raise ConfigurationError(f'CostMeter.unpriced must be "count" or "refuse", got {value!r}')


_MOST_WARNINGS = 100
"""Models without a price that are named in the log; names come from callers."""


class _Counts:
    """What the layer has refused, and what it could not account."""

    def __init__(self) -> None:
        self.refused = self.faults = 0
        self.unpriced_models: set[str] = set()  # of which has been said that no budget counts them


@frozen(eq=False, slots=False, repr=False)
class CostMeter(Layer):
    """Charge every attempt below, and refuse calls for which a budget has no room.

    Args:
        prices: USD per million tokens by model; a price book; several of them in order; None for the prices of the
            genai-prices package (`pip install "llamina[prices]"`).
        budgets: limits; a call is held in all of them or refused.
        unpriced: what a hard budget does with a model without a price: "count" it and let it through, or "refuse" it.
        default_output_tokens: the longest answer that is reckoned with where a request states no limit.
        on_warning: told each time an account has spent `Budget.warn_at` of its limit; a warning is logged as well.
        max_rows: rows per tag that `by()` keeps; further values are counted under "other" (budgets stay exact).

    Raises:
        BudgetExceededError: a hard budget has no room; nothing was sent.
    """

    prices: PriceBook = field(default=None, converter=price_book, repr=False)
    budgets: tuple[Budget, ...] = field(default=(), converter=_budgets)
    unpriced: Literal["count", "refuse"] = field(default="count", kw_only=True, validator=_unpriced)
    default_output_tokens: int = field(default=DEFAULT_OUTPUT_TOKENS, kw_only=True, validator=at_least(1, integer=True))
    on_warning: Callable[[BudgetBalance], None] | None = field(default=None, kw_only=True, repr=False)
    max_rows: int = field(default=1000, kw_only=True, validator=at_least(1, integer=True))

    _counts: _Counts = field(init=False, repr=False, factory=_Counts)
    _accounts: Accounts = field(init=False, repr=False)
    _rows: Rows = field(init=False, repr=False)

    @_accounts.default
    def _open_accounts(self) -> Accounts:
        return Accounts(self.budgets)

    @_rows.default
    def _open_rows(self) -> Rows:
        return Rows(self.max_rows)

    @property
    def effects(self) -> frozenset[str]:
        """What the order of a stack is checked by: a meter with a hard budget also refuses."""
        return frozenset({"meters", "budgets"} if any([budget.hard for budget in self.budgets]) else {"meters"})

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        bounded = bool(self.budgets)

        async def handle(request: Request) -> Response:
            above = request.ledger
            node = Ledger(above)
            first = above is None or not above.attempts
            reservation = self._reserve(request) if bounded else None
            try:
                response = await call_next(replace(request, ledger=node))
            except BaseException:
                self._settle(request, node, reservation, first)
                raise
            self._settle(request, node, reservation, first)
            return response

        return handle

    def _reserve(self, request: Request) -> Reservation:
        """Hold the worst case of one try."""
        price = self.prices.price(request.model, None)
        if price is None:
            if self.unpriced == "refuse" and any(budget.hard for budget in self.budgets):
                self._counts.refused += 1
                raise BudgetExceededError(
                    f"the model {request.model!r} has no price, and the meter refuses what it cannot price; "
                    'give it one in CostMeter(prices=...), or set unpriced="count"',
                    model=request.model,
                )
            units = 0
            self._warn_unpriced(request.model)
        else:
            tokens = worst_case(estimate_prompt(request), request.params, self.default_output_tokens)
            units = price.worst_case(tokens[0], 0 if request.kind == "embed" else tokens[1])
        held = self._accounts.reserve(units, request.tags, time.time(), model=request.model)
        if isinstance(held, Refusal):
            self._counts.refused += 1
            raise held.error(model=request.model)
        return held

    def _settle(self, request: Request, node: Ledger, reservation: Reservation | None, first: bool) -> None:  # noqa: FBT001
        """Price what was tried below; a meter never fails a call that the provider answered."""
        try:
            in_flight = None
            for attempt in node.attempts:
                if attempt.outcome:
                    self._charge(attempt, request, first)
                    first = False
                else:
                    in_flight = [*(in_flight or ()), attempt]
            if in_flight is not None:
                self._settle_later(request, node, reservation, in_flight, first)
            elif reservation is not None:
                self._close(node, reservation)
        except Exception:  # noqa: BLE001 - the answer is delivered; the fault is counted and logged
            self._fault()

    def _fault(self) -> None:
        self._counts.faults += 1
        _log.warning("the cost meter could not account a call", exc_info=True)

    def _settle_later(
        self,
        request: Request,
        node: Ledger,
        reservation: Reservation | None,
        in_flight: list[Attempt],
        first: bool,  # noqa: FBT001
    ) -> None:
        """Work that a limit left behind still runs: charge it, and keep what is held for it, until it has ended."""
        waiting = len(in_flight)

        def ended(attempt: Attempt) -> None:
            nonlocal waiting, first
            waiting -= 1
            try:
                self._charge(attempt, request, first)
                first = False
                if not waiting and reservation is not None:
                    self._close(node, reservation)
            except Exception:  # noqa: BLE001 - as in `_settle`
                self._fault()

        for attempt in in_flight:
            attempt.when_settled(ended)

    def _charge(self, attempt: Attempt, request: Request, first: bool) -> None:  # noqa: FBT001
        units = attempt.cost_units
        usage = attempt.usage
        if units is None and usage is not None:
            price = self._price(attempt)
            if price is not None:
                # A try that was refused before any work costs nothing, not even a flat fee for the request.
                refused = attempt.outcome != "ok" and attempt.usage_source == "exact" and not usage.total_tokens
                units = 0 if refused else price.cost(usage)
                attempt.cost_units = units
                attempt.price = price.source
        self._rows.add(attempt, units, request.tags, first)

    def _price(self, attempt: Attempt) -> Price | None:
        """The price of the model that answered, else of the one that was asked."""
        find = self.prices.price
        price = find(attempt.answered_model, attempt.provider) if attempt.answered_model else None
        return price if price is not None else find(attempt.model, attempt.provider)

    def _warn_unpriced(self, model: str) -> None:
        """Say once for each model that the budgets cannot count it: a name with a mistake in it has no budget."""
        counts = self._counts
        if model in counts.unpriced_models or len(counts.unpriced_models) >= _MOST_WARNINGS:
            return
        counts.unpriced_models.add(model)
        _log.warning(
            "there is no price for the model %r, so the budgets do not count it; add it to CostMeter(prices=...), "
            'or set unpriced="refuse"',
            model,
        )

    def _close(self, node: Ledger, reservation: Reservation) -> None:
        units = sum([attempt.cost_units or 0 for attempt in node.attempts])
        estimated = any([attempt.usage_source != "exact" for attempt in node.attempts])
        for balance in self._accounts.settle(reservation, units, estimated=estimated):
            self._warn(balance.in_usd())

    def _warn(self, balance: BudgetBalance) -> None:
        budget = balance.budget
        period = f" a {budget.period}" if budget.period else ""
        owner = f" for {budget.scope} {balance.account!r}" if budget.scope else ""
        _log.warning("%s USD of the budget of %s USD%s%s are spent", balance.spent, balance.limit, period, owner)
        if self.on_warning is not None:
            self.on_warning(balance)

    def totals(self) -> Totals:
        """All calls so far."""
        return self._rows.totals()

    def by(self, tag: str) -> dict[str, Totals]:
        """All calls so far by the values of a tag, or by "model" or "provider"."""
        return self._rows.by(tag)

    def balances(self) -> list[BudgetBalance]:
        """What each account of each budget has spent and holds in its current period."""
        return [balance.in_usd() for balance in self._accounts.balances(time.time())]

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations_of_tries import of_cost_meter

        return "\n".join(of_cost_meter(self, request))

    def stats(self) -> Mapping[str, Any]:
        """`cost.total` (USD), `cost.requests`, `cost.attempts`, tokens, `cost.by_model`, `cost.by_user`, refusals."""
        totals = self.totals()
        return {
            "cost.total": totals.cost,
            "cost.requests": totals.requests,
            "cost.attempts": totals.attempts,
            "cost.input_tokens": totals.input_tokens,
            "cost.output_tokens": totals.output_tokens,
            "cost.estimated": totals.estimated,
            "cost.unpriced": totals.unpriced,
            "cost.by_model": {name: row.cost for name, row in self.by("model").items()},
            "cost.by_user": {name: row.cost for name, row in self.by("user").items()},
            "cost.refused": self._counts.refused,
            "cost.in_flight": self._accounts.in_flight,
            "cost.faults": self._counts.faults,
        }
