"""The pytest plugin, in a pytest of its own: fixtures, the ledger, the fuse; and nothing for who asks for nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from llamina import Request, RequestTimeoutError, Retry, ServerError, Timeout, build_stack
from llamina.testing import CallLog, FakeTransport, SimulatedClock, SimulatedProvider, answer
from llamina.transports import HTTPTransport

pytest_plugins = ["pytester"]

Fakes = Callable[..., FakeTransport]
ASK = Request.chat("small", "hi")


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """An inner run, which shall not look for what other tests of this process have left behind."""
    return pytester.runpytest_inprocess("-p", "no:unraisableexception", "-p", "no:threadexception", *options)


def passes(outcome: pytest.RunResult, **counts: int) -> str:
    """The output of an inner run that must end so."""
    outcome.assert_outcomes(**counts)
    return outcome.stdout.str()


# -- fixtures


async def test_a_ledger_and_a_fake_in_simulated_time(
    simulated_clock: SimulatedClock, fake_transport: Fakes, ledger: CallLog
) -> None:
    """The three together: what was tried, what it took, what it cost."""
    fake = fake_transport([ServerError("down"), "hello"])
    stack = build_stack([ledger, Retry()], fake)

    await stack(ASK)

    assert [attempt.outcome for attempt in ledger.attempts] == ["server_error", "ok"]
    assert [request.model for request in ledger.requests] == ["small"]
    assert ledger.usage.total_tokens > 0
    assert len(ledger.calls) == 1
    assert fake.calls == 2


async def test_a_ledger_round_a_whole_stack(simulated_clock: SimulatedClock, ledger: CallLog) -> None:
    """The stack of an app is not touched."""
    app = build_stack([Retry(), Timeout(30)], FakeTransport(["hello", ["late", 60.0]] * 3))
    stack = build_stack([ledger], app)

    async with stack.stream(ASK) as stream:
        await stream.complete()
    with pytest.raises(RequestTimeoutError):
        await stack(ASK.evolve(deadline=asyncio.get_running_loop().time() + 10))

    assert [attempt.outcome for attempt in ledger.attempts] == ["ok", "timeout"]
    ledger.clear()
    assert repr(ledger) == "CallLog(0 calls, 0 attempts)"


def test_a_provider_for_a_blocking_test(simulated_provider: Callable[..., SimulatedProvider]) -> None:
    """It answers on a socket while the test blocks."""
    provider = simulated_provider(answer("hello"))
    transport = HTTPTransport(base_url=provider.base_url, api_key="sk-any")

    with build_stack([], transport).blocking() as stack:
        response = stack(ASK)

    assert response.text == "hello"
    assert provider.requests[0].json["model"] == "small"


def test_a_call_that_is_left_running_fails_the_test(pytester: pytest.Pytester) -> None:
    """What hangs in a fake is told at the end."""
    pytester.makepyfile(
        """
        def test_it(fake_transport):
            fake_transport([[60.0, "late"]]).in_flight = 1  # as if one still ran
        """
    )

    output = passes(run(pytester), passed=1, errors=1)

    assert "1 calls of a fake transport were still in flight" in output


# -- the fuse

CALLS = """
    import socket
    import pytest

    def reach(where=("api.example.com", 443)):
        socket.create_connection(where, timeout=1).close()
"""


def test_the_fuse_refuses_a_network_for_one_test(pytester: pytest.Pytester) -> None:
    """The test that asks for it; the error names host and port and what to do."""
    pytester.makepyfile(CALLS + "\n    def test_it(no_network):\n        reach()\n")

    output = passes(run(pytester), failed=1)

    assert "this test would reach api.example.com:443; give its stack a FakeTransport" in output


def test_the_option_refuses_it_for_all_and_a_mark_allows_it(pytester: pytest.Pytester) -> None:
    """Loopback and Unix sockets are no network."""
    pytester.makeini("[pytest]\nllamina_network = refuse\naddopts = --strict-markers")
    pytester.makepyfile(
        CALLS
        + """
    def test_fails():
        reach()

    @pytest.mark.llamina_network("allow")
    def test_is_allowed(monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        with pytest.raises(OSError, match="empty list"):
            reach()

    def test_this_machine():
        with socket.create_server(("127.0.0.1", 0)) as server:
            reach(("localhost", server.getsockname()[1]))
        with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError):
            one.connect("/nowhere")

    def test_an_address():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", ("192.0.2.1", 53))
    """
    )

    output = passes(run(pytester), failed=2, passed=2)

    assert "would reach 192.0.2.1:53" in output


def test_a_test_that_swallows_the_error_fails_all_the_same(pytester: pytest.Pytester) -> None:
    """An app may take the refusal for a bad day of the provider."""
    pytester.makepyfile(
        CALLS
        + """
    @pytest.mark.llamina_network("refuse")
    def test_it():
        try:
            reach()
        except BaseException:
            pass
    """
    )

    output = passes(run(pytester), failed=1)

    assert "NetworkRefusedError: this test would reach api.example.com:443" in output
    assert "hook_impl" not in output


def test_a_fixture_that_reaches_a_network_when_it_is_taken_down_is_told(pytester: pytest.Pytester) -> None:
    """Also if it swallows the error."""
    pytester.makepyfile(
        CALLS
        + """
    @pytest.fixture
    def app():
        yield
        try:
            reach()
        except BaseException:
            pass

    def test_it(no_network, app):
        pass
    """
    )

    output = passes(run(pytester), passed=1, errors=1)

    assert "would reach api.example.com:443" in output


def test_the_loop_and_its_threads_are_behind_the_fuse(pytester: pytest.Pytester) -> None:
    """Asyncio looks names up in a thread, and connects by itself."""
    pytester.makepyfile(
        """
        import asyncio

        def test_a_name(no_network):
            asyncio.run(asyncio.open_connection("api.example.com", 443))

        def test_an_address(no_network):
            asyncio.run(asyncio.open_connection("192.0.2.1", 443))
        """
    )

    output = passes(run(pytester), failed=2)

    assert "api.example.com:443" in output
    assert "192.0.2.1:443" in output


def test_a_transport_behind_the_fuse_names_the_host(pytester: pytest.Pytester) -> None:
    """And no retry hides it; the key does not show."""
    pytester.makepyfile(
        """
        import asyncio
        from llamina import Request, Retry, build_stack
        from llamina.transports import HTTPTransport

        def test_it(no_network):
            stack = build_stack([Retry()], HTTPTransport(base_url="https://api.example.com/v1", api_key="sk-canary"))
            asyncio.run(stack(Request.chat("m", "hi")))
        """
    )

    output = passes(run(pytester, "--tb=line"), failed=1)

    assert "would reach api.example.com:443" in output
    assert "sk-canary" not in output


@pytest.mark.parametrize(
    ("ini", "test", "complaint"),
    [
        ("llamina_network = off", "def test_it(): pass", "llamina_network must be 'allow' or 'refuse', got 'off'"),
        (
            "",
            "import pytest\n@pytest.mark.llamina_network('never')\ndef test_it(): pass",
            "takes 'allow' or 'refuse', got 'never'",
        ),
    ],
)
def test_a_wrong_setting_of_the_fuse_is_refused(pytester: pytest.Pytester, ini: str, test: str, complaint: str) -> None:
    """A fuse that is not there must not look as if it were."""
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(test)

    outcome = run(pytester)

    assert outcome.ret != 0
    assert complaint in outcome.stdout.str() + outcome.stderr.str()


def test_who_asks_for_nothing_gets_nothing(pytester: pytest.Pytester) -> None:
    """Installed, the plugin patches nothing."""
    pytester.makepyfile(
        """
        import socket

        def test_it(request):
            assert "no_network" not in request.fixturenames
            assert "connect" not in vars(socket.socket)
            assert socket.getaddrinfo.__module__ == "socket"
        """
    )

    passes(run(pytester), passed=1)


def test_the_plugin_loads_nothing_heavy() -> None:
    """It is loaded in every pytest session, of projects that have nothing to do with it too."""
    code = "import pytest, sys; before = set(sys.modules); import llamina.testing.plugin; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    packages = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)

    assert packages <= {"llamina", "msgspec", "typing_extensions"}  # what `import llamina` itself needs
    assert sorted([name for name in loaded if name.startswith("llamina.testing")]) == [
        "llamina.testing",
        "llamina.testing.plugin",
    ]


OTHER_PLUGIN = """
import functools
import inspect
import pytest

class WithItsLoop(pytest.Function):
    def runtest(self):
        @functools.wraps(self.obj)
        def run(**arguments):
            pytest.fail("in the loop of another plugin")

        self.obj = run
        super().runtest()

def pytest_pycollect_makeitem(collector, name, obj):
    if name.startswith("test_wrapped"):
        return WithItsLoop.from_parent(collector, name=name)

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pytest.fail("in the loop of another plugin")
"""


def test_no_other_async_plugin_takes_a_test_of_the_clock(pytester: pytest.Pytester) -> None:
    """Neither one that is asked first, nor one that puts a function of its own round the test, as pytest-asyncio does."""
    pytester.makepyfile(pytest_asyncio_stand_in=OTHER_PLUGIN)
    pytester.makeconftest("from pytest_asyncio_stand_in import *")
    pytester.makepyfile(
        """
        import asyncio

        async def test_plain(simulated_clock):
            await asyncio.sleep(1000)

        async def test_wrapped(simulated_clock):
            await asyncio.sleep(1000)
        """
    )

    passes(run(pytester), passed=2)
