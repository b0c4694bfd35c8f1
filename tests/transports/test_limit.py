"""A limit of time for the waits of one task."""

from __future__ import annotations

import asyncio

import pytest

from llamina.testing import simulated_time
from llamina.transports._limit import Limit


async def wait(limit: Limit, seconds: float) -> str:
    """One wait of *seconds*, and how it ended."""
    limit.waiting = True
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not limit.is_over():
            raise
        return "over"
    finally:
        limit.waiting = False
    return "done"


def now() -> float:
    """The moment on the loop's clock."""
    return asyncio.get_running_loop().time()


@simulated_time
async def test_it_bounds_several_waits_together() -> None:
    """The third wait of a second each ends when two and a half have passed."""
    start = now()

    with Limit(lambda: start + 2.5) as limit:
        ends = [await wait(limit, 1) for _ in range(3)]

    assert (ends, now() - start) == (["done", "done", "over"], pytest.approx(2.5))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@simulated_time
async def test_the_moment_may_move_on() -> None:
    """The time in which a reader held the stream back is added while it runs."""
    moments = [now() + 1]

    with Limit(lambda: moments[-1]) as limit:
        moments.append(now() + 5)
        end = await wait(limit, 4)

    assert end == "done"


@simulated_time
async def test_what_is_no_wait_has_the_time_it_takes() -> None:
    """Delivering is not cut, the wait after it is."""
    start = now()

    with Limit(lambda: start + 1) as limit:
        await asyncio.sleep(3)
        end = await wait(limit, 3)

    assert end == "over"
    assert now() - start == pytest.approx(3.05, abs=0.06)


@simulated_time
async def test_a_cancellation_of_the_caller_stays_one() -> None:
    """Also when both come in the same instant."""

    async def work() -> str:
        with Limit(lambda: start + 1) as limit:
            return await wait(limit, 9)

    start = now()
    for moment in (0.5, 1.0):
        start = now()
        task = asyncio.create_task(work())
        asyncio.get_running_loop().call_at(start + moment, task.cancel)

        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


@simulated_time
async def test_it_works_inside_a_timeout_of_the_caller() -> None:
    """The caller's own limit is told from this one."""
    start = now()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            with Limit(lambda: start + 5) as limit:
                await wait(limit, 9)
    async with asyncio.timeout(9):
        with Limit(lambda: now() - 1) as limit:
            assert await wait(limit, 5) == "over"


@simulated_time
async def test_an_error_in_the_instant_of_the_limit_leaves_no_cancellation_behind() -> None:
    """Who catches the error is not cancelled later."""
    task = asyncio.current_task()
    assert task is not None

    with pytest.raises(ValueError, match="own"), Limit(lambda: 0.0) as limit:
        limit.waiting = True
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise ValueError("own") from None

    assert task.cancelling() == 0
