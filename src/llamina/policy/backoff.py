"""How long to wait between tries: pure policies, each with a cap and, where clients must not move in step, jitter.

    Exponential(base=0.5, cap=30).delay(1)        # somewhere in [0, 0.5] seconds, after the first try
    Fibonacci(base=0.5, cap=20, jitter="none").delay(5)     # 2.5

`delay(attempt)` is the wait after try number *attempt*, which counts from 1. The cap is applied before the jitter, so that
delays at the cap are spread too. "full" jitter draws from [0, delay], "equal" from [delay / 2, delay], "none" gives the
delay itself (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

The one surprise: with full jitter a wait may be close to 0. That is what spreads a crowd best; where a provider says how
long to wait, Retry never goes below that.
"""

from __future__ import annotations

import random
from typing import Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from llamina.errors import ConfigurationError

from ._validate import at_least, non_negative, positive

__all__ = ["Backoff", "Constant", "DecorrelatedJitter", "Exponential", "Fibonacci", "Jitter", "Linear"]

Jitter = Literal["full", "equal", "none"]


@runtime_checkable
class Backoff(Protocol):
    """A policy of waiting. One that learns also has `observe_success`, `observe_error` and `admission_delay`."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait after try number *attempt* (from 1), which raised *error*, *previous* seconds after the last."""
        ...


def _jitter(instance: Any, _attribute: Any, value: Any) -> None:
    if value not in ("full", "equal", "none"):
        raise ConfigurationError(f'{type(instance).__name__}.jitter must be "full", "equal" or "none", got {value!r}')


@frozen(eq=False)
class _Jittered:
    """A delay that grows with the tries, is capped, then spread."""

    jitter: Jitter = field(default="full", validator=_jitter, kw_only=True)
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False)

    def bound(self, attempt: int) -> float:
        """The delay before jitter: never falls as *attempt* grows, never above the cap."""
        raise NotImplementedError

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:  # noqa: ARG002
        """Seconds to wait after try number *attempt*."""
        return self.spread(self.bound(attempt))

    def spread(self, bound: float) -> float:
        """*bound* with the jitter of this policy."""
        if self.jitter == "none":
            return bound
        if self.jitter == "full":
            return self.rng.random() * bound
        return bound / 2 + self.rng.random() * bound / 2


@frozen(eq=False)
class Constant(_Jittered):
    """The same *seconds* each time; without jitter unless asked for."""

    seconds: float = field(default=1.0, validator=non_negative())
    jitter: Jitter = field(default="none", validator=_jitter, kw_only=True)

    def bound(self, attempt: int) -> float:  # noqa: ARG002
        """The same delay after every try."""
        return self.seconds


@frozen(eq=False)
class Linear(_Jittered):
    """base, base + step, base + 2 step ..., capped."""

    base: float = field(default=1.0, validator=non_negative())
    step: float | None = field(default=None, kw_only=True)
    cap: float = field(default=30.0, validator=positive(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.step is not None:
            at_least(0)(self, _Named("step"), self.step)

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        step = self.base if self.step is None else self.step
        return min(self.cap, self.base + step * (attempt - 1))


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


@frozen(eq=False)
class Exponential(_Jittered):
    """base, base * factor, base * factor ** 2 ..., capped."""

    base: float = field(default=0.5, validator=non_negative())
    factor: float = field(default=2.0, validator=at_least(1), kw_only=True)
    cap: float = field(default=30.0, validator=positive(), kw_only=True)

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        try:
            return min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap


@frozen(eq=False)
class Fibonacci(_Jittered):
    """base times 1, 1, 2, 3, 5, 8 ..., capped: gentler than doubling."""

    base: float = field(default=0.5, validator=non_negative())
    cap: float = field(default=30.0, validator=positive(), kw_only=True)

    def bound(self, attempt: int) -> float:
        """The delay after try number *attempt*, before jitter."""
        low, high = 0, 1
        for _ in range(attempt - 1):
            if self.base * high >= self.cap or self.base == 0:
                break
            low, high = high, low + high
        return min(self.cap, self.base * high)


@frozen(eq=False)
class DecorrelatedJitter:
    """Between *base* and three times the previous delay, capped: grows by chance, so that no two clients keep step."""

    base: float = field(default=0.5, validator=positive())
    cap: float = field(default=30.0, validator=positive(), kw_only=True)
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False)

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:  # noqa: ARG002
        """Seconds to wait, from the *previous* wait."""
        low = min(self.base, self.cap)
        high = min(self.cap, 3 * (previous if previous else self.base))
        return low + self.rng.random() * max(0.0, high - low)
