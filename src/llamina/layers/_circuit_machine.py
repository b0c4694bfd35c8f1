"""One circuit's state machine: a `pybreaker.CircuitBreaker` that is told verdicts and never sees a call.

    machine = Machine("gpt", fail_max=5, reset_timeout=60, success_threshold=2, follow=print)
    machine.failure(error)                     # counts it; the fifth in a row opens: follow("open")
    machine.half_open(); machine.success()     # the second success in a row closes: follow("closed")

pybreaker keeps the states, the counters, the listeners and the storage. Who is let through, and when an open circuit is
probed, is decided elsewhere, since pybreaker admits any number of probes at once and reads the wall clock for it. That
is why nothing may be reported while the machine is open, and why `half_open` is always asked for.

The one surprise: what a listener or a storage raises is logged and dropped. It must change neither the outcome of a
call nor the state of the circuit.

To import this module is to import pybreaker, which imports redis where that is installed (0.4 s): do it late.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import pybreaker

from llamina.errors import ConfigurationError

__all__ = ["Machine"]

_log = logging.getLogger("llamina.circuit_breaker")

_NEVER = 2**62  # a number of failures in a row that no circuit sees


class Machine:
    """A state machine that tells *follow* each change of its state, before any listener hears of it.

    Args:
        name: of the circuit, for listeners.
        fail_max: failures in a row that open it, None for any number.
        reset_timeout: seconds, shown to listeners; nothing here waits for them.
        success_threshold: successes that close it when it is half open.
        follow: called with "closed", "open" or "half-open".
        listeners: pybreaker's, or functions of the circuit's name, its old and its new state.
        storage: a pybreaker storage, or a function of *name* that makes one; it is read once, now, and then fed.

    Raises:
        ConfigurationError: *storage* is none of pybreaker's, or would make calls wait for a network.
    """

    def __init__(
        self,
        name: str,
        *,
        fail_max: int | None,
        reset_timeout: float,
        success_threshold: int,
        follow: Callable[[str], None],
        listeners: Iterable[Any] = (),
        storage: Any = None,
    ) -> None:
        self._follow = follow
        self._told = ""
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=_NEVER if fail_max is None else fail_max,
            reset_timeout=reset_timeout,
            success_threshold=success_threshold,
            listeners=[_Follower(self._tell), *[_Guarded(listener) for listener in listeners]],
            state_storage=_storage(storage, name),
            name=name,
            throw_new_error_on_trip=False,
        )
        self._told = self.state

    def _tell(self, state: str) -> None:
        self._told = state
        self._follow(state)

    def _check(self) -> None:
        # pybreaker tells of a change before it has made it. A listener that makes another one meanwhile is overruled.
        if self.state != self._told:
            self._tell(self.state)

    @property
    def state(self) -> str:
        """`"closed"`, `"open"` or `"half-open"`."""
        return self._breaker.current_state

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._breaker.fail_counter

    def success(self) -> None:
        """Report a success: it sets the count of failures to 0, and the last one needed closes a half-open circuit."""
        self._breaker.call(_nothing)
        self._check()

    def failure(self, error: Exception) -> None:
        """Report a failure: it opens a half-open circuit, and a closed one when it is the last one allowed."""
        traceback, context = error.__traceback__, error.__context__
        try:
            self._breaker.call(_raise, error)
        except Exception as raised:
            if raised is not error:
                raise
        finally:
            # It goes on to its caller as it came, without the frames of this report.
            error.__traceback__, error.__context__ = traceback, context
        self._check()

    def open(self) -> None:
        """Open the circuit, whatever the counters say."""
        self._breaker.open()
        self._check()

    def half_open(self) -> None:
        """Let the next verdicts decide."""
        self._breaker.half_open()
        self._check()

    def close(self) -> None:
        """Close the circuit and forget its failures."""
        self._breaker.close()
        self._check()


def _nothing() -> None:
    """What a success is reported with."""


def _raise(error: Exception) -> None:
    raise error


class _Follower(pybreaker.CircuitBreakerListener):
    """Passes on the name of each new state."""

    def __init__(self, follow: Callable[[str], None]) -> None:
        self._follow = follow

    def state_change(self, _cb: Any, _old_state: Any, new_state: Any) -> None:
        self._follow(new_state.name)


class _Guarded(pybreaker.CircuitBreakerListener):
    """A listener that can do no harm. It hears of verdicts and of states; `before_call` would tell it of reports."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    def failure(self, cb: Any, exc: BaseException) -> None:
        self._tell("failure", cb, exc)

    def success(self, cb: Any) -> None:
        self._tell("success", cb)

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        if old_state.name == new_state.name:
            return
        if hasattr(self._listener, "state_change"):
            self._tell("state_change", cb, old_state, new_state)
        else:
            self._tell("__call__", cb.name, old_state.name, new_state.name)

    def _tell(self, what: str, *facts: Any) -> None:
        try:
            if (hear := getattr(self._listener, what, None)) is not None:
                hear(*facts)
        except Exception:  # noqa: BLE001 - whatever it is, the call has an outcome of its own
            _log.warning("a listener of a circuit breaker failed", exc_info=True)


def _storage(storage: Any, name: str) -> _Mirror | None:
    if callable(storage):
        try:
            storage = storage(name)
        except Exception:  # noqa: BLE001 - the circuit does without; a call must not fail for it
            _log.warning("the storage of the circuit %r could not be made", name, exc_info=True)
            return None
    return None if storage is None else _Mirror(storage)


class _Mirror(pybreaker.CircuitMemoryStorage):
    """Decides in memory, and feeds a storage of the user's with every change."""

    def __init__(self, target: Any) -> None:
        if not isinstance(target, pybreaker.CircuitBreakerStorage):
            raise ConfigurationError(
                f"CircuitBreaker.storage must be a pybreaker.CircuitBreakerStorage, got {type(target).__name__}"
            )
        if isinstance(target, pybreaker.CircuitRedisStorage):
            raise ConfigurationError(
                "CircuitBreaker.storage must not be a CircuitRedisStorage: it makes two or three round trips to redis "
                "for each verdict, and every other call of this event loop would wait for them; leave it out (each "
                "process then learns for itself) and publish changes of state from a listener"
            )
        self._target = target
        super().__init__(self._read("state", pybreaker.STATE_CLOSED))
        if self._state not in (pybreaker.STATE_CLOSED, pybreaker.STATE_OPEN, pybreaker.STATE_HALF_OPEN):
            self._state = pybreaker.STATE_CLOSED
        self._fail_counter = self._read("counter", 0)
        self._success_counter = self._read("success_counter", 0)
        self._opened_at = self._read("opened_at", None)

    def _read(self, name: str, default: Any) -> Any:
        try:
            return getattr(self._target, name)
        except Exception:  # noqa: BLE001 - a broken storage means that nothing is known, not that nothing works
            _log.warning("the storage of a circuit breaker could not be read", exc_info=True)
            return default

    def _feed(self, change: str) -> None:
        try:
            getattr(self._target, change)()
        except Exception:  # noqa: BLE001 - see `_read`
            _log.warning("the storage of a circuit breaker could not be written", exc_info=True)

    def _put(self, name: str, value: Any) -> None:
        try:
            setattr(self._target, name, value)
        except Exception:  # noqa: BLE001 - see `_read`
            _log.warning("the storage of a circuit breaker could not be written", exc_info=True)

    @property
    def state(self) -> str:
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state
        self._put("state", state)

    @property
    def opened_at(self) -> datetime | None:
        return self._opened_at

    @opened_at.setter
    def opened_at(self, moment: datetime) -> None:
        self._opened_at = moment
        self._put("opened_at", moment)

    def increment_counter(self) -> None:
        super().increment_counter()
        self._feed("increment_counter")

    def reset_counter(self) -> None:
        super().reset_counter()
        self._feed("reset_counter")

    def increment_success_counter(self) -> None:
        super().increment_success_counter()
        self._feed("increment_success_counter")

    def reset_success_counter(self) -> None:
        super().reset_success_counter()
        self._feed("reset_success_counter")
