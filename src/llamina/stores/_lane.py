"""One thread that does the blocking work of a store, in order, taking what has come together as one batch.

    lane = Lane("llamina-sqlite-write", execute)      # execute(jobs) -> one Outcome for each, called in the thread
    row = await lane.run(job)

The one surprise: the thread belongs to an executor and every batch goes through `loop.run_in_executor`, so that a
loop with simulated time knows that somebody is working and lets no time pass meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

Job = TypeVar("Job")

_AT_ONCE = 256
"""Jobs in one batch at most, so that no transaction keeps others waiting for long."""


class Outcome(NamedTuple):
    """How one job ended: with a value, or with an error to raise in its caller."""

    value: Any = None
    error: BaseException | None = None


class Lane(Generic[Job]):
    """Jobs of any number of event loops and threads, done by one thread.

    A caller that is cancelled leaves; its job is done all the same, and nobody else's is touched.
    """

    def __init__(self, name: str, execute: Callable[[Sequence[Job]], Sequence[Outcome]]) -> None:
        self._execute = execute
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = Lock()
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[Job, asyncio.Future[Any]]]] = {}

    async def run(self, job: Job) -> Any:
        """What became of *job*.

        Raises:
            RuntimeError: the lane is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            batch = self._waiting.get(loop)
            if batch is None:
                # Submitted under the lock: the thread must not find a batch that has no job in it yet.
                drain = loop.run_in_executor(self._executor, self._drain, loop)
                batch = self._waiting[loop] = []
                drain.add_done_callback(partial(_deliver, batch))
            batch.append((job, future))
        return await future

    def _drain(self, loop: asyncio.AbstractEventLoop) -> Sequence[Outcome]:
        with self._lock:
            batch = self._waiting.pop(loop)  # whoever comes now opens the next batch
        jobs = [job for job, _ in batch]
        outcomes: list[Outcome] = []
        for start in range(0, len(jobs), _AT_ONCE):
            outcomes += self._execute(jobs[start : start + _AT_ONCE])
        return outcomes

    async def aclose(self, last: Callable[[], None]) -> None:
        """Take no more jobs, do what waits, then *last*, and end the thread."""
        done = asyncio.get_running_loop().run_in_executor(self._executor, last)
        self._executor.shutdown(wait=False)
        await asyncio.shield(done)
        self._executor.shutdown(wait=True)  # takes no time: the thread has nothing left to do


def _deliver(batch: list[tuple[Any, asyncio.Future[Any]]], drained: asyncio.Future[Sequence[Outcome]]) -> None:
    failure = drained.exception()
    outcomes = [Outcome(error=failure)] * len(batch) if failure else drained.result()
    for (_, future), outcome in zip(batch, outcomes, strict=True):
        if future.done():
            continue  # its caller was cancelled
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)
            future.exception()  # seen: a caller that is cancelled in this very moment will not fetch it
