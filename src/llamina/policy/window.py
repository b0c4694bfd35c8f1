"""How calls went over the last seconds, and whether that is bad enough to stop calling.

    window = RateWindow(seconds=60, minimum_calls=20, failure_rate=0.5)
    window.add(now, failed=True)
    window.verdict()            # None, or why to stop: "failure rate 80 % of 25 calls in 60 s"

Outcomes are counted in a ring of buckets, each a twentieth of the window long, so memory is the same at any number of
calls and an outcome costs the same at any rate.

The one surprise: the end of the window is as coarse as a bucket. An outcome counts for at least 95 % of *seconds* and
never for longer than *seconds*.
"""

from __future__ import annotations

__all__ = ["RateWindow"]

_BUCKETS = 20


class RateWindow:
    """Counts of calls, failures and slow calls over the last *seconds*.

    Args:
        seconds: length of the window.
        minimum_calls: below so many calls there is no verdict.
        failure_rate: share of failures, 0 to 1, from which on the verdict is bad; None: not looked at.
        slow_rate: the same for slow calls.

    Attributes:
        calls, failures, slow_calls: what the window holds, as of the last `add`.
    """

    __slots__ = (
        "_failure_rate",
        "_minimum",
        "_ring",
        "_seconds",
        "_slow_rate",
        "_tick",
        "_width",
        "calls",
        "failures",
        "slow_calls",
    )

    def __init__(
        self,
        seconds: float,
        minimum_calls: int,
        *,
        failure_rate: float | None = None,
        slow_rate: float | None = None,
    ) -> None:
        self._seconds = seconds
        self._width = seconds / _BUCKETS
        self._minimum = minimum_calls
        self._failure_rate = failure_rate
        self._slow_rate = slow_rate
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.calls = self.failures = self.slow_calls = 0
        self._ring = [[0, 0, 0] for _ in range(_BUCKETS)]  # calls, failures, slow calls of each bucket
        self._tick = 0  # number of the newest bucket, counted from the clock's zero

    def add(self, now: float, *, failed: bool = False, slow: bool = False) -> None:
        """Count one call that ended at *now*, a moment on a monotonic clock."""
        tick = int(now // self._width)
        if tick != self._tick:
            self._advance(tick)
        bucket = self._ring[tick % _BUCKETS]
        bucket[0] += 1
        self.calls += 1
        if failed:
            bucket[1] += 1
            self.failures += 1
        if slow:
            bucket[2] += 1
            self.slow_calls += 1

    def verdict(self) -> str | None:
        """Why to stop calling, in words; None while there is no reason to."""
        calls = self.calls
        if calls < self._minimum:
            return None
        for what, count, limit in (
            ("failure", self.failures, self._failure_rate),
            ("slow-call", self.slow_calls, self._slow_rate),
        ):
            if limit is not None and count / calls >= limit:
                return f"{what} rate {count / calls:.0%} of {calls} calls in {self._seconds:g} s"
        return None

    def _advance(self, tick: int) -> None:
        passed = tick - self._tick
        if not 0 < passed < _BUCKETS:  # all of it is over; or the clock is another one, and nothing is known
            self.clear()
            self._tick = tick
            return
        for past in range(self._tick + 1, tick + 1):
            bucket = self._ring[past % _BUCKETS]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow_calls -= bucket[2]
            bucket[:] = (0, 0, 0)
        self._tick = tick
