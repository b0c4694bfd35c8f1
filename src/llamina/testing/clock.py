"""Simulated time: an hour of backoff, cool-downs and budget windows passes in milliseconds, for any async code.

    @simulated_time
    async def test_the_breaker_recovers():
        await asyncio.sleep(3600)            # asyncio.sleep, timeouts, datetime.now(): all of them agree

    with simulated_time(start="2026-03-01T00:00:00Z") as clock:
        clock.run(fill(budget))
        clock.advance(86_400)                # tomorrow
        clock.run(ask_again(budget))

The loop's clock jumps to the next timer when nothing is ready; freezegun (extra: `llamina[testing]`) moves
`datetime.now()`, `time.time()` and `time.monotonic()` along. Above hypothesis' `@given` it costs one freeze for all
examples, below it one each.

The one surprise: it is strict. Code that waits for what can no longer happen raises `SimulationDeadlock` at once; a
task that is left running, or an exception that nobody saw, raises `SimulationLeak`. `time.sleep` still sleeps.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from attrs import field, frozen

from llamina.errors import ConfigurationError

from .simulated_loop import SimulatedLoop, SimulationDeadlock, name_of, place_of

__all__ = ["SimulatedClock", "SimulationDeadlock", "SimulationLeak", "one_freeze", "simulated_time"]

P = ParamSpec("P")
T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_START = "2026-01-01T00:00:00Z"
_UNTOUCHED = (
    # freezegun patches every module that holds a name of `time` or `datetime`. The first line measures real time and
    # must go on to; the others hold none, are big, and double the price of a freeze.
    *("_pytest.", "pluggy", "hypothesis.", "coverage.", "subprocess"),
    *("asyncio.", "attr.", "cattrs.", "email.", "encodings.", "importlib.", "msgspec.", "pygments."),
    *("openai.types.", "anthropic.types."),
)


class SimulationLeak(AssertionError):  # noqa: N818 - named as what it is, beside SimulationDeadlock
    """Simulated code left something behind: a task that still runs, or an exception that nobody saw (its cause)."""


class SimulatedClock:
    """What `with simulated_time() as clock` gives: a loop to run coroutines in, and the moment it is."""

    def __init__(self, loop: SimulatedLoop, runner: asyncio.Runner, *, allow_leaks: bool) -> None:
        self._loop = loop
        self._runner = runner
        self._allow_leaks = allow_leaks
        self._started = loop.ticks

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* to its end and return its result; every run of a clock is in the same loop.

        Raises:
            SimulationDeadlock: it waits for something that can no longer happen.
            SimulationLeak: it left a task running, or an exception unseen.
            RuntimeError: another event loop is running in this thread.
        """
        __tracebackhide__ = True
        try:
            _refuse_running_loop()
        except RuntimeError:
            coroutine.close()
            raise
        try:
            result = self._runner.run(coroutine)
        except BaseException as error:
            if not isinstance(error, SimulationDeadlock):  # which tells them itself
                for text, cause in self._loop.problems:
                    error.add_note(f"before that: {text}: {cause!r}")
            if isinstance(error, Exception) and not self._allow_leaks:
                self._sweep(self._loop.running_tasks())
            self._loop.problems.clear()
            raise
        self._runner.run(self._loop.settle())
        self._check_tasks()
        self._check_problems()
        return result

    def time(self) -> float:
        """Seconds since the start."""
        return (self._loop.ticks - self._started) / 1e6

    def now(self) -> datetime:
        """The wall clock, in UTC; a real datetime, not freezegun's."""
        return _EPOCH + timedelta(microseconds=self._loop.ticks)

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass between two runs; timers of tasks that are left running fire on the way.

        Raises:
            ConfigurationError: *seconds* is negative or not finite.
            RuntimeError: a loop is running; there, `await asyncio.sleep(seconds)`.
        """
        _refuse_running_loop()
        self._runner.run(asyncio.sleep(_seconds("advance.seconds", seconds)))

    def _close(self) -> None:
        """Cancel what was allowed to run on, and close the loop."""
        self._loop.collect_unseen()
        self._runner.close()
        self._check_problems()

    def _check_problems(self) -> None:
        problems = self._loop.problems.copy()
        self._loop.problems.clear()
        if problems:
            lines = "; ".join(f"{text}: {error!r}" for text, error in problems)
            raise SimulationLeak(f"an error in the background went unseen: {lines}") from problems[0][1]

    def _check_tasks(self) -> None:
        left = self._loop.running_tasks()
        if not left or self._allow_leaks:
            return
        names = "".join(f"\n  {name_of(task)} waits at {place_of(task)}" for task in left)
        self._sweep(left)
        raise SimulationLeak(
            f"tasks are still running: {len(left)}; await or cancel them, or pass allow_leaks=True{names}"
        )

    def _sweep(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Cancel what was left running, so that the next run of this clock starts clean."""
        for task in tasks:
            task.cancel()
        self._runner.run(self._loop.settle())

    def __repr__(self) -> str:
        return f"SimulatedClock({self.now().isoformat()}, {self.time():g} s since the start)"


@frozen
class Simulation:
    """The settings of `simulated_time`, usable as a decorator and in a `with` statement, as often as one likes."""

    start: int | None
    allow_leaks: bool
    patience: float
    io_wait: float
    _entered: list[AbstractContextManager[SimulatedClock]] = field(factory=list, init=False, eq=False, repr=False)

    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        """Turn an async function into a sync one that runs it in simulated time."""
        given = getattr(function, "hypothesis", None)
        if given is not None and inspect.iscoroutinefunction(given.inner_test):
            given.inner_test = self(given.inner_test)
            return self._freeze_once(function)  # type: ignore[arg-type]
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"simulated_time decorates async functions, got {function!r}; "
                "write `async def`, or `with simulated_time() as clock:` in a sync test"
            )
        if "hypothesis" in sys.modules:
            # The first freeze looks into every module. Below `@given` the first example would pay for it, and fail.
            with _frozen(_ticks_of(_DEFAULT_START)):
                pass

        @functools.wraps(function)
        def simulated(*args: P.args, **kwargs: P.kwargs) -> T:
            __tracebackhide__ = True
            _refuse_running_loop()
            with self as clock:
                return clock.run(function(*args, **kwargs))

        return simulated

    def _freeze_once(self, function: Callable[P, T]) -> Callable[P, T]:
        """One freeze round all examples of a hypothesis test: those within are then cheap."""

        @functools.wraps(function)
        def simulated(*args: P.args, **kwargs: P.kwargs) -> T:
            __tracebackhide__ = True
            _refuse_running_loop()
            with _frozen(self._start()):
                return function(*args, **kwargs)

        # One dict for both: what `@settings` or `@example` above us write must be read by `@given` below us.
        simulated.__dict__ = function.__dict__
        simulated.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return simulated

    def _start(self) -> int:
        if self.start is not None:
            return self.start
        outer = _freezegun().api
        if outer.freeze_factories:
            return _ticks_of(outer.get_current_time())
        return _ticks_of(_DEFAULT_START)

    @contextmanager
    def _simulation(self) -> Iterator[SimulatedClock]:
        start = self._start()
        with _frozen(start) as hands:
            loop = SimulatedLoop(start, hands, patience=self.patience, io_wait=self.io_wait)
            runner = asyncio.Runner(loop_factory=lambda: loop)
            runner.get_loop()
            clock = SimulatedClock(loop, runner, allow_leaks=self.allow_leaks)
            with _unraisable_into(loop.problems):
                try:
                    yield clock
                except BaseException:
                    with suppress(SimulationDeadlock, SimulationLeak):  # what went wrong first is what is told
                        clock._close()
                    raise
                clock._close()

    def __enter__(self) -> SimulatedClock:
        _refuse_running_loop()
        simulation = self._simulation()
        clock = simulation.__enter__()
        self._entered.append(simulation)
        return clock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, traceback)


@overload
def simulated_time(function: Callable[P, Coroutine[Any, Any, T]], /) -> Callable[P, T]: ...
@overload
def simulated_time(
    *,
    start: str | float | datetime | None = None,
    allow_leaks: bool = False,
    patience: float = 5.0,
    io_wait: float = 0.001,
) -> Simulation: ...
def simulated_time(
    function: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    /,
    *,
    start: str | float | datetime | None = None,
    allow_leaks: bool = False,
    patience: float = 5.0,
    io_wait: float = 0.001,
) -> Any:
    """Run code in a loop whose clock, and the wall clock with it, jumps instead of waiting.

    A decorator of async functions, bare or with settings: the decorated function is a sync one (pytest's fixtures and
    parameters, methods and hypothesis work as before). Or a context manager that gives a `SimulatedClock`.

    Args:
        start: the wall clock at the start: ISO 8601 (UTC where it has no offset), a datetime, seconds since 1970.
            Default: the moment of an outer freeze, else the first moment of 2026.
        allow_leaks: tasks may still run when the code returns; they are cancelled at the end.
        patience: real seconds to wait for an executor's job, or for sockets and threads when no timer is left.
        io_wait: real seconds to wait before a jump while sockets are open; raise it for a server in another process.

    Raises:
        RuntimeError: when it is used, while an event loop is running in this thread.
        ImportError: when it is used, without freezegun.
        ConfigurationError: a setting is wrong.
    """
    simulation = Simulation(
        None if start is None else _ticks_of(start),
        allow_leaks,
        _seconds("patience", patience),
        _seconds("io_wait", io_wait),
    )
    return simulation if function is None else simulation(function)


def _freezegun() -> Any:
    try:
        import freezegun
    except ImportError as error:
        raise ImportError(
            "simulated_time needs freezegun; install it with `pip install 'llamina[testing]'`", name="freezegun"
        ) from error
    return freezegun


@contextmanager
def _frozen(ticks: int) -> Iterator[Callable[[int], None]]:
    """Freeze the wall clock and `time.monotonic` at *ticks*; gives the function that sets them."""
    freezegun = _freezegun()
    freezer = freezegun.freeze_time(_naive(ticks), ignore=list(_UNTOUCHED))
    hands = freezer.start()
    # The list above has chosen the modules; freezegun would also look it up on each call, five frames up, and tell the
    # real time to every function that runs in a worker thread.
    freezegun.api.ignore_lists[-1] = ()

    def move(ticks: int) -> None:
        hands.time_to_freeze = _naive(ticks)

    try:
        yield move
    finally:
        freezer.stop()


def one_freeze() -> AbstractContextManager[Any]:
    """Freeze the wall clock once round many simulations: each of those within is then cheap."""
    _refuse_running_loop()
    return _frozen(_ticks_of(_DEFAULT_START))


@contextmanager
def _unraisable_into(problems: list[tuple[str, BaseException | None]]) -> Iterator[None]:
    """Keep what Python would only print: exceptions in `__del__`, coroutines that were never awaited."""

    def remember(unraisable: Any) -> None:
        problems.append((f"{unraisable.err_msg or 'Exception ignored in'} {unraisable.object!r}", unraisable.exc_value))

    before = sys.unraisablehook
    sys.unraisablehook = remember
    try:
        yield
    finally:
        sys.unraisablehook = before


def _refuse_running_loop() -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "simulated time needs an event loop of its own, and one is running in this thread already; use it from a "
            "synchronous function, without another async test plugin"
        )


def _naive(ticks: int) -> datetime:
    return (_EPOCH + timedelta(microseconds=ticks)).replace(tzinfo=None)


def _ticks_of(start: str | float | datetime) -> int:
    """Microseconds since 1970."""
    try:
        if isinstance(start, int | float):
            return round(start * 1e6)
        moment = start if isinstance(start, datetime) else datetime.fromisoformat(start)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"simulated_time.start must be an ISO 8601 text, a datetime or seconds since 1970, got {start!r}"
        ) from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"simulated_time.{name} must be a number of seconds, 0 or more, got {value!r}")
    return value
