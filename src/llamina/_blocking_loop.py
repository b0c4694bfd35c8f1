"""The event loop behind all blocking faces of a process: one, in a thread of its own, started when it is first needed.

    home = background()
    response = home.run(stack, request)      # from any thread but the loop's own

A call runs in a task of its own with a copy of the calling thread's context variables. Ctrl-C in the waiting thread
cancels the task, and waits until it has cleaned up; a second one no longer waits.

The one surprise: after `os.fork()` the child has no such thread, only its memory. It forgets the loop without closing it
(that would reach into the parent's selector) and starts another when it needs one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any, TypeVar

from .errors import LLMError

__all__ = ["Background", "background", "wait_for"]

T = TypeVar("T")

_PATIENCE = 0.1
"""Seconds after which a waiting main thread looks for a Ctrl-C that did not wake it.

One that strikes just before the system call does not interrupt it, and on Windows none does.
"""
_LAST_WORDS = 5.0
"""Seconds that calls in flight have to clean up when the interpreter ends."""


def wait_for(signal: Any) -> None:
    """Wait until another thread releases the lock *signal*; Ctrl-C interrupts it."""
    if threading.get_ident() != threading.main_thread().ident:  # signals are the main thread's
        signal.acquire()
        return
    while not signal.acquire(timeout=_PATIENCE):
        pass


class Background:
    """An event loop in a daemon thread, and the tasks that blocking callers have in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(_Executor(thread_name_prefix="llamina blocking"))
        self.lost = False  # whether this process is a child that has the loop's memory but not its thread
        self.ending = False  # whether the interpreter ends
        self._tasks: set[asyncio.Task[Any]] = set()  # a task is kept alive while it cleans up
        self._thread = threading.Thread(target=self._serve, name="llamina blocking", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise RuntimeError(
                "the event loop of the blocking faces cannot be started while the interpreter ends; "
                "make a first call before the main thread has ended"
            ) from error
        except BaseException:
            self.loop.close()
            raise

    def _serve(self) -> None:
        while not self.loop.is_closed():
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue  # raised by the task of one caller: the others go on
            return

    def check_caller(self) -> None:
        """Refuse to wait in the loop's own thread.

        Raises:
            RuntimeError: this is that thread; it would wait for itself for ever.
        """
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError(
                "a blocking face was used in the thread of its own event loop, which would wait for itself for ever; "
                "in a layer or an async tool await the stack or the client itself, without blocking()"
            )

    def check_ending(self, error: BaseException) -> None:
        """End the calling thread without a word if *error* is how its call was cancelled because the interpreter ends.

        Only daemon threads still wait then. One that wrote a traceback could hold the lock of stderr when it is
        stopped, and the interpreter would abort the process.
        """
        if self.ending and isinstance(error, asyncio.CancelledError):
            raise SystemExit from error

    def start(self, work: Coroutine[Any, Any, T], context: Context, name: str) -> asyncio.Task[T]:
        """A task in the loop; to be called in the loop's thread."""
        task = self.loop.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def post(self, function: Callable[[], object]) -> None:
        """Have *function* called in the loop's thread, if the loop is still there; does not wait."""
        if not self.lost:
            with contextlib.suppress(RuntimeError):  # closed: the interpreter ends
                self.loop.call_soon_threadsafe(function)

    def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, cancelled_by_ctrl_c: bool = True
    ) -> T:
        """What `await function(*arguments)` returns or raises in the loop, for a thread that waits for it.

        What cleans up is not cancelled when the waiting thread is interrupted: it goes on, and nobody waits for it.

        Raises:
            RuntimeError: this is the loop's own thread.
        """
        self.check_caller()
        work = _Work(self, function, arguments)
        try:
            self.loop.call_soon_threadsafe(work.start)
            work.wait()
        except BaseException:
            # Ctrl-C, or what another signal handler raised: it goes on when the call has been cleaned up.
            if cancelled_by_ctrl_c and not self.loop.is_closed():
                self.post(work.cancel)
                work.wait()
            raise
        result: T = work.result()
        return result

    def end(self) -> None:
        """Cancel what is in flight, wait for its clean-up for some seconds, and stop."""
        if self.lost or self.loop.is_closed():
            return
        self.ending = True
        self.loop.call_soon_threadsafe(lambda: self.start(self._wind_up(), Context(), "llamina end"))
        self._thread.join(_LAST_WORDS + 1)
        if not self._thread.is_alive():
            self.loop.close()

    async def _wind_up(self) -> None:
        me = asyncio.current_task()
        try:
            if left := [task for task in asyncio.all_tasks() if task is not me]:
                for task in left:
                    if not task.cancelling():  # else it cleans up already
                        task.cancel()
                _, stubborn = await asyncio.wait(left, timeout=_LAST_WORDS)
                for task in stubborn:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]  # there is nobody left to tell
            await self.loop.shutdown_asyncgens()
        finally:
            self.loop.stop()


class _Executor(ThreadPoolExecutor):
    """The loop's executor, which works to the end.

    Threads that the interpreter waits for when it ends may still make calls, when executors take no work any more.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return super().submit(function, *args, **kwargs)
        except RuntimeError:
            ended: Future[Any] = Future()
            try:
                ended.set_result(function(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - for the one who waits
                ended.set_exception(error)
            return ended


class _Work:
    """One call in the loop, and the thread that waits for it."""

    __slots__ = ("_arguments", "_context", "_done", "_ended", "_error", "_function", "_home", "_task", "_value")

    def __init__(self, home: Background, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._home = home
        self._function = function
        self._arguments = arguments
        self._context = copy_context()
        self._task: asyncio.Task[Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = False
        self._ended = threading.Lock()  # released when it is done
        self._ended.acquire()

    # In the loop's thread.

    def start(self) -> None:
        if not self._done:
            self._task = self._home.start(self._go(), self._context, "llamina call")

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._done:
            self._end()

    async def _go(self) -> None:
        try:
            self._value = await self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        self._done = True
        self._ended.release()

    # In the thread that waits.

    def wait(self) -> None:
        if not self._done:  # else the lock may have been taken by a wait that was interrupted right after
            wait_for(self._ended)

    def result(self) -> Any:
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            self._home.check_ending(error)
            if isinstance(error, asyncio.CancelledError):
                # Nobody in the waiting thread has cancelled, and code that is not async does not know the class.
                raise LLMError("the call was cancelled from below, not by its caller") from error
            raise error
        finally:
            del error  # its traceback holds this frame: a cycle that only the garbage collector would free


_current: Background | None = None
_starting = threading.Lock()
_forgotten: list[Background] = []


def background() -> Background:
    """The loop of this process; it is started if there is none."""
    global _current  # noqa: PLW0603 - a process has one
    home = _current
    if home is None or home.loop.is_closed():
        with _starting:
            home = _current
            if home is None or home.loop.is_closed():
                home = _current = Background()
    return home


def _end() -> None:
    if _current is not None:
        _current.end()


def _forget() -> None:
    global _current, _starting
    home, _current, _starting = _current, None, threading.Lock()
    if home is not None:
        home.lost = True
        _forgotten.append(home)  # never collected: its end would close what the parent uses


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
