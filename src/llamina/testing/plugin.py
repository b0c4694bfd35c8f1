"""The pytest plugin: fakes, a ledger, simulated time and a fuse as fixtures, wherever llamina is installed.

    async def test_backoff(simulated_clock, fake_transport, ledger):
        stack = build_stack([ledger, Retry()], fake_transport([ServerError("down"), "hello"]))
        await stack(Request.chat("small", "hi"))        # seconds of backoff pass, in milliseconds
        assert [attempt.outcome for attempt in ledger.attempts] == ["server_error", "ok"]

With `llamina_network = refuse` in the ini file no test reaches a real network; `no_network` does it for one test, the
mark `llamina_network("allow")` undoes it for one. Nothing happens to a test that asks for none of this.

The one surprise: a coroutine test that asks for the clock runs in the clock's loop; it needs no other async plugin.
Time stands still from the moment at which the fixture is made: ask for it first, and let other fixtures depend on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

# Everything else is imported where it is used: this module is loaded in every pytest session.
if TYPE_CHECKING:
    from ._fuse import Fuse
    from .call_log import CallLog
    from .clock import SimulatedClock
    from .fake import FakeTransport
    from .provider import SimulatedProvider

__all__ = [
    "fake_transport",
    "ledger",
    "no_network",
    "pytest_addoption",
    "pytest_configure",
    "pytest_itemcollected",
    "pytest_pyfunc_call",
    "pytest_runtest_call",
    "simulated_clock",
    "simulated_provider",
    "simulated_time",
]

_CLOCKS = ("simulated_clock", "simulated_time")
_MARK = "llamina_network"
_MODES = ("allow", "refuse")


@pytest.fixture
def simulated_clock() -> Iterator[SimulatedClock]:
    """A clock that jumps: `run(coro)`, `time()`, `now()`, `advance(seconds)`; loop and wall clock follow it."""
    from .clock import simulated_time as simulate

    with simulate() as clock:
        yield clock


@pytest.fixture
def simulated_time(simulated_clock: SimulatedClock) -> SimulatedClock:
    """The same object as `simulated_clock`."""
    return simulated_clock


@pytest.fixture
def fake_transport() -> Iterator[Callable[..., FakeTransport]]:
    """Makes fakes, `fake_transport(["first", ServerError("down")])`; the test fails if a call of one still runs."""
    from .fake import FakeTransport

    made: list[FakeTransport] = []

    def make(script: Any = "hello", *, repeat: bool = False, provider: str = "fake") -> FakeTransport:
        made.append(FakeTransport(script, repeat=repeat, provider=provider))
        return made[-1]

    yield make
    running = sum([fake.in_flight for fake in made])
    if running:
        pytest.fail(f"{running} calls of a fake transport were still in flight when the test had ended", pytrace=False)


@pytest.fixture
def simulated_provider() -> Iterator[Callable[..., SimulatedProvider]]:
    """Starts HTTP servers on loopback, `simulated_provider(script, wire="chat")`, each on a thread of its own.

    For sync and async tests alike; they run in real time, and are stopped when the test has ended.
    """
    from .provider import SimulatedProvider

    with ExitStack() as running:

        def start(script: Any = "hello", *, wire: str = "chat", repeat: bool = False) -> SimulatedProvider:
            provider = SimulatedProvider(script, wire=wire, repeat=repeat)
            running.enter_context(provider.in_thread())
            return provider

        yield start


@pytest.fixture
def ledger() -> CallLog:
    """A layer that keeps every call: put it first into a stack, or round one; `.requests .attempts .usage .cost`."""
    from .call_log import CallLog

    return CallLog()


@pytest.fixture
def no_network(request: pytest.FixtureRequest) -> Iterator[Fuse]:
    """Refuses whatever would leave this machine; a test that tried fails, also where the error was swallowed."""
    from ._fuse import Fuse, fuse

    if _marked(request.node) == "allow":
        yield Fuse()
        return
    with fuse() as blown:
        yield blown
    error = blown.untold()  # refused to a fixture that was taken down
    if error is not None:
        raise error


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini option."""
    parser.addini(_MARK, "what becomes of tests that would reach a real network: allow (default) or refuse", default="")


def pytest_configure(config: pytest.Config) -> None:
    """The mark, and a wrong value of the option refused at once."""
    config.addinivalue_line("markers", f'{_MARK}(mode): "refuse" or "allow" a real network in this test')
    found = config.getini(_MARK)
    if found and found not in _MODES:
        raise pytest.UsageError(f"{_MARK} must be 'allow' or 'refuse', got {found!r}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give the fuse to the tests that shall have it, and to no other."""
    names = getattr(item, "fixturenames", None)
    if isinstance(names, list) and "no_network" not in names:
        mode = _marked(item) or item.config.getini(_MARK)
        if mode == "refuse":
            names.insert(0, "no_network")


def _marked(item: Any) -> str:
    mark = item.get_closest_marker(_MARK)
    if mark is None:
        return ""
    mode = mark.args[0] if mark.args else mark.kwargs.get("mode")
    if mode not in _MODES:
        raise pytest.UsageError(f"@pytest.mark.{_MARK} takes 'allow' or 'refuse', got {mode!r}, at {item.nodeid}")
    return str(mode)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that tried to reach a network, whatever its code made of the error."""
    outcome: Any = yield
    found = getattr(item, "funcargs", {}).get("no_network")
    untold = getattr(found, "untold", None)  # another's fixture may have this name
    error = None if untold is None else untold()
    raised = outcome.excinfo[1] if outcome.excinfo else None
    if error is None or type(raised) is type(error):
        return
    if raised is None:  # a traceback would be pytest's own, since the test's code has swallowed its own
        outcome.force_exception(pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False))
        return
    error.__cause__ = raised
    outcome.force_exception(error)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Run a coroutine test that asks for the clock in the clock's loop, and let no other async plugin do so.

    In a loop of theirs it would wait for ever: its time stands still.
    """
    fixtures: dict[str, Any] = pyfuncitem.funcargs
    clock: SimulatedClock | None = next((fixtures[name] for name in _CLOCKS if name in fixtures), None)
    before, test = pyfuncitem.obj, _own_test(pyfuncitem)
    if clock is None or not inspect.iscoroutinefunction(test):
        yield
        return

    def in_the_loop_of_the_clock(**arguments: Any) -> None:
        clock.run(test(**arguments))

    pyfuncitem.obj = in_the_loop_of_the_clock
    try:
        yield
    finally:
        pyfuncitem.obj = before


def _own_test(item: pytest.Function) -> Any:
    """The test as it was written; pytest-asyncio has put a function of its own round it by now."""
    wrapped = type(item).__module__.startswith("pytest_asyncio") and not hasattr(item.obj, "hypothesis")
    return getattr(item.obj, "__wrapped__", item.obj) if wrapped else item.obj
