"""Budgets and the accounts behind them: how much may be spent, by whom, until when.

    accounts = Accounts([Budget("5.00", period="day", scope="user")])
    held = accounts.reserve(to_units("0.02"), {"user": "ann"}, now)     # before the call: a worst case
    if isinstance(held, Refusal):
        raise held.error()
    accounts.settle(held, to_units("0.013"))                            # after it: what it cost

A budget has an account for each value of its scope. What a call may cost is held in the accounts of all budgets or in
none, then settled: spent and held together never exceed a hard limit, however many calls are in flight, as long as a
call does not cost more than was held for it.

The one surprise: only an exact count gives back what was held beyond it. After an estimate the provider may still bill
up to the worst case, so the account keeps that; a call belongs to the period in which it was reserved, whenever it
ends, and a reservation that was swept still counts when it settles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from threading import RLock
from typing import Any, NamedTuple

import msgspec
from attrs import field, frozen

from llamina.errors import BudgetExceededError, ConfigurationError

from ._validate import fraction, optional
from .money import to_decimal, to_units
from .periods import Period, PeriodClock, find_zone

__all__ = ["UNTAGGED", "Accounts", "Balance", "Budget", "BudgetBalance", "Refusal", "Reservation"]

UNTAGGED = "untagged"
"""What the account of all calls without the tag of a budget's scope is called."""

_PERIODS = (None, "day", "week", "month")


def _check_limit(_: object, __: object, value: Decimal) -> None:
    if value < 0:
        raise ConfigurationError(f"Budget.limit must be at least 0, got {value}; 0 lets only free calls through")


def _limit(value: str | Decimal | int) -> Decimal:
    to_units(value, "Budget.limit")
    return Decimal(value)


def _check_period(_: object, __: object, value: str | None) -> None:
    if value not in _PERIODS:
        raise ConfigurationError(
            f"Budget.period must be 'day', 'week', 'month' or None, got {value!r}; None is one budget for ever"
        )


def _check_scope(_: object, __: object, value: str | None) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(
            f"Budget.scope must be the name of a tag, 'model', 'provider' or None, got {value!r}; None is one account for all"
        )


def _check_flag(_: object, __: object, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"Budget.hard must be True or False, got {value!r}; False counts and warns only")


@frozen
class Budget:
    """At most *limit* USD for each value of *scope* in each *period*.

    Attributes:
        limit: USD, as a string, an int or a Decimal.
        period: "day", "week" (from Monday), "month", or None for one budget for ever.
        scope: the tag that has an account for each of its values ("user"), "model", "provider", or None: one for all.
        tz: the time zone whose calendar counts.
        hard: False never refuses a call; it counts and warns.
        warn_at: share of the limit at which the account warns, once in each period; None never does.

    Raises:
        ConfigurationError: a value is of the wrong kind or out of range, or the time zone is not known.
    """

    limit: Decimal = field(converter=_limit, validator=_check_limit)
    period: str | None = field(default=None, validator=_check_period)
    scope: str | None = field(default=None, validator=_check_scope)
    tz: str = "UTC"
    hard: bool = field(default=True, validator=_check_flag)
    warn_at: float | None = field(
        default=0.8, validator=optional(fraction(remedy="it is a share of the limit, and None never warns"))
    )

    def __attrs_post_init__(self) -> None:
        find_zone(self.tz, "Budget.tz")


class Reservation(msgspec.Struct, eq=False):
    """Money that is held for one call, in one account of each budget.

    Attributes:
        amount: pico-dollars; moment: the reading of the caller's clock that it was given.
        holding: whether the amount is held; open: whether it is still to be settled.
    """

    accounts: list[_Account]
    amount: int
    moment: float
    holding: bool = True
    open: bool = True


class BudgetBalance(NamedTuple):
    """What an account of a budget has spent and holds in its period (USD)."""

    budget: Budget
    account: str | None
    limit: Decimal
    spent: Decimal
    held: Decimal


class Balance(NamedTuple):
    """What an account has spent and holds in its period (amounts in pico-dollars)."""

    budget: Budget
    account: str | None
    limit: int
    spent: int
    held: int

    def in_usd(self) -> BudgetBalance:
        """The same in USD."""
        amounts = [to_decimal(units) for units in (self.limit, self.spent, self.held)]
        return BudgetBalance(self.budget, self.account, *amounts)


class Refusal(NamedTuple):
    """Why a call may not be made: one budget of several, the one that waiting helps least (amounts in pico-dollars).

    `busy` is True when the call would fit but for what is held by calls in flight. `resets_at` is when a new period
    begins, `retry_after` the seconds until then; None where waiting for a new period does not help.
    """

    balance: Balance
    amount: int
    busy: bool
    resets_at: datetime | None
    retry_after: float | None

    def error(self, **facts: Any) -> BudgetExceededError:
        """The error to raise; *facts* (provider, model, call ...) go to it."""
        budget, account, limit, spent, held = self.balance
        if self.amount > limit:
            why = "the call alone may cost more than the limit; lower its max_tokens or raise the limit"
        elif self.busy:
            why = "calls in flight hold the rest; it may fit when they have ended"
        else:
            why = f"it resets at {self.resets_at.isoformat()}" if self.resets_at else "it never resets"
        period = f" a {budget.period}" if budget.period else ""
        owner = f" for {budget.scope} {account!r}" if budget.scope else ""
        return BudgetExceededError(
            f"the budget of {_usd(limit)} USD{period}{owner} has no room for a call of up to {_usd(self.amount)} USD: "
            f"{_usd(spent)} spent, {_usd(held)} held; {why}",
            limit=to_decimal(limit),
            spent=to_decimal(spent),
            held=to_decimal(held),
            scope=budget.scope,
            account=account,
            resets_at=self.resets_at,
            busy=self.busy,
            **{"retry_after": self.retry_after, **facts},
        )


class Accounts:
    """The accounts of several budgets. Safe to use from several threads.

    Moments are handed in: *now* is the wall clock in POSIX seconds and decides the period.
    """

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self.budgets = tuple(budgets)
        self._books = [_Book(budget) for budget in self.budgets]
        self._open: dict[Reservation, None] = {}
        # Re-entrant: memory taken inside can start the garbage collector, and that a coroutine's `finally: settle`.
        self._lock = RLock()

    @property
    def in_flight(self) -> int:
        """Reservations that are held."""
        return len(self._open)

    def reserve(
        self,
        amount: int,
        tags: Mapping[str, str],
        now: float,
        *,
        model: str | None = None,
        provider: str | None = None,
        moment: float = 0.0,
    ) -> Reservation | Refusal:
        """Hold *amount* pico-dollars in an account of every budget, or in none: then a Refusal says which and why.

        A budget by "model" or "provider" takes these, one by a tag takes it from *tags*. A call that costs nothing is
        never refused. *moment* is a reading of a clock that never jumps, for `sweep`.
        """
        self._lock.acquire()  # half the cost of `with`, on the path of every call
        try:
            accounts = []
            refusing = []
            for book in self._books:
                if not book.since <= now < book.until:
                    book.turn(now)
                scope = book.scope
                value = None
                if scope is not None:
                    value = (
                        model if scope == "model" else provider if scope == "provider" else tags.get(scope)
                    ) or None
                account = book.accounts.get(value) or book.open(value)
                if book.hard and account.spent + account.held + amount > book.limit and amount > 0:
                    refusing.append(account)
                accounts.append(account)
            if refusing:
                return _refuse(refusing, amount, now)
            for account in accounts:
                account.held += amount
            reservation = Reservation(accounts, amount, moment)
            self._open[reservation] = None
            return reservation
        finally:
            self._lock.release()

    def settle(self, reservation: Reservation, units: int, *, estimated: bool = False) -> Sequence[Balance]:
        """Charge what the call cost and give back what was held beyond it; returns the accounts that warn now.

        *estimated*: the provider did not say. The charge is then at least what was held. The second settling of a
        reservation changes nothing.
        """
        self._lock.acquire()
        try:
            if not reservation.open:
                return ()
            reservation.open = False
            held = 0
            if reservation.holding:
                reservation.holding = False
                del self._open[reservation]
                held = reservation.amount
            if estimated and units < reservation.amount:
                units = reservation.amount
            return _spend(reservation.accounts, units, held)
        finally:
            self._lock.release()

    def release(self, reservation: Reservation) -> None:
        """Give everything back: the call was certainly not worked on."""
        self.settle(reservation, 0)

    def charge(self, reservation: Reservation, units: int) -> Sequence[Balance]:
        """Charge *units* more, settled or not, to the accounts of *reservation*; returns the accounts that warn now."""
        with self._lock:
            return _spend(reservation.accounts, units, 0)

    def sweep(self, before: float) -> int:
        """Give back what is held since before that `moment`, and count how many; settling them later still charges."""
        with self._lock:
            stale = [reservation for reservation in self._open if reservation.moment < before]
            for reservation in stale:
                del self._open[reservation]
                reservation.holding = False
                for account in reservation.accounts:
                    account.held -= reservation.amount
            return len(stale)

    def balances(self, now: float) -> list[Balance]:
        """Every account of every budget in the period of *now*."""
        with self._lock:
            for book in self._books:
                book.turn(now)
            return [account.balance() for book in self._books for account in book.accounts.values()]


class _Book:
    """The accounts of one budget in its current period. Those of a period that ended live on in reservations only."""

    __slots__ = ("accounts", "budget", "clock", "hard", "limit", "scope", "since", "until", "warn_at", "window")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.scope = budget.scope
        self.hard = budget.hard
        self.limit = to_units(budget.limit)
        self.warn_at: int | None = None
        if budget.warn_at is not None:
            self.warn_at = max(1, math.ceil(self.limit * Decimal(str(budget.warn_at))))
        self.clock = PeriodClock(Period(budget.period, budget.tz) if budget.period else None)
        self.since, self.until = self.clock.since, self.clock.until
        self.accounts: dict[str | None, _Account] = {}
        self.window: tuple[float, float] | None = None

    def turn(self, now: float) -> None:
        """Go to the period of *now*."""
        window = self.clock.window(now)
        self.since, self.until = self.clock.since, self.clock.until
        if self.window is not None and window != self.window:
            self.accounts = {}
        self.window = window

    def open(self, value: str | None) -> _Account:
        account = self.accounts[value] = _Account(self, value)
        return account


class _Account:
    """What one value of a scope has spent and holds in one period."""

    __slots__ = ("book", "held", "spent", "value", "warn_at")

    def __init__(self, book: _Book, value: str | None) -> None:
        self.book = book
        self.value = value
        self.spent = 0
        self.held = 0
        self.warn_at = book.warn_at  # None once it has warned

    def balance(self) -> Balance:
        label = UNTAGGED if self.value is None and self.book.scope is not None else self.value
        return Balance(self.book.budget, label, self.book.limit, self.spent, self.held)


def _spend(accounts: list[_Account], units: int, held: int) -> Sequence[Balance]:
    warning = None
    for account in accounts:
        account.held -= held
        account.spent += units
        if account.warn_at is not None and account.spent >= account.warn_at:
            account.warn_at = None
            warning = [*(warning or ()), account.balance()]
    return warning or ()


def _refuse(refusing: list[_Account], amount: int, now: float) -> Refusal:
    """The refusal of several that waiting for calls in flight helps least."""
    busy, account = True, refusing[0]
    for each in refusing:
        if each.spent + amount > each.book.limit:
            busy, account = False, each
            break
    resets_at = account.book.clock.resets_at(now)
    retry_after = None
    if resets_at is not None and not busy and amount <= account.book.limit:
        retry_after = resets_at.timestamp() - now
    return Refusal(account.balance(), amount, busy, resets_at, retry_after)


def _usd(units: int) -> str:
    return format(to_decimal(units), "f")
