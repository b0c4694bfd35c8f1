"""A backoff that learns: longer while failures of a kind cluster, shorter as calls succeed, and it slows the client.

    Retry(attempts=5, backoff=Adaptive(base=0.5, cap=30))

Each class of errors has a level of its own: a failure raises it by one, a success lowers all of them, and the delay is
base * factor ** level. Besides, throttling turns on a limiter for the whole client, first tries included, as in the
"adaptive" retry mode of the AWS SDKs: the sending rate is cut to *beta* of what was measured at each throttle, and
grows along CUBIC (RFC 9438) afterwards. It is off until the first throttle.

The one surprise: one object serves one target. Shared by several providers, the throttling of one slows down all.
"""

from __future__ import annotations

import random
from collections import OrderedDict

from attrs import define, field, setters

from llamina.errors import OverloadedError, QuotaExceededError, RateLimitError

from ._validate import at_least, fraction, non_negative, positive

__all__ = ["Adaptive"]

_KINDS = 64  # classes of errors that are remembered
_SCALE = 0.4  # the constant C of CUBIC


@define(eq=False, on_setattr=setters.NO_OP)  # what is learnt is not validated anew with each call
class Adaptive:
    """Learn from what is observed.

    Args:
        base, factor, cap: the delay is `min(cap, base * factor ** level)`, drawn with full jitter.
        decay: levels that a success takes off.
        beta: share of the measured rate that is kept after a throttle.
        min_rate: calls per second to which throttling can slow the client at most.
        rng: source of the jitter.
    """

    base: float = field(default=0.5, validator=non_negative())
    factor: float = field(default=2.0, validator=at_least(1), kw_only=True)
    cap: float = field(default=30.0, validator=positive(), kw_only=True)
    decay: float = field(default=0.5, validator=positive(), kw_only=True)
    beta: float = field(default=0.7, validator=fraction(), kw_only=True)
    min_rate: float = field(default=0.5, validator=positive(), kw_only=True)
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False)

    _levels: OrderedDict[type, float] = field(init=False, repr=False, factory=OrderedDict)
    _rate: float | None = field(init=False, repr=False, default=None)
    _rate_max: float = field(init=False, repr=False, default=0.0)
    _throttled_at: float = field(init=False, repr=False, default=0.0)
    _free_at: float = field(init=False, repr=False, default=0.0)
    _measured: float = field(init=False, repr=False, default=0.0)
    _window: float = field(init=False, repr=False, default=0.0)
    _count: int = field(init=False, repr=False, default=0)

    @property
    def rate(self) -> float | None:
        """Calls per second to which the client is slowed, None while it is not."""
        return self._rate

    def bound(self, error: BaseException | None) -> float:
        """The delay before jitter after *error*, as learnt so far."""
        level = self._levels.get(type(error), 0.0)
        try:
            return min(self.cap, self.base * self.factor ** max(0.0, level - 1))
        except OverflowError:
            return self.cap

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:  # noqa: ARG002
        """Seconds to wait after *error*."""
        return self.rng.random() * self.bound(error)

    def observe_error(self, error: BaseException, now: float) -> None:
        """A try failed at *now* (seconds on a clock that never jumps)."""
        kind = type(error)
        # Beyond the level at which the cap is reached, more failures teach nothing that successes should have to undo.
        ceiling = 1.0
        while self.base * self.factor ** (ceiling - 1) < self.cap and ceiling < 64 and self.base > 0:
            ceiling += 1
        self._levels[kind] = min(ceiling, self._levels.pop(kind, 0.0) + 1.0)
        while len(self._levels) > _KINDS:
            self._levels.popitem(last=False)
        self._tick(now)
        if isinstance(error, RateLimitError | OverloadedError) and not isinstance(error, QuotaExceededError):
            self._rate_max = max(self.min_rate, self._measured if self._rate is None else self._rate)
            self._rate = max(self.min_rate, self._rate_max * self.beta)
            self._throttled_at = now

    def observe_success(self, now: float) -> None:
        """A try succeeded at *now*."""
        for kind, level in list(self._levels.items()):
            if level <= self.decay:
                del self._levels[kind]
            else:
                self._levels[kind] = level - self.decay
        self._tick(now)
        if self._rate is not None:
            # CUBIC: back to the old rate in a concave curve, then beyond it in a convex one.
            knee = (self._rate_max * (1 - self.beta) / _SCALE) ** (1 / 3)
            self._rate = max(self.min_rate, _SCALE * (now - self._throttled_at - knee) ** 3 + self._rate_max)
            if self._rate > 2 * max(self._rate_max, self._measured):
                self._rate = None  # the limiter no longer binds

    def admission_delay(self, now: float) -> float:
        """Seconds that the next try must wait for its turn; takes the turn."""
        if self._rate is None:
            return 0.0
        turn = max(now, self._free_at)
        self._free_at = turn + 1 / self._rate
        return turn - now

    def _tick(self, now: float) -> None:
        """Measure the rate at which tries end, smoothed over half seconds."""
        self._count += 1
        if not self._window:
            self._window = now
        elif now - self._window >= 0.5:
            rate = self._count / (now - self._window)
            self._measured = rate if not self._measured else 0.8 * rate + 0.2 * self._measured
            self._count = 0
            self._window = now
