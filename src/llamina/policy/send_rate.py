"""How fast a client may send, learnt from being throttled: the client-side limiter of the AWS SDKs' adaptive mode.

    pace = SendRate()
    wait = pace.reserve(now)          # 0.0: no limit until the first throttle
    pace.on_throttle(now)             # now at 70 % of the rate that was measured
    pace.on_success(now)              # and back up, along CUBIC

At a throttle the rate is cut to *beta* of what was measured. From then on it follows `C (t - K)^3 + W`, where W is the
rate at which the throttle came, t the seconds since, C = 0.4 and K the time at which W is reached again: quickly back
near the old rate, long there, then on to look for a higher one (RFC 9438; botocore, `retries/throttling.py`). It never
exceeds twice the rate that is really used. All throttles of one burst count as one, and after five calm minutes the
limit is off again; there the SDKs differ, which know many short calls and not a few long ones.

The one surprise: `reserve` takes a turn, also for who then does not send. Give it back with `give_back`.
"""

from __future__ import annotations

__all__ = ["SendRate"]

_GROWTH = 0.4
"""The constant C of CUBIC, in calls per second cubed."""
_WINDOW = 0.5
"""Seconds over which the rate is measured, and in which throttles are one event."""
_SMOOTHING = 0.8
"""Share of the newest window in the measured rate."""
_CALM = 300.0
"""Seconds without a throttle after which the limit is off."""
_LONGEST_WAIT = 60.0
"""Seconds; a longer queue is not formed, so turns that are never given back cannot block a client for good."""


class SendRate:
    """A token bucket whose rate follows what the provider lets through.

    Args:
        minimum: calls per second that are always let through.
        beta: share of the measured rate that is kept at a throttle.

    All moments are seconds on a clock that never jumps.
    """

    __slots__ = (
        "_beta",
        "_count",
        "_knee",
        "_measured",
        "_minimum",
        "_peak",
        "_rate",
        "_refilled_at",
        "_throttled_at",
        "_tokens",
        "_window",
    )

    def __init__(self, *, minimum: float = 0.5, beta: float = 0.7) -> None:
        self._minimum = minimum
        self._beta = beta
        self._rate: float | None = None
        self._peak = self._knee = self._throttled_at = 0.0
        self._tokens = self._refilled_at = 0.0
        self._window: float | None = None
        self._count = 0
        self._measured = 0.0

    @property
    def rate(self) -> float | None:
        """Calls per second, None while there is no limit."""
        return self._rate

    def reserve(self, now: float) -> float:
        """Seconds that the next call has to wait before it is sent; it has its turn with that."""
        if self._rate is None or self._is_calm(now):
            return 0.0
        self._refill(now)
        self._tokens -= 1.0
        if self._tokens >= 0.0:
            return 0.0
        wait = -self._tokens / self._rate
        if wait > _LONGEST_WAIT:
            self._tokens += 1.0
            return _LONGEST_WAIT
        return wait

    def give_back(self) -> None:
        """A turn that was reserved is not used."""
        if self._rate is not None:
            self._tokens += 1.0

    def on_success(self, now: float) -> None:
        """A call was answered."""
        self._measure(now)
        if self._rate is None or self._is_calm(now):
            return
        self._refill(now)
        curve = _GROWTH * (now - self._throttled_at - self._knee) ** 3 + self._peak
        self._rate = max(self._minimum, min(curve, 2.0 * self._used()))

    def on_failure(self, now: float) -> None:
        """A call failed for a reason that says nothing about the rate."""
        self._measure(now)

    def on_throttle(self, now: float) -> None:
        """A call was refused because calls come too fast."""
        self._measure(now)
        if self._rate is None:
            self._peak = self._used()
            self._tokens = 0.0
            self._refilled_at = now
        elif now - self._throttled_at < _WINDOW:
            return
        else:
            self._refill(now)
            self._peak = min(self._rate, self._used())
        self._rate = max(self._minimum, self._peak * self._beta)
        self._knee = (self._peak * (1.0 - self._beta) / _GROWTH) ** (1 / 3)
        self._throttled_at = now

    def _is_calm(self, now: float) -> bool:
        if now - self._throttled_at < _CALM:
            return False
        self._rate = None
        return True

    def _refill(self, now: float) -> None:
        rate = self._rate or 0.0
        self._tokens = min(max(1.0, rate), self._tokens + rate * max(0.0, now - self._refilled_at))
        self._refilled_at = now

    def _measure(self, now: float) -> None:
        if self._window is None:
            self._window = now
        self._count += 1
        elapsed = now - self._window
        if elapsed >= _WINDOW:
            rate = self._count / elapsed
            self._measured = _SMOOTHING * rate + (1.0 - _SMOOTHING) * self._measured if self._measured else rate
            self._window = now
            self._count = 0

    def _used(self) -> float:
        """Calls per second of late; the window that is still open counts, for a burst may be all within it."""
        return max(self._measured, self._count / _WINDOW)
