"""One circuit: who may pass, and what the verdict on each who did changes.

    permit = circuit.standing or circuit.admit()    # None: the call must not reach the service
    circuit.succeeded(permit)                       # or failed(permit, error), or released(permit)

While the circuit is closed all calls share one permit, the *standing* one, so that passing costs nothing. Every probe of
a half-open circuit has a permit of its own, with a lease. Closing makes a new standing permit. A verdict counts if its
permit is the standing one or that of a probe in its slot; any other is late, from before the last change or from a probe
that lost its slot, and is dropped. That one comparison is what keeps a late failure from prolonging an opening, and a
late success from ending it.

The one surprise: nothing happens by itself. An open circuit becomes half open when the first call after its time asks.
"""

from __future__ import annotations

import copy
from asyncio import get_running_loop
from collections.abc import Callable
from random import Random
from typing import Protocol

from llamina.errors import CircuitOpenError, LLMError
from llamina.policy.window import RateWindow
from llamina.protocol import Request

__all__ = ["Circuit", "Machine", "Pauses", "Permit", "Tally"]

CLOSED, OPEN, HALF_OPEN, ISOLATED = "closed", "open", "half-open", "isolated"

_ANOTHER_CLOCK = 1.0
"""Seconds by which a moment may lie in the future. One further off was taken on another loop's clock (a simulated one,
say): how long ago it was is unknown, so what waits for it is over."""


class Permit:
    """The right to call the service, and to be heard afterwards."""

    __slots__ = ()


class Tally:
    """What a breaker counts, over all of its circuits."""

    __slots__ = (
        "failed",
        "half_opened",
        "neutral",
        "opened",
        "rejected",
        "spared",
        "successful",
        "total",
        "unguarded",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin at 0."""
        self.total = self.successful = self.failed = self.neutral = 0
        self.rejected = self.spared = self.unguarded = 0
        self.opened = self.half_opened = 0


class Pauses:
    """How long a circuit stays open: `base * growth**n`, at most *cap*, plus up to *jitter* of it; n counts re-openings.

    Seconds. It grows step by step, so that no number of re-openings overflows.
    """

    __slots__ = ("_base", "_cap", "_growth", "_jitter", "_next", "_rng")

    def __init__(self, base: float, growth: float, cap: float, jitter: float, rng: Random) -> None:
        self._base = self._next = base
        self._growth = growth
        self._cap = cap
        self._jitter = jitter
        self._rng = rng

    def draw(self) -> float:
        """The seconds to stay open this time."""
        pause = self._next
        self._next = min(self._cap, pause * self._growth)
        return pause * (1.0 + self._jitter * self._rng.random())

    def restart(self) -> None:
        """The service has recovered: the next pause is a first one."""
        self._next = self._base


class Machine(Protocol):
    """Keeps the state and the counters; tells the circuit of each change through `Circuit.follow`."""

    @property
    def state(self) -> str: ...
    @property
    def failures(self) -> int: ...
    def success(self) -> None: ...
    def failure(self, error: Exception) -> None: ...
    def open(self) -> None: ...
    def half_open(self) -> None: ...
    def close(self) -> None: ...


class Circuit:
    """Admission to one service, and the verdicts on it.

    Attributes:
        standing: the permit that every call may have while the circuit is closed, None while it is not.
        attentive: whether a success could change anything, and so must be told.
        isolated: held open by hand.
    """

    __slots__ = (
        "_failing",
        "_half_open_max",
        "_last_failure",
        "_lease",
        "_machine",
        "_pause",
        "_pauses",
        "_probes",
        "_reason",
        "_since",
        "_state",
        "_tally",
        "_window",
        "attentive",
        "isolated",
        "name",
        "standing",
    )

    def __init__(
        self,
        name: str,
        make_machine: Callable[[Callable[[str], None]], Machine],
        *,
        half_open_max: int,
        probe_lease: float,
        pauses: Pauses,
        window: RateWindow | None,
        tally: Tally,
    ) -> None:
        self.name = name
        self.isolated = False
        self._half_open_max = half_open_max
        self._lease = probe_lease
        self._pauses = pauses
        self._window = window
        self._tally = tally
        self._last_failure: Exception | None = None
        self._reason = "its storage says so"
        self._probes: dict[Permit, float] = {}  # in flight, and since when
        self._since: float | None = None  # open since then; None: since the next call
        self._pause = 0.0
        self._state = ""
        self._machine = make_machine(self.follow)
        self.follow(self._machine.state)
        if self._machine.failures:  # its storage knew of some
            self.attentive = self._failing = True

    @property
    def state(self) -> str:
        """`"closed"`, `"open"`, `"half-open"` or `"isolated"`."""
        return ISOLATED if self.isolated else self._state

    @property
    def probes(self) -> int:
        """Probes in flight."""
        return len(self._probes)

    # Admission

    def admit(self) -> Permit | None:
        """A permit for a call, or None when it must not reach the service."""
        if self.isolated:
            return None
        now = get_running_loop().time()
        if self._state == OPEN:
            if self._remaining(now) > 0.0:
                return None
            self._machine.half_open()
        if self._state != HALF_OPEN:
            return self.standing
        if len(self._probes) >= self._half_open_max:
            self._take_back(now)
            if len(self._probes) >= self._half_open_max:
                return None
        permit = Permit()
        self._probes[permit] = now
        return permit

    def refusal(self, request: Request) -> CircuitOpenError:
        """The error for a call that was not admitted: why, for how many seconds, and the last failure as its cause."""
        retry_after = self._retry_after()
        when = "until it is closed" if retry_after is None else f"the next probe may pass in {retry_after:.3g} s"
        error = CircuitOpenError(
            f"the circuit {self.name!r} is {self.state}: {self._reason}; {when}",
            circuit=self.name,
            retry_after=retry_after,
            model=request.model,
        )
        if self._last_failure is not None and not self.isolated:
            # A copy for each: who raises the cause again must not leave a traceback on everybody's.
            error.__cause__ = _bare(self._last_failure)
        return error

    def _retry_after(self) -> float | None:
        if self.isolated:
            return None
        now = get_running_loop().time()
        if self._state == OPEN:
            return self._remaining(now)
        # Half open, with every slot taken. It will be known when a probe ends; at the latest when its lease does, and
        # if it fails, about one pause after that. The sooner of the two is a fair moment to ask again.
        leases = [self._lease - (now - since) for since in self._probes.values()]
        return max(0.0, min([self._pause or self._lease, *leases]))

    def _remaining(self, now: float) -> float:
        if self._since is None:
            self._since = now
        if self._since > now + _ANOTHER_CLOCK:
            return 0.0
        return self._since + self._pause - now

    def _take_back(self, now: float) -> None:
        for permit, since in list(self._probes.items()):
            if not self._in_time(since, now):
                del self._probes[permit]

    def _in_time(self, since: float, now: float) -> bool:
        return since - _ANOTHER_CLOCK <= now < since + self._lease

    # Verdicts

    def succeeded(self, permit: Permit, *, slow: bool = False) -> None:
        """The service answered. Need not be told unless `attentive`."""
        if permit is self.standing:
            if self._failing:
                self._failing = False
                self._machine.success()
            if self._window is not None:
                self._count(self._window, slow=slow)
            else:
                self.attentive = False
        elif self._settle_probe(permit):
            if slow:
                self._open("a probe was slow")
            else:
                self._machine.success()

    def failed(self, permit: Permit, error: Exception, *, slow: bool = False) -> None:
        """The service failed."""
        if permit is self.standing:
            self._last_failure = _bare(error)
            self._reason = f"{self._machine.failures + 1} failures in a row"
            self.attentive = self._failing = True
            self._machine.failure(error)
            if self._window is not None and permit is self.standing:
                self._count(self._window, failed=True, slow=slow)
        elif self._settle_probe(permit):
            self._last_failure = _bare(error)
            self._reason = "a probe failed"
            self._machine.failure(error)

    def released(self, permit: Permit) -> None:
        """The call says nothing of the service; a probe leaves its slot to the next."""
        self._probes.pop(permit, None)

    def _settle_probe(self, permit: Permit) -> bool:
        since = self._probes.pop(permit, None)
        return since is not None and self._in_time(since, get_running_loop().time())

    def _count(self, window: RateWindow, *, failed: bool = False, slow: bool = False) -> None:
        window.add(get_running_loop().time(), failed=failed, slow=slow)
        if (failed or slow) and (reason := window.verdict()) is not None:
            self._open(reason)

    # States

    def isolate(self) -> None:
        """Hold the circuit open until it is closed by hand."""
        self.isolated = True
        self._reason = "isolated by hand"
        if self._state != OPEN:
            self._machine.open()

    def close(self) -> None:
        """Close the circuit, and forget what led to its opening."""
        self._machine.close()

    def _open(self, reason: str) -> None:
        self._reason = reason
        self._machine.open()

    def follow(self, state: str) -> None:
        """The machine has entered *state*: permits from before are void."""
        before, self._state = self._state, state
        if state == OPEN and before == OPEN:
            return
        self._probes.clear()
        self._failing = False
        self.attentive = state != CLOSED or self._window is not None
        self.standing: Permit | None = Permit() if state == CLOSED else None
        if state == CLOSED:
            self.isolated = False
            self._last_failure = None
            self._pauses.restart()
            if self._window is not None:
                self._window.clear()
        elif state == OPEN:
            self._tally.opened += 1
            self._since = _now()
            self._pause = self._pauses.draw()
        else:
            self._tally.half_opened += 1


def _now() -> float | None:
    try:
        return get_running_loop().time()
    except RuntimeError:  # opened by hand outside of any loop
        return None


def _bare(error: Exception) -> Exception:
    """What an error says, without what it holds on to: no traceback, no cause, no answer and no record of the call."""
    kind = type(error)
    try:
        if isinstance(error, LLMError):
            twin = copy.copy(error)
            twin.call = twin.partial = twin.usage = None
            return twin
        if kind.__module__ == "builtins":
            return kind(*error.args)
    except Exception as failed:  # noqa: BLE001 - a class whose objects cannot be made anew
        return LLMError(f"{kind.__name__} ({type(failed).__name__} when it was copied)")
    return LLMError(f"{kind.__name__}: {error}")  # a stranger's error may hold a request, and with it a key
