"""The layer: a call holds a place of its tenant for as long as it is in flight."""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import Any, ClassVar

from attrs import Attribute, field, frozen
from llamina import ConfigurationError, Handler, RateLimitError, Request, Response

from .queue import FairQueue, QueueFullError

__all__ = ["FairShare"]


def _refuse(setting: Attribute[Any], must: str, value: object) -> None:
    raise ConfigurationError(f"FairShare.{setting.name} must be {must}, got {value!r}")


def _at_least_one(_: object, setting: Attribute[Any], value: object) -> None:
    if type(value) is not int or value < 1:
        _refuse(setting, "a whole number of at least 1", value)


def _not_negative(_: object, setting: Attribute[Any], value: object) -> None:
    if type(value) is not int or value < 0:
        _refuse(setting, "a whole number of at least 0", value)


def _seconds(_: object, setting: Attribute[Any], value: object) -> None:
    if value is not None and (type(value) not in (int, float) or not isfinite(value) or value <= 0):  # type: ignore[operator, arg-type]
        _refuse(setting, "a number of seconds above 0, or None for as long as it takes", value)


def _tag(_: object, setting: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        _refuse(setting, "the name of a tag, like 'tenant'", value)


@frozen(eq=False)
class FairShare:
    """At most *limit* calls in flight, streams included, shared fairly between those who call.

    Args:
        limit: calls in flight at once, over all tenants.
        queue: calls that may wait; what comes when they do is refused with a `RateLimitError`. 0: nothing waits.
        max_wait: seconds after which a call that waits is refused likewise; None: it waits as long as it takes.
        by: the tag of a request that says whose call it is. Calls without it share one turn.

    Raises:
        ConfigurationError: a setting is out of its range.

    One object in two stacks of one event loop is one limit for both.
    """

    limit: int = field(default=16, validator=_at_least_one)
    queue: int = field(default=1000, validator=_not_negative)
    max_wait: float | None = field(default=None, validator=_seconds)
    by: str = field(default="tenant", validator=_tag)
    _places: FairQueue = field(init=False, repr=False)
    _counts: dict[str, float] = field(init=False, repr=False)

    effects: ClassVar[frozenset[str]] = frozenset({"limits-concurrency"})

    @_places.default
    def _make_places(self) -> FairQueue:
        return FairQueue(self.limit, self.queue)

    @_counts.default
    def _make_counts(self) -> dict[str, float]:
        return {"admitted": 0, "waited": 0, "wait_seconds": 0.0, "refused": 0}

    def __call__(self, call_next: Handler) -> Handler:
        """The layer round *call_next*."""

        async def handle(request: Request) -> Response:
            key = request.tags.get(self.by, "")
            await self._enter(key)
            try:
                return await call_next(request)
            finally:
                self._places.leave(key)

        return handle

    async def _enter(self, key: str) -> None:
        clock = asyncio.get_running_loop().time
        counts, asked, must_wait = self._counts, clock(), self._places.taken >= self.limit
        try:
            await self._places.enter(key, self.max_wait)
        except QueueFullError:
            counts["refused"] += 1
            raise RateLimitError(f"{self.limit} calls are in flight and {self.queue} wait for their turn") from None
        except TimeoutError:
            counts["refused"] += 1
            raise RateLimitError(f"no place among {self.limit} became free within {self.max_wait} seconds") from None
        counts["admitted"] += 1
        counts["waited"] += must_wait
        counts["wait_seconds"] += clock() - asked

    def stats(self) -> dict[str, float]:
        """Calls admitted and refused, how many of them waited for how long, and how many are in flight or wait now."""
        now = {"in_flight": self._places.taken, "waiting": self._places.waiting}
        return {f"fair_share.{name}": value for name, value in {**self._counts, **now}.items()}

    def explain(self, request: Request | None = None) -> str:
        """What the layer does, in one line; with a *request*, whose turn it takes."""
        waits = "as long as it takes" if self.max_wait is None else f"at most {self.max_wait:g} s"
        whose = "" if request is None else f"; this one is of {self.by} {request.tags.get(self.by, '(none)')!r}"
        return f"at most {self.limit} calls at once, fair by {self.by}; up to {self.queue} wait, {waits}{whose}"
