"""An event loop that never waits: when nothing is ready, its clock jumps to the next timer.

    runner = asyncio.Runner(loop_factory=lambda: SimulatedLoop(1_767_225_600_000_000))
    runner.run(asyncio.sleep(3600))            # returns at once; the loop's `time()` is 3600 s later

`llamina.testing.simulated_time` runs code in it, and lets the wall clock follow.

The one surprise: what happens outside takes real time, in which this clock stands still. An executor's job is waited
for; where sockets are open a jump waits a moment for them; a plain thread is waited for only when no timer is left.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["SimulatedLoop", "SimulationDeadlock", "place_of"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HORIZON = 253_402_214_400
"""Seconds since 1970 at which the year 9999 ends for datetime: a timer beyond, like `sleep(inf)`, means never."""
TURNS = 10_000
"""Turns of the loop at one moment, before the guard against polling moves the clock by a step."""
STEPS = 40
"""Steps of the guard, each twice as long as the one before, the first a millisecond: together 35 years."""
_ASYNCIO = str(Path(asyncio.__file__).parent)


class SimulationDeadlock(AssertionError):  # noqa: N818 - a state, named as what it is
    """The simulated code waits for something that can no longer happen; the message names every task and its place."""


class _Timer(asyncio.TimerHandle):
    """A timer that keeps its place in the queue: asyncio's heap alone shuffles timers of the same moment."""

    __slots__ = ("order",)
    _when: float
    order: int

    def __lt__(self, other: Any) -> bool:
        return (self._when, self.order) < (other._when, other.order)


class _Selector(selectors.DefaultSelector):
    """Asks without waiting what is ready; when nothing is, time jumps."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            self.loop.turns = 0
        elif timeout == 0:
            self.loop.count_turn()
        else:
            due = self.loop.next_timer()
            wait = self.loop.real_wait(due)
            ready = super().select(wait) if wait else []
            if not ready:
                self.loop.jump(due)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A selector loop whose clock counts in ticks of a microsecond since 1970 and moves only by jumps.

    Args:
        ticks: the moment at which it starts.
        on_move: called with the new moment in ticks after each jump.
        patience: real seconds to wait for a job, or for sockets and threads when no timer is left.
        io_wait: real seconds to wait for open sockets before each jump.

    Attributes:
        problems: what went wrong in the background: a text, and the exception if there is one.
    """

    _clock_resolution: float
    _ready: Any
    _scheduled: list[_Timer]

    def __init__(
        self,
        ticks: int,
        on_move: Callable[[int], None] | None = None,
        *,
        patience: float = 5.0,
        io_wait: float = 0.001,
    ) -> None:
        self.selector = _Selector()
        self.selector.loop = self
        super().__init__(self.selector)
        self.problems: list[tuple[str, BaseException | None]] = []
        self.turns = 0
        self._on_move = on_move
        self._patience = patience
        self._io_wait = io_wait
        self._jobs = 0
        self._order = itertools.count()
        self._known: weakref.WeakValueDictionary[int, asyncio.Task[Any]] = weakref.WeakValueDictionary()
        self.move_to(ticks)

    # -- the clock

    def time(self) -> float:
        """Seconds since 1970, the same number as `time.time()` and `time.monotonic()` in simulated time."""
        return self._now

    def move_to(self, ticks: int) -> None:
        """Set the clock; it never goes back."""
        self.ticks = ticks
        self._now = _seconds(ticks)
        # The loop fires timers before `now + resolution`. One step of the float, no more: a resolution below it would
        # never fire a timer that is due exactly now, one above it would fire timers that are not due yet.
        self._clock_resolution = math.ulp(self._now)
        if self._on_move is not None:
            self._on_move(ticks)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in asyncio, but timers of the same moment fire in the order in which they were set."""
        self._check_closed()  # type: ignore[attr-defined]
        timer = _Timer(when, callback, args, self, context)
        timer.order = next(self._order)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def next_timer(self) -> int | None:
        """The moment of the next timer in ticks; None when there is none that will ever fire."""
        if not self._scheduled or self._scheduled[0]._when >= HORIZON:
            return None
        return _ticks(self._scheduled[0]._when)

    def jump(self, due: int | None) -> None:
        """Move on to *due*; without a next moment nothing can happen any more."""
        if due is None:
            raise SimulationDeadlock(
                f"nothing can happen any more: no timer is set, and {self._outside()}{self.describe_tasks()}"
            )
        self.turns = 0
        self.move_to(max(due, self.ticks))

    def count_turn(self) -> None:
        """Move the clock a little for code that polls with `sleep(0)` until something happens."""
        if self._jobs:
            return
        self.turns += 1
        step, rest = divmod(self.turns, TURNS)
        if rest:
            return
        if step > STEPS:
            raise SimulationDeadlock(
                f"the loop made {self.turns} turns and nothing happened: a task polls with sleep(0), or calls itself "
                f"again, for ever{self.describe_tasks()}"
            )
        later = self.ticks + 1_000 * 2 ** (step - 1)
        due = self.next_timer()
        self.move_to(later if due is None else max(self.ticks, min(later, due)))

    # -- the outside

    def real_wait(self, due: int | None) -> float:
        """Real seconds in which the outside may still wake the loop, before it jumps to *due*."""
        if self._jobs:
            return self._patience
        if self._sockets():
            return self._io_wait if due is not None else self._patience
        return self._patience if due is None and _others() else 0.0

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As in asyncio; the clock stands still until the job is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As in asyncio; a thread that joins the others is a job too, so no timeout of it can fire."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._jobs -= 1

    def _job_done(self, future: asyncio.Future[Any]) -> None:
        del future
        self._jobs -= 1

    def _sockets(self) -> int:
        return len(self.selector.get_map()) - 1  # one is the loop's own, through which threads wake it

    def _outside(self) -> str:
        if not (self._jobs or self._sockets() or _others()):
            return "no job, socket or thread is left that could wake the loop"
        return f"{self._jobs} jobs, {self._sockets()} sockets and other threads were silent for {self._patience:g} s"

    # -- what is left behind

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """As in asyncio; the task is remembered for as long as somebody else holds it."""
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._known[next(self._order)] = task
        return task

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what asyncio would only log."""
        error = context.get("exception")
        if self.is_closed():
            super().default_exception_handler(context)
        elif not isinstance(error, asyncio.CancelledError):
            where = next((f" in {name_of(context[key])}" for key in ("task", "future") if key in context), "")
            self.problems.append((f"{context.get('message')}{where}", error))

    def running_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that are not done, oldest first, without those that finish an async generator."""
        closing = {"async_generator_athrow", "async_generator_asend"}
        return [
            task
            for _, task in sorted(self._known.items())
            if not task.done() and type(task.get_coro()).__name__ not in closing
        ]

    async def settle(self) -> None:
        """Let what is ready come to its end, without moving the clock."""
        me = asyncio.current_task()
        for _ in range(100):  # a leaked task that polls must not keep us here
            if not self._ready and all(task is me for task in self.running_tasks()):
                break
            await asyncio.sleep(0)

    def collect_unseen(self) -> None:
        """Add to `problems` the exceptions of tasks that nobody has asked for, without waiting for the collector."""
        for _, task in sorted(self._known.items()):
            if task.done() and not task.cancelled() and task._log_traceback:
                self.problems.append((f"Task exception was never retrieved in {name_of(task)}", task.exception()))

    def describe_tasks(self) -> str:
        """One line a task: its name and where it waits; then what went wrong in the background."""
        self.collect_unseen()
        lines = [f"{name_of(task)} waits at {place_of(task)}" for task in self.running_tasks()]
        lines += [f"{text}: {error!r}" for text, error in self.problems]
        return "".join(f"\n  {line}" for line in lines)


def name_of(task: Any) -> str:
    """`Task-3 (worker)`: the name of a task, and of its coroutine."""
    if not isinstance(task, asyncio.Task):
        return repr(task)
    coroutine = task.get_coro()
    return f"{task.get_name()} ({getattr(coroutine, '__qualname__', repr(coroutine))})"


def place_of(task: asyncio.Task[Any]) -> str:
    """The innermost `file:line` at which *task* waits, outside of asyncio itself."""
    place = "its start"
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = next((found for name in _FRAMES if (found := getattr(awaited, name, None)) is not None), None)
        if frame is not None and not frame.f_code.co_filename.startswith(_ASYNCIO):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        awaited = next((found for name in _NEXT if (found := getattr(awaited, name, None)) is not None), None)
    return place


_FRAMES = ("cr_frame", "ag_frame", "gi_frame")
_NEXT = ("cr_await", "ag_await", "gi_yieldfrom")


def _seconds(ticks: int) -> float:
    # As freezegun adds them, so that all clocks show the same float.
    whole, rest = divmod(ticks, 1_000_000)
    return whole + rest / 1_000_000


def _ticks(moment: float) -> int:
    """The first tick that is not before *moment*: a timer that fires is due, whoever compares it with the clock."""
    ticks = round(moment * 1e6)
    while _seconds(ticks) < moment:
        ticks += 1
    return ticks


def _others() -> bool:
    """Whether there are threads that could wake the loop; the one of the blocking faces waits for calls of its own."""
    if threading.active_count() == 1:
        return False
    return any(t.name != "llamina blocking" for t in threading.enumerate() if t is not threading.current_thread())
