"""How long to wait between tries: pure policies, each with a cap and, where clients must not move in step, jitter.

    Exponential(base=0.5, cap=30).delay(1)                  # somewhere in [0, 0.5] seconds, after the first try
    Fibonacci(base=0.5, cap=20, jitter="none").delay(5)     # 2.5

`delay(attempt)` is the wait after try number *attempt*, which counts from 1. Before jitter it never falls as *attempt*
grows. The cap is applied before the jitter, so that delays at the cap are spread too. "full" jitter draws from
[0, delay], "equal" from [delay / 2, delay], "none" gives the delay itself (Marc Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015).

The one surprise: with full jitter a wait may be close to 0. That is what spreads a crowd best; where a provider says how
long to wait, Retry never goes below that.
"""

from __future__ import annotations

import random
from typing import Literal, Protocol, runtime_checkable

from attrs import field, fields, frozen

from ._validate import at_least, non_negative, not_below, one_of, positive, random_source

__all__ = [
    "Backoff",
    "Constant",
    "DecorrelatedJitter",
    "Exponential",
    "Fibonacci",
    "Jitter",
    "LearningBackoff",
    "Linear",
]

Jitter = Literal["full", "equal", "none"]
JITTERS = ("full", "equal", "none")
_AT_ONCE = "write Constant(0) to try again at once"


@runtime_checkable
class Backoff(Protocol):
    """A policy of waiting. Any object with this method will do."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait after try number *attempt* (from 1), which raised *error*.

        *previous* is the wait before that try in seconds, None before the first.
        """
        ...


@runtime_checkable
class LearningBackoff(Backoff, Protocol):
    """A policy that is also told how tries end. *now* is in seconds on a clock that never jumps."""

    def observe_success(self, now: float) -> None:
        """A try succeeded."""

    def observe_error(self, error: BaseException, now: float) -> None:
        """A try failed; told before `delay` is asked."""

    def admission_delay(self, now: float) -> float:
        """Seconds that a try, a first one too, must wait before it is sent; takes its place in the queue."""
        ...


def spread(ceiling: float, jitter: Jitter, floor: float = 0.0) -> tuple[float, float]:
    """The least and the greatest delay that *jitter* makes of the range from *floor* to *ceiling*."""
    if jitter == "none":
        return ceiling, ceiling
    return (floor if jitter == "full" else (floor + ceiling) / 2), ceiling


def draw(bounds: tuple[float, float], rng: random.Random) -> float:
    """A delay within *bounds*, both included."""
    low, high = bounds
    return high if low == high else min(high, low + rng.random() * (high - low))


def grown(base: float, factor: float, steps: float, cap: float) -> float:
    """`min(cap, base * factor ** steps)`, also where the power is more than a float can hold."""
    try:
        power: float = float(factor) ** steps
    except OverflowError:
        return cap
    return min(cap, base * power)


@frozen(repr=False)
class _Jittered:
    """A delay that grows with the tries, is capped, then spread."""

    jitter: Jitter = field(default="full", validator=one_of(*JITTERS), kw_only=True)
    rng: random.Random = field(factory=random.Random, validator=random_source(), kw_only=True, repr=False, eq=False)

    def __repr__(self) -> str:
        own = [one for one in fields(type(self)) if one.repr]
        own.sort(key=lambda one: one.name == "jitter")  # what tells policies apart comes first
        return f"{type(self).__name__}({', '.join([f'{one.alias}={getattr(self, one.name)!r}' for one in own])})"

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait after try number *attempt*."""
        return draw(self.bounds(attempt, error, previous), self.rng)

    def bounds(
        self,
        attempt: int,
        error: BaseException | None = None,  # noqa: ARG002
        previous: float | None = None,  # noqa: ARG002
    ) -> tuple[float, float]:
        """The least and the greatest number of seconds that `delay` can answer."""
        return spread(self.bound(max(attempt, 1)), self.jitter)

    def bound(self, attempt: int) -> float:
        """The delay before jitter: never falls as *attempt* grows, never above the cap."""
        raise NotImplementedError


@frozen(repr=False)
class Constant(_Jittered):
    """The same *delay* each time, in seconds; without jitter unless asked for."""

    seconds: float = field(default=1.0, validator=non_negative(), alias="delay")
    jitter: Jitter = field(default="none", validator=one_of(*JITTERS), kw_only=True)

    def bound(self, attempt: int) -> float:  # noqa: ARG002
        """The same after every try."""
        return self.seconds


@frozen(repr=False)
class Linear(_Jittered):
    """base, base + step, base + 2 step ... seconds, at most *cap*; *step* is *base* unless given."""

    base: float = field(default=1.0, validator=non_negative())
    step: float = field(validator=non_negative())
    cap: float = field(default=30.0, validator=not_below("base"))

    @step.default
    def _same_as_base(self) -> float:
        return self.base

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        return min(self.cap, self.base + self.step * (attempt - 1))


@frozen(repr=False)
class Exponential(_Jittered):
    """base, base * factor, base * factor ** 2 ... seconds, at most *cap*."""

    base: float = field(default=0.5, validator=positive(remedy=_AT_ONCE))
    factor: float = field(default=2.0, validator=at_least(1, remedy="a wait that shrinks would feed a storm"))
    cap: float = field(default=30.0, validator=not_below("base"))

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        return grown(self.base, self.factor, attempt - 1, self.cap)


@frozen(repr=False)
class Fibonacci(_Jittered):
    """*base* times 1, 1, 2, 3, 5, 8 ... seconds, at most *cap*: gentler than doubling."""

    base: float = field(default=0.5, validator=positive(remedy=_AT_ONCE))
    cap: float = field(default=30.0, validator=not_below("base"))

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        before, now = 0.0, float(self.base)
        for _ in range(attempt - 1):
            if now >= self.cap:  # reached within some tens of tries, so a long outage costs no more
                break
            before, now = now, before + now
        return min(self.cap, now)


@frozen(repr=False)
class DecorrelatedJitter(_Jittered):
    """From *base* to three times the previous delay, at most *cap*: grows by chance, so that no two clients keep step.

    As in the article above, but the cap bounds the range that is drawn from and not the number drawn: most delays would
    otherwise be the cap itself, and clients would meet there. "none" gives the upper end of the range.
    """

    base: float = field(default=0.5, validator=positive(remedy=_AT_ONCE))
    cap: float = field(default=30.0, validator=not_below("base"))

    def bounds(
        self,
        attempt: int,  # noqa: ARG002
        error: BaseException | None = None,  # noqa: ARG002
        previous: float | None = None,
    ) -> tuple[float, float]:
        """The least and the greatest number of seconds that `delay` can answer after a wait of *previous*."""
        return spread(min(self.cap, 3 * max(self.base, previous or 0.0)), self.jitter, self.base)

    def bound(self, attempt: int) -> float:
        """The most that can be reached after try number *attempt*."""
        return grown(self.base, 3, attempt, self.cap)
