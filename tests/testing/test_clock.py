"""Simulated time: the loop's clock and the wall clock jump together, and what is left behind is told."""

import asyncio
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import freezegun
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.testing import SimulationDeadlock, simulated_time
from llamina.testing.clock import SimulatedClock, SimulationLeak

HOUR = 3600


# -- the clock


@simulated_time
async def test_an_hour_passes_at_once():
    """A sleep of an hour moves the loop's clock by exactly an hour."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    await asyncio.sleep(HOUR)

    assert loop.time() - started == HOUR


@simulated_time(start="2026-03-01T00:00:00Z")
async def test_all_clocks_agree_after_odd_delays():
    """Loop, wall clock and monotonic clock show the same number, to the last bit, however odd the delays."""
    loop = asyncio.get_running_loop()

    for delay in (0.1, 0.2, 1 / 3, 7e-7, 86_400.000_001):
        await asyncio.sleep(delay)

        assert loop.time() == time.time() == time.monotonic() == time.perf_counter()
        assert datetime.now(UTC).timestamp() == loop.time()


@simulated_time(start="2026-03-01T00:00:00Z")
async def test_the_wall_clock_moves_with_the_loop():
    """A day that is slept through is the next day for `datetime.now`."""
    before = datetime.now(UTC)

    await asyncio.sleep(86_400)

    assert before == datetime(2026, 3, 1, tzinfo=UTC)
    assert datetime.now(UTC) == datetime(2026, 3, 2, tzinfo=UTC)


@simulated_time
async def test_timers_fire_in_order():
    """Timers fire by their moment, each at its moment."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    fired: list[float] = []

    async def sleeper(delay: float) -> None:
        await asyncio.sleep(delay)
        fired.append(loop.time() - started)

    await asyncio.gather(*(sleeper(delay) for delay in (5, 1, 3600, 0.5, 2)))

    assert fired == [0.5, 1, 2, 5, 3600]


@simulated_time
async def test_timers_of_the_same_moment_fire_first_come_first_served():
    """Many sleeps of the same length end in the order in which they began."""
    ended: list[int] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(1)
        ended.append(number)

    await asyncio.gather(*(sleeper(number) for number in range(50)))

    assert ended == list(range(50))


@simulated_time
async def test_a_timer_never_fires_early():
    """Code that compares the clock with its deadline finds it reached when its timer fires."""
    loop = asyncio.get_running_loop()
    deadlines: list[float] = []
    waits = 0

    for delay in (0.1, 1e-6, 3e-7, 0.7):
        deadlines.append(deadline := loop.time() + delay)
        while loop.time() < deadline:
            waits += 1
            await asyncio.sleep(deadline - loop.time())

    assert waits == len(deadlines)


@simulated_time
async def test_timers_closer_than_a_microsecond_fire_when_they_are_due():
    """The smallest difference that a float can hold is kept: the later timer does not fire with the earlier one."""
    loop = asyncio.get_running_loop()
    first = loop.time() + 1
    second = math.nextafter(first, math.inf)
    fired: dict[float, float] = {}

    for when in (second, first):
        loop.call_at(when, lambda when=when: fired.update({when: loop.time()}))
    await asyncio.sleep(2)

    assert fired[first] == first
    assert fired[second] >= second


@simulated_time
async def test_a_timeout_ends_a_long_sleep():
    """`asyncio.timeout` fires at its own moment."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.sleep(HOUR)

    assert loop.time() - started == 30


@simulated_time
async def test_polling_with_sleep_0_comes_to_its_timer():
    """A task that polls with `sleep(0)` until a timer has fired does not stop the clock."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(5, done.set)
    started = asyncio.get_running_loop().time()

    while not done.is_set():  # noqa: ASYNC110 - this is the point
        await asyncio.sleep(0)

    assert asyncio.get_running_loop().time() - started == 5


@simulated_time
async def test_much_work_at_one_moment_moves_no_clock():
    """Thousands of turns of the loop with something to do take no simulated time."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(2_000):
            await queue.put(number)

    async with asyncio.timeout(0.001), asyncio.TaskGroup() as group:
        group.create_task(produce())
        received = [await queue.get() for _ in range(2_000)]

    assert (received[-1], loop.time()) == (1_999, started)


# -- deadlocks


def test_a_deadlock_is_named_with_the_tasks_that_wait():
    """Waiting for what nobody will do raises at once and names the task, its place, and what died in the background."""

    async def setter(event: asyncio.Event) -> None:
        raise ValueError("died before it could set the event")

    @simulated_time
    async def waiter() -> None:
        event = asyncio.Event()
        task = asyncio.create_task(setter(event), name="the-setter")
        await event.wait()
        await task

    with pytest.raises(SimulationDeadlock, match=r"(?s)waiter.*test_clock\.py:\d+.*the-setter.*died before"):
        waiter()


@pytest.mark.parametrize("seconds", [float("inf"), 1e15])
def test_a_sleep_for_ever_is_a_deadlock(seconds: float):
    """A timer beyond the year 9999 is no timer."""

    @simulated_time
    async def sleeper() -> None:
        await asyncio.sleep(seconds)

    with pytest.raises(SimulationDeadlock, match="no timer is set"):
        sleeper()


def test_polling_for_ever_is_named():
    """A task that polls for what never happens, with no timer to come to, is a deadlock too."""

    @simulated_time
    async def poller() -> None:
        while True:  # noqa: ASYNC110 - this is the point
            await asyncio.sleep(0)

    with pytest.raises(SimulationDeadlock, match=r"polls with sleep\(0\)"):
        poller()


def test_a_deadlock_beside_an_open_socket_is_named_after_the_patience():
    """A socket may still wake the loop: it gets the patience, in real seconds, and no more."""

    @simulated_time(patience=0.01)
    async def server_without_clients() -> None:
        async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0):
            await asyncio.Event().wait()

    with pytest.raises(SimulationDeadlock, match="1 sockets"):
        server_without_clients()


# -- what is left behind


def test_a_leaked_task_is_named():
    """A task that still runs when the code returns fails the run, with its name and its place, and is cancelled."""
    tasks: list[asyncio.Task[None]] = []

    async def beat() -> None:
        await asyncio.sleep(1)

    @simulated_time
    async def forgetful() -> None:
        tasks.append(asyncio.create_task(beat(), name="heart"))
        await asyncio.sleep(0)

    with pytest.raises(SimulationLeak, match=r"(?s)still running: 1.*heart.*beat.*test_clock\.py:\d+"):
        forgetful()
    assert tasks[0].cancelled()


def test_a_leak_is_told_once():
    """What one run left behind is cleared away, and the next run of the clock starts clean."""
    ended: list[str] = []

    async def forgetful() -> None:
        asyncio.create_task(asyncio.sleep(10)).add_done_callback(lambda task: ended.append("leak"))

    with simulated_time() as clock:
        with pytest.raises(SimulationLeak):
            clock.run(forgetful())
        clock.run(asyncio.sleep(1))

        assert ended == ["leak"]
        assert clock.time() == 1


def test_a_clock_runs_on_after_a_deadlock():
    """A run that failed is cleared away with its tasks, and the next run of the clock starts clean."""

    async def stuck() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())

    with simulated_time() as clock:
        with pytest.raises(SimulationDeadlock):
            clock.run(stuck())

        assert clock.run(asyncio.sleep(1, "next")) == "next"


def test_leaks_can_be_allowed():
    """With `allow_leaks` a task may go on through several runs; it is cancelled at the end."""
    beats: list[float] = []

    with simulated_time(allow_leaks=True) as clock:

        async def beat() -> None:
            while True:
                await asyncio.sleep(10)
                beats.append(clock.time())

        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(beat())

        task = clock.run(start())
        clock.advance(35)

    assert beats == [10, 20, 30]
    assert task.cancelled()


@simulated_time
async def test_a_task_that_is_about_to_end_is_no_leak():
    """A task that was cancelled, and needs only turns of the loop to end, is let end."""

    async def stubborn() -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            for _ in range(10):
                await asyncio.sleep(0)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    task.cancel()

    assert not task.done()


@simulated_time
async def test_an_async_generator_left_open_is_no_leak():
    """What closes an async generator that was left half read is not taken for a leaked task."""

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)

    async for number in numbers():
        assert number == 1
        break


@pytest.mark.parametrize("held", [True, False], ids=["task held", "task forgotten"])
def test_an_exception_that_nobody_saw_fails(*, held: bool):
    """A task that died unseen fails the run whether or not somebody still holds it; its error is the cause."""
    tasks: list[asyncio.Task[None]] = []

    async def worker() -> None:
        raise ValueError("unseen")

    @simulated_time
    async def careless() -> None:
        task = asyncio.create_task(worker())
        if held:
            tasks.append(task)
        await asyncio.sleep(1)

    with pytest.raises(SimulationLeak, match="never retrieved") as caught:
        careless()
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_in_a_callback_fails():
    """What asyncio would only log fails the run."""

    @simulated_time
    async def careless() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(SimulationLeak, match="ZeroDivisionError"):
        careless()


def test_an_unraisable_exception_fails():
    """What Python would only print, an exception in `__del__`, fails the run; afterwards the hook is the old one."""
    before = sys.unraisablehook

    class Broken:
        def __del__(self) -> None:
            raise ValueError("in a finaliser")

    @simulated_time
    async def careless() -> None:
        Broken()

    with pytest.raises(SimulationLeak, match="in a finaliser"):
        careless()
    assert sys.unraisablehook is before


def test_the_code_s_own_error_goes_through_with_what_happened_before():
    """The error of the simulated code is raised as it is, with a note on errors in the background."""
    own = RuntimeError("own")

    @simulated_time
    async def failing() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)
        raise own

    with pytest.raises(RuntimeError) as caught:
        failing()
    assert caught.value is own
    assert "ZeroDivisionError" in "".join(own.__notes__)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes(error: type[BaseException]):
    """KeyboardInterrupt and SystemExit come out of the simulation, and time is real again."""

    @simulated_time
    async def interrupted() -> None:
        raise error

    with pytest.raises(error):
        interrupted()
    assert time.time is freezegun.api.real_time


def test_ctrl_c_passes():
    """A SIGINT during the run is a KeyboardInterrupt of its caller."""

    @simulated_time
    async def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        interrupted()


# -- the outside


@simulated_time
async def test_an_executor_job_is_waited_for():
    """The clock stands still while a job runs, and the job sees the simulated time."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    def job() -> float:
        time.sleep(0.01)
        return time.time()

    async with asyncio.timeout(1):
        seen = await asyncio.to_thread(job)

    assert seen == started == loop.time()


@simulated_time
async def test_polling_for_a_job_moves_no_clock():
    """A task that polls until a job is done sees no time pass, however often it polls."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    turns = 0

    job = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.2))
    while not job.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 1
    assert loop.time() == started


@simulated_time
async def test_a_loopback_server_in_the_same_loop_answers_before_any_timer():
    """Bytes on a loopback socket arrive before the clock jumps to the timeout that watches over them."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(2)
            writer.write(line.upper())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answers = []
        for line in (b"one\n", b"two\n"):
            writer.write(line)
            answers.append(await reader.readline())
        writer.close()
        await writer.wait_closed()

    assert answers == [b"ONE\n", b"TWO\n"]
    assert loop.time() - started == 4


@simulated_time(io_wait=5)
async def test_a_server_in_another_thread_answers_within_the_wait_for_sockets():
    """With an `io_wait` of its own, a peer outside of the loop answers before the clock jumps to a timeout."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=lambda: theirs.sendall(theirs.recv(10).upper()))
    thread.start()
    reader, writer = await asyncio.open_connection(sock=ours)

    async with asyncio.timeout(0.5):
        writer.write(b"hello")
        answer = await reader.readexactly(5)

    assert answer == b"HELLO"
    writer.close()
    await writer.wait_closed()
    thread.join()
    theirs.close()


# -- forms of use


def test_the_context_manager_runs_advances_and_tells_the_time():
    """`run`, `advance`, `time` and `now` are one clock; between runs, sync code sees it too."""
    with simulated_time(start="2026-01-01T00:00:00Z") as clock:
        result = clock.run(asyncio.sleep(10, "result"))
        clock.advance(0.5)

        assert (result, clock.time()) == ("result", 10.5)
        assert clock.now() == datetime(2026, 1, 1, 0, 0, 10, 500_000, UTC) == datetime.now(UTC)

    assert abs(datetime.now(UTC) - clock.now()) > timedelta(days=1)


def test_runs_of_one_clock_share_a_loop():
    """A lock made in one run serves in the next."""
    lock = asyncio.Lock()

    async def hold() -> asyncio.AbstractEventLoop:
        async with lock:
            await asyncio.sleep(1)
            return asyncio.get_running_loop()

    async def compete() -> set[asyncio.AbstractEventLoop]:
        return set(await asyncio.gather(hold(), hold()))

    with simulated_time() as clock:
        assert clock.run(compete()) == clock.run(compete())
        assert clock.time() == 4


@pytest.mark.parametrize(
    "start",
    ["2026-05-01T02:00:00+02:00", "2026-05-01", datetime(2026, 5, 1, tzinfo=UTC), 1_777_593_600, 1_777_593_600.0],
)
def test_the_start_is_a_text_a_datetime_or_seconds(start: object):
    """Every way to say the start means the same moment."""
    with simulated_time(start=start) as clock:
        assert clock.now() == datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "settings", [{"start": "tomorrow"}, {"start": []}, {"patience": -1}, {"io_wait": float("nan")}, {"patience": True}]
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, object]):
    """A wrong setting is refused when it is given, by its name."""
    with pytest.raises(ConfigurationError, match=f"simulated_time.{next(iter(settings))}"):
        simulated_time(**settings)


def test_the_decorator_returns_the_result_and_takes_arguments():
    """A decorated function is called as before, and returns what the coroutine returns."""

    @simulated_time
    async def add(left: int, *, right: int) -> int:
        """Adds."""
        await asyncio.sleep(1)
        return left + right

    assert add(1, right=2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Adds.")


@pytest.mark.parametrize("number", [1, 2])
@simulated_time
async def test_fixtures_and_parameters_reach_a_decorated_test(number: int, tmp_path):
    """The signature that pytest reads is that of the decorated function."""
    assert number in (1, 2)
    assert tmp_path.exists()


class TestMethods:
    """The decorator on methods."""

    @simulated_time(start="2026-01-01T00:00:00Z")
    async def test_a_method_gets_its_self(self):
        """A decorated method is bound as any other."""
        assert isinstance(self, TestMethods)
        assert datetime.now(UTC).year == 2026


@pytest.mark.parametrize("wrong", [lambda: None, int, 3])
def test_only_async_functions_are_decorated(wrong: object):
    """A sync function is refused, with the form that serves it."""
    with pytest.raises(TypeError, match="async functions"):
        simulated_time(wrong)


def test_a_running_loop_is_refused_in_every_form():
    """Inside a running loop every form says clearly that it needs its own."""

    @simulated_time
    async def inner() -> None: ...

    async def outer() -> None:
        with pytest.raises(RuntimeError, match="event loop of its own"):
            inner()
        with pytest.raises(RuntimeError, match="event loop of its own"), simulated_time():
            pass

    asyncio.run(outer())


def test_a_clock_refuses_to_run_or_advance_inside_its_own_run():
    """`run` and `advance` belong to synchronous code between two runs."""
    with simulated_time() as clock:

        async def inside() -> None:
            with pytest.raises(RuntimeError, match="event loop of its own"):
                clock.run(asyncio.sleep(1))
            with pytest.raises(RuntimeError, match="event loop of its own"):
                clock.advance(1)

        clock.run(inside())


def test_an_outer_freeze_gives_the_start():
    """Inside a freeze of freezegun's the simulation begins at the frozen moment, and the freeze is as before afterwards."""

    @simulated_time
    async def tomorrow() -> datetime:
        await asyncio.sleep(86_400)
        return datetime.now(UTC)

    with freezegun.freeze_time("2030-06-01"):
        assert tomorrow() == datetime(2030, 6, 2, tzinfo=UTC)
        assert datetime.now(UTC) == datetime(2030, 6, 1, tzinfo=UTC)


@simulated_time
async def test_an_inner_freeze_moves_the_wall_clock_alone():
    """A wall clock that is set, as an administrator would, leaves the loop's clock alone."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    with freezegun.freeze_time("2040-01-01"):
        await asyncio.sleep(5)

        assert datetime.now(UTC).year == 2040
        assert loop.time() - started == 5


def test_simulations_nest_in_synchronous_code():
    """A simulation inside another's block starts at its moment and leaves it as it was."""
    with simulated_time() as outer:
        outer.advance(60)
        with simulated_time() as inner:
            inner.advance(HOUR)

            assert inner.now() - outer.now() == timedelta(hours=1)

        assert datetime.now(UTC) == outer.now()


def test_one_setting_serves_again_and_again():
    """The object that `simulated_time(...)` gives can be entered many times, also within itself."""
    simulation = simulated_time(start="2026-01-01")

    with simulation as first, simulation as second:
        second.advance(5)

        assert (first.time(), second.time()) == (0, 5)


@settings(max_examples=10)
@simulated_time
@given(delay=st.floats(0, 1e9))
async def test_it_goes_above_given(delay: float):
    """Above `@given`: every example runs in a simulation of its own, in one freeze."""
    started = asyncio.get_running_loop().time()

    await asyncio.sleep(delay)

    assert asyncio.get_running_loop().time() - started == pytest.approx(delay, abs=2e-6)


@given(delay=st.floats(0, 1e9))
@settings(max_examples=10)
@simulated_time
async def test_it_goes_below_given(delay: float):
    """Below `@given`: every example runs in a simulation of its own."""
    started = asyncio.get_running_loop().time()

    await asyncio.sleep(delay)

    assert asyncio.get_running_loop().time() - started == pytest.approx(delay, abs=2e-6)


def test_settings_above_reach_given_below():
    """`@settings` above the decorator governs `@given` below it."""
    calls = []

    @settings(max_examples=7, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @simulated_time
    @given(number=st.integers())
    async def examples(number: int) -> None:
        calls.append(number)

    examples()

    assert len(calls) == 7


# -- the pytest plugin


def test_the_fixture_is_a_clock(simulated_clock: SimulatedClock):
    """`simulated_clock` freezes time round a synchronous test."""
    simulated_clock.run(asyncio.sleep(HOUR))

    assert simulated_clock.time() == HOUR
    assert datetime.now(UTC) == simulated_clock.now()


def test_the_fixture_has_two_names(simulated_clock: SimulatedClock, request: pytest.FixtureRequest):
    """`simulated_time`, as a fixture, is the same object."""
    assert request.getfixturevalue("simulated_time") is simulated_clock


@pytest.mark.parametrize("delay", [60])
async def test_a_coroutine_test_runs_in_the_clock_of_its_fixture(simulated_clock: SimulatedClock, delay: int):
    """A coroutine that asks for the fixture needs no decorator and no other plugin."""
    await asyncio.sleep(delay)

    assert simulated_clock.time() == delay


# -- the extra


def test_without_freezegun_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """Where freezegun is missing the error says what to install."""
    monkeypatch.setitem(sys.modules, "freezegun", None)

    with pytest.raises(ImportError, match=r"llamina\[testing\]"), simulated_time():
        pass


def test_importing_the_clock_loads_no_freezegun():
    """Nothing loads freezegun before time is simulated."""
    code = "import sys, llamina.testing.clock, llamina.testing.plugin; print('freezegun' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
