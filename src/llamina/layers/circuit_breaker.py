"""Stop calling a service that is down, and find out carefully whether it is back.

    CircuitBreaker(fail_max=5, reset_timeout=60)             # five failures in a row open it for a minute
    CircuitBreaker(failure_rate=0.5, window=60, key="model") # or half of the calls of a minute; a circuit per model

While a circuit is open, calls raise `CircuitOpenError` without reaching the service: `retry_after` says for how many
seconds, the last failure is the cause. Then *half_open_max* calls at a time are let through as probes:
*success_threshold* successes close the circuit, one failure opens it again, for longer.

Only what the service does counts: server errors, overload, timeouts, network errors and malformed answers are failures;
rate limits, the caller's mistakes, refusals by another layer, cancellations and unknown exceptions are neither failures
nor successes. A stream is judged when it has ended. Durations are the event loop's: a jump of the wall clock changes
nothing.

The one surprise: outside of Retry it gives one verdict a call, inside one an attempt. Put it inside, so that an open
circuit stops the attempts too.
"""

from __future__ import annotations

import random
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from attrs import define, field
from attrs.exceptions import FrozenAttributeError

from llamina.errors import ConfigurationError
from llamina.layer import Layer
from llamina.policy._validate import at_least, fraction, non_negative, optional, positive
from llamina.policy.classify import classify as default_classify
from llamina.policy.window import RateWindow
from llamina.protocol import Handler, Request, Response

from ._circuit import Circuit, Pauses, Permit, Tally
from ._circuit_verdict import judge, telling

__all__ = ["CircuitBreaker"]

_MODES = ("enforce", "observe", "off")
_OPENS_NEVER = "None if failures in a row shall not open it"
_STRAY = Permit()
"""Held by a call that passes although its circuit is not closed: nobody waits for its verdict."""


def _valid_key(_layer: Any, _attribute: Any, value: Any) -> None:
    if value is not None and value != "model" and not callable(value):
        raise ConfigurationError(
            f"CircuitBreaker.key must be 'model', a function of the request that returns a string, or None for one "
            f"circuit, got {value!r}"
        )


def _valid_mode(_layer: Any, _attribute: Any, value: Any) -> None:
    if value not in _MODES:
        raise ConfigurationError(f"CircuitBreaker.mode must be one of {_MODES}, got {value!r}")


def _valid_classify(_layer: Any, _attribute: Any, value: Any) -> None:
    if not callable(value):
        raise ConfigurationError(f"CircuitBreaker.classify must be a function of an error, got {value!r}")


def _valid_rng(_layer: Any, _attribute: Any, value: Any) -> None:
    if isinstance(value, type) or not callable(getattr(value, "random", None)):
        raise ConfigurationError(f"CircuitBreaker.rng must be a generator like random.Random(7), got {value!r}")


def _valid_name(_layer: Any, _attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"CircuitBreaker.name must be text that names the circuit, got {value!r}")


def _listeners(value: Iterable[Any]) -> tuple[Any, ...]:
    listeners = tuple(value)
    for listener in listeners:
        if isinstance(listener, type) or not (hasattr(listener, "state_change") or callable(listener)):
            raise ConfigurationError(
                "CircuitBreaker.listeners must be pybreaker listeners or functions (name, old_state, new_state), "
                f"got {listener!r}"
            )
    return listeners


def _final(_layer: Any, attribute: Any, value: Any) -> Any:
    if attribute.init:  # circuits are made from it
        raise FrozenAttributeError
    return value


@define(eq=False, repr=False, slots=False, on_setattr=_final)
class CircuitBreaker(Layer):
    """Refuse calls to a service that keeps failing.

    One object serves one event loop at a time: threads that run loops of their own take a breaker each.

    Args:
        fail_max: failures in a row that open a circuit; None: do not count them in a row.
        reset_timeout: seconds that a circuit stays open the first time.
        success_threshold: successful probes that close it.
        half_open_max: probes in flight at a time.
        failure_rate: share of failures, 0 to 1, over the last *window* seconds that opens a circuit too.
        window: seconds that the rates look back on.
        minimum_calls: calls within the window below which no rate opens anything.
        slow_call: seconds from which on an answer counts as slow; time in which the consumer holds a stream back is
            not counted. A slow probe opens the circuit again.
        slow_rate: share of slow calls within the window that opens a circuit.
        probe_lease: seconds after which a probe that has not ended loses its slot, and its say; above any timeout.
        growth: factor from one reset time to the next while the circuit opens again and again.
        max_reset_timeout: seconds that reset times grow to, before jitter; by default five times *reset_timeout*.
        jitter: share of the reset time that is added at random at most, so that clients do not probe together.
        rng: where that chance comes from.
        key: "model", or a function of the request: each string that it returns has a circuit of its own. It shows in
            errors and statistics, so it must hold no secret.
        max_circuits: circuits that are kept; the one that was not used for the longest time is forgotten first, and
            never one that is not closed. Calls for which there is no room pass unguarded.
        classify: `error -> "failure" | "success" | "neutral"`, or an object with that word as `.breaker`.
        listeners: pybreaker listeners, or functions of the circuit's name, its old and its new state. Called within the
            call that brings the change; of successes only those are told that change something.
        storage: a pybreaker storage that is fed with each change, and read when its circuit is created; with *key*, a
            function of the circuit's name that returns one.
        mode: "enforce"; "observe": circuits open and close, but every call passes; "off": nothing is done or counted.
        name: of the circuit, without *key*.

    Raises:
        CircuitOpenError: the circuit does not let the call through.
        ConfigurationError: a setting makes no sense; the storage would make the event loop wait for a network.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"judges"})

    fail_max: int | None = field(default=5, validator=optional(at_least(1, integer=True, remedy=_OPENS_NEVER)))
    reset_timeout: float = field(default=60.0, validator=positive())
    success_threshold: int = field(default=2, validator=at_least(1, integer=True))
    half_open_max: int = field(default=1, validator=at_least(1, integer=True))
    failure_rate: float | None = field(default=None, kw_only=True, validator=optional(fraction()))
    window: float = field(default=60.0, kw_only=True, validator=at_least(0.01))
    minimum_calls: int = field(default=20, kw_only=True, validator=at_least(1, integer=True))
    slow_call: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    slow_rate: float | None = field(default=None, kw_only=True, validator=optional(fraction()))
    probe_lease: float = field(default=300.0, kw_only=True, validator=positive())
    growth: float = field(default=2.0, kw_only=True, validator=at_least(1.0))
    max_reset_timeout: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    jitter: float = field(default=0.1, kw_only=True, validator=non_negative())
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False, validator=_valid_rng)
    key: Callable[[Request], str] | str | None = field(default=None, kw_only=True, validator=_valid_key)
    max_circuits: int = field(default=1000, kw_only=True, validator=at_least(1, integer=True))
    classify: Callable[[BaseException], Any] = field(
        default=default_classify, kw_only=True, repr=False, validator=_valid_classify
    )
    listeners: tuple[Any, ...] = field(default=(), converter=_listeners, kw_only=True, repr=False)
    storage: Any = field(default=None, kw_only=True, repr=False)
    mode: str = field(default="enforce", kw_only=True, validator=_valid_mode)
    name: str = field(default="default", kw_only=True, validator=_valid_name)

    _off: bool = field(init=False, repr=False, default=False)
    _observes: bool = field(init=False, repr=False, default=False)
    _isolated: bool = field(init=False, repr=False, default=False)
    _tally: Tally = field(init=False, repr=False, factory=Tally)
    _circuits: OrderedDict[str, Circuit] = field(init=False, repr=False, factory=OrderedDict)

    def __attrs_post_init__(self) -> None:
        self._set_mode(self.mode)
        if self.fail_max is None and self.failure_rate is None and self.slow_rate is None:
            raise ConfigurationError(
                "CircuitBreaker.fail_max, failure_rate and slow_rate are all None, so nothing would ever open it; set "
                "one of them, or leave CircuitBreaker out of the stack"
            )
        if (self.slow_call is None) != (self.slow_rate is None):
            raise ConfigurationError(
                f"CircuitBreaker.slow_call and slow_rate belong together, got {self.slow_call!r} and "
                f"{self.slow_rate!r}; set both, as in slow_call=20 (seconds), slow_rate=0.5"
            )
        if self.max_reset_timeout is not None and self.max_reset_timeout < self.reset_timeout:
            raise ConfigurationError(
                f"CircuitBreaker.max_reset_timeout must be at least reset_timeout ({self.reset_timeout}), "
                f"got {self.max_reset_timeout!r}"
            )
        if self.key is not None and self.storage is not None and not callable(self.storage):
            raise ConfigurationError(
                "CircuitBreaker.storage must be a function of the circuit's name that returns a storage when key is "
                f"set, got {self.storage!r}; circuits cannot share one"
            )
        if self.key is None:
            self._circuits[self.name] = self._create(self.name)
        else:
            from . import _circuit_machine  # noqa: F401 - so that no call waits for the import

    def _create(self, name: str) -> Circuit:
        from ._circuit_machine import Machine

        rates = {"failure_rate": self.failure_rate, "slow_rate": self.slow_rate}
        rated = any(rate is not None for rate in rates.values())
        cap = 5 * self.reset_timeout if self.max_reset_timeout is None else self.max_reset_timeout
        return Circuit(
            name,
            lambda follow: Machine(
                name,
                fail_max=self.fail_max,
                reset_timeout=self.reset_timeout,
                success_threshold=self.success_threshold,
                follow=follow,
                listeners=self.listeners,
                storage=self.storage,
            ),
            half_open_max=self.half_open_max,
            probe_lease=self.probe_lease,
            pauses=Pauses(self.reset_timeout, self.growth, cap, self.jitter, self.rng),
            window=RateWindow(self.window, self.minimum_calls, **rates) if rated else None,
            tally=self._tally,
        )

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        tally = self._tally
        slow_call = self.slow_call
        only = self._circuits[self.name] if self.key is None else None

        async def handle(request: Request) -> Response:
            if self._off or (circuit := only or self._circuit_for(request)) is None:
                return await call_next(request)
            tally.total += 1
            permit = circuit.standing or self._ask(circuit, request)
            began = 0.0 if slow_call is None else _service_time(request)
            try:
                response = await call_next(request)
            except BaseException as error:
                self._judge(circuit, permit, error, request, began)
                raise
            tally.successful += 1
            if circuit.attentive:
                slow = slow_call is not None and _service_time(request) - began >= slow_call
                circuit.succeeded(permit, slow=slow)
            return response

        return handle

    def _circuit_for(self, request: Request) -> Circuit | None:
        key = request.model if self.key == "model" else self.key(request)  # type: ignore[operator, misc]
        circuit = self._circuits.get(key)
        if circuit is None:
            if not isinstance(key, str):
                raise ConfigurationError(f"CircuitBreaker.key must return a string, got {key!r}")
            return self._enter(key)
        self._circuits.move_to_end(key)
        return circuit

    def _enter(self, name: str, *, by_hand: bool = False) -> Circuit | None:
        """A new circuit; None when there is room for no more: each one that is there must be remembered."""
        circuits = self._circuits
        if len(circuits) >= self.max_circuits:
            forgotten = next((old for old, circuit in circuits.items() if circuit.standing is not None), None)
            if forgotten is not None:
                del circuits[forgotten]
            elif not by_hand:
                self._tally.unguarded += 1
                return None
        circuit = circuits[name] = self._create(name)
        if self._isolated:
            circuit.isolate()
        return circuit

    def _ask(self, circuit: Circuit, request: Request) -> Permit:
        permit = circuit.admit()
        if permit is not None:
            return permit
        if self._observes:
            self._tally.spared += 1
            return _STRAY
        self._tally.rejected += 1
        raise circuit.refusal(request)

    def _judge(self, circuit: Circuit, permit: Permit, error: BaseException, request: Request, began: float) -> None:
        failure = telling(error)
        verdict = "neutral" if failure is None else judge(failure, self.classify)
        if failure is None or verdict == "neutral":
            self._tally.neutral += 1
            circuit.released(permit)
            return
        slow = self.slow_call is not None and _service_time(request) - began >= self.slow_call
        if verdict == "success":
            self._tally.successful += 1
            circuit.succeeded(permit, slow=slow)
        else:
            self._tally.failed += 1
            circuit.failed(permit, failure, slow=slow)

    # By hand

    def isolate(self, key: str | None = None) -> None:
        """Hold the circuit of *key* open until `close`; without a key every circuit, also those to come."""
        if key is not None:
            circuit = self._known(key) or self._enter(key, by_hand=True)
            if circuit is not None:
                circuit.isolate()
            return
        self._isolated = True
        for circuit in self._circuits.values():
            circuit.isolate()

    def close(self, key: str | None = None) -> None:
        """Close the circuit of *key*, isolated or not, and forget its failures; without a key every circuit."""
        if key is not None:
            circuit = self._known(key)
            if circuit is not None:
                circuit.close()
            return
        self._isolated = False
        for circuit in self._circuits.values():
            circuit.close()

    def reset(self) -> None:
        """As if it had just been built: every circuit closed, counts at 0, the mode as configured."""
        self.close()
        if self.key is not None:
            self._circuits.clear()
        self._tally.clear()
        self._set_mode(self.mode)

    def disable(self) -> None:
        """Let every call pass, and neither count nor judge it, until `enable`."""
        self._set_mode("off")

    def observe(self) -> None:
        """Count and judge, open and close, but let every call pass, until `enable`."""
        self._set_mode("observe")

    def enable(self) -> None:
        """Refuse calls where a circuit is open."""
        self._set_mode("enforce")

    def _set_mode(self, mode: str) -> None:
        self._off = mode == "off"
        self._observes = mode == "observe"

    def _known(self, key: str) -> Circuit | None:
        circuit = self._circuits.get(key)
        if circuit is None and self.key is None:
            raise ConfigurationError(
                f"CircuitBreaker has one circuit, {self.name!r}, and none called {key!r}; leave the key out, or set "
                "key= to have one for each"
            )
        return circuit

    # To look at

    def state(self, key: str | None = None) -> str:
        """`"closed"`, `"open"`, `"half-open"` or `"isolated"`; without a key, of the circuit furthest from closed.

        An open circuit whose time is over stays "open" until a call asks.
        """
        unknown = "isolated" if self._isolated else "closed"
        if key is not None:
            circuit = self._known(key)
            return unknown if circuit is None else circuit.state
        states = {circuit.state for circuit in self._circuits.values()}
        return next((state for state in ("isolated", "open", "half-open") if state in states), unknown)

    def states(self) -> dict[str, str]:
        """The state of every circuit that is kept, by name."""
        return {name: circuit.state for name, circuit in self._circuits.items()}

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations_of_tries import of_circuit_breaker

        return "\n".join(of_circuit_breaker(self, request))

    def stats(self) -> dict[str, Any]:
        """What was counted, over all circuits.

        `circuit.requests.total` is the sum of `.successful`, `.failed`, `.neutral`, `.rejected` and what is in flight;
        `.spared` would have been rejected if the mode were "enforce"; `.unguarded` passed for want of a circuit.
        `circuit.state` is that of the circuit furthest from closed.
        """
        tally = self._tally
        circuits = self._circuits.values()
        return {
            "circuit.state": self.state(),
            "circuit.circuits": len(circuits),
            "circuit.not_closed": len([circuit for circuit in circuits if circuit.standing is None]),
            "circuit.probes": sum([circuit.probes for circuit in circuits]),
            "circuit.opened": tally.opened,
            "circuit.half_opened": tally.half_opened,
            "circuit.requests.total": tally.total,
            "circuit.requests.successful": tally.successful,
            "circuit.requests.failed": tally.failed,
            "circuit.requests.neutral": tally.neutral,
            "circuit.requests.rejected": tally.rejected,
            "circuit.requests.spared": tally.spared,
            "circuit.requests.unguarded": tally.unguarded,
        }


def _service_time(request: Request) -> float:
    """The moment on a clock that stands still while the consumer of the stream holds the service back."""
    now = get_running_loop().time()
    return now if request.sink is None else now - request.sink.held()
