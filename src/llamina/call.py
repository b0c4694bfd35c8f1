"""The record of one logical call: who asked, which physical attempts were made, what each of them cost.

    response.call.attempts                      # one Attempt per try that reached a terminal, in order
    response.call.cost, response.call.cost_complete
    error.call.attempts[-1].outcome             # "timeout", "rate_limited", ...

A `Call` is shared by everything that works on one logical call. A `Ledger` is path-scoped: a layer that sums what
happened below it opens a `child()`, so that branches side by side never see each other's entries.

The one surprise: an attempt is entered when it starts. While it is in flight its `outcome` is "" and whoever settles
money asks to be told (`when_settled`) instead of taking it for free.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from .messages import Usage
from .policy.money import to_decimal

__all__ = ["Attempt", "Call", "Ledger"]

_log = logging.getLogger("llamina")
_numbers = itertools.count(1)
_prefix = f"call_{os.urandom(8).hex()}"


def _new_prefix() -> None:
    global _prefix  # noqa: PLW0603 - a process has one
    _prefix = f"call_{os.urandom(8).hex()}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_prefix)  # a child must not repeat the ids of its parent


def _new_id() -> str:
    """An id that is unique over processes: one random prefix per process, and a counter."""
    return f"{_prefix}{next(_numbers):08x}"


class Attempt(msgspec.Struct):
    """One physical try.

    Attributes:
        provider, model: who was asked for what; answered_model: what the provider said it used.
        started: moment on the loop's clock; elapsed: seconds until it ended, streams included.
        held: seconds of *elapsed* in which the consumer of the stream held the provider back.
        first_event: seconds until the first content of a stream.
        outcome: "ok", or the outcome word of the error ("timeout", "rate_limited", "cancelled" ...); "" in flight.
        status, code, request_id: what the provider said of a failure.
        usage, usage_source: tokens, and whether they are "exact", "estimated" or "unknown".
        cost: USD, None while nobody has priced it; price: which price it was.
        backoff: seconds waited after it before the next try.
        rate_limit: what the provider's headers said of limits, None where they said nothing.
    """

    provider: str | None = None
    model: str = ""
    started: float = 0.0
    answered_model: str = ""
    elapsed: float | None = None
    held: float = 0.0
    first_event: float | None = None
    outcome: str = ""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    usage: Usage | None = None
    usage_source: str = "unknown"
    cost_units: int | None = None
    price: str | None = None
    backoff: float | None = None
    rate_limit: Mapping[str, float] | None = None
    _waiting: list[Callable[[Attempt], None]] | None = None

    @property
    def cost(self) -> Decimal | None:
        """USD, or None where the attempt has no price."""
        return None if self.cost_units is None else to_decimal(self.cost_units)

    @property
    def settled(self) -> bool:
        """Whether the attempt has ended."""
        return self.outcome != ""

    def when_settled(self, tell: Callable[[Attempt], None]) -> None:
        """Call *tell* with this attempt once it has ended (now, if it has)."""
        if self.outcome:
            tell(self)
        elif self._waiting is None:
            self._waiting = [tell]
        else:
            self._waiting.append(tell)

    def settle(self, outcome: str, elapsed: float) -> None:
        """End the attempt: set what is known of it first."""
        self.outcome = outcome
        self.elapsed = elapsed
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            for tell in waiting:
                try:
                    tell(self)
                except Exception:  # noqa: BLE001 - the attempt has ended, and the other listeners hear of it
                    _log.warning("a listener of an attempt failed", exc_info=True)

    def __repr__(self) -> str:
        who = f"{self.provider}/{self.model}" if self.provider else self.model
        if not self.outcome:
            return f"Attempt({who!r}, in flight)"
        ended = "" if self.elapsed is None else f" after {self.elapsed:.3g} s"
        cost = "" if self.cost is None else f", ${self.cost}"
        return f"Attempt({who!r}, {self.outcome!r}{ended}{cost})"

    def __reduce__(self) -> Any:
        # Whoever waits for the attempt is of this process and does not travel.
        return (Attempt, msgspec.structs.astuple(self)[:-1])


class Ledger(msgspec.Struct, eq=False):
    """Attempts of one path of a call; an entry shows in this node and in all above it."""

    parent: Ledger | None = None
    attempts: list[Attempt] = []  # msgspec makes a list for each

    def child(self) -> Ledger:
        """A node for one branch below."""
        return Ledger(self)

    def add(self, attempt: Attempt) -> None:
        """Enter *attempt* here and in every node above."""
        self.attempts.append(attempt)
        node = self.parent
        while node is not None:
            node.attempts.append(attempt)
            node = node.parent


class Call(msgspec.Struct, eq=False, weakref=True):
    """One logical call: tags, the root of the ledger, and whether a cache or another flight answered it.

    Attributes:
        tags: what the caller said of itself (tenant, user, project ...).
        cache: "hit", "stale" or None; joined: True when a flight of another caller answered.
        joins: number of times that a flight answered within this call; hits: the same for caches.
    """

    tags: Mapping[str, str]
    ledger: Ledger
    finished: bool = False
    cache: str | None = None
    hits: int = 0
    joins: int = 0
    _id: str = ""

    @property
    def id(self) -> str:
        """A unique id, made when it is first asked for."""
        if not self._id:
            self._id = _new_id()
        return self._id

    @property
    def attempts(self) -> list[Attempt]:
        """Every physical try of this call so far, in the order in which they began."""
        return self.ledger.attempts

    @property
    def cached(self) -> bool:
        """Whether a cache answered."""
        return self.hits > 0

    @property
    def joined(self) -> bool:
        """Whether a flight that another caller began answered."""
        return self.joins > 0

    @property
    def cost(self) -> Decimal:
        """USD: the sum over the attempts whose cost is known."""
        return to_decimal(sum([attempt.cost_units or 0 for attempt in self.attempts]))

    @property
    def cost_complete(self) -> bool:
        """Whether the cost of every attempt is known, exactly."""
        return all([a.cost_units is not None and a.usage_source == "exact" for a in self.attempts])

    @property
    def rate_limit(self) -> Mapping[str, float] | None:
        """What the latest answer that said anything said of limits: `remaining_tokens`, `reset_requests` (seconds)."""
        return next((each.rate_limit for each in reversed(self.attempts) if each.rate_limit is not None), None)

    @property
    def usage(self) -> Usage:
        """The tokens of all attempts together."""
        return sum([attempt.usage for attempt in self.attempts if attempt.usage is not None], Usage())

    def __repr__(self) -> str:
        known = "" if self.cost_complete else " or more"
        answered = f", cache {self.cache!r}" if self.cache else ", joined" if self.joined else ""
        return f"Call({self.id}, {len(self.attempts)} attempts, ${self.cost}{known}{answered})"

    def __reduce__(self) -> Any:
        assert self.id  # made now: a copy must not make another
        return (Call, msgspec.structs.astuple(self))
