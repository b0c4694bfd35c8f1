"""Whose client it is, which loop it belongs to, and what is left of it when a call ends early."""

from __future__ import annotations

import asyncio
import gc
import threading

import httpx
import pytest
from raw_server import STREAM, WAIT, RawServer, answer, complete, delta, failure, plain, sent, streamed

from llamina import NetworkError, RateLimitError, Request, build_stack
from llamina.sink import Sink, Writer
from llamina.testing import simulated_time
from llamina.transports import HTTPTransport

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")


def given(family: str, **settings):
    """A client of the user's."""
    if family == "aiohttp":
        return aiohttp.ClientSession(**settings)
    return {"httpx": httpx, "httpx2": httpx2}[family].AsyncClient(**settings)


async def close(client) -> None:
    """What the user does with it."""
    await (client.aclose() if hasattr(client, "aclose") else client.close())


FAMILIES = pytest.mark.parametrize("family", ["httpx", "httpx2", "aiohttp"])


@FAMILIES
def test_a_given_client_is_used_and_stays_open(family: str) -> None:
    """Its headers go along, ours go before them, and closing the stack does not close it."""

    async def main() -> None:
        client = given(family, headers={"x-mine": "yes", "authorization": "Bearer theirs"})
        async with (
            RawServer(answer("whole"), streamed("in ", "pieces")) as server,
            build_stack([], HTTPTransport(server.base_url, "sk-ours", client=client)) as stack,
        ):
            texts = [(await stack(Request.chat("sim", "hi"))).text, (await complete(stack)).text]
            is_closed = client.closed if family == "aiohttp" else client.is_closed
            await close(client)

        assert texts == ["whole", "in pieces"]
        assert not is_closed
        assert [(s.headers["x-mine"], s.headers["authorization"]) for s in server.requests] == [
            ("yes", "Bearer sk-ours")
        ] * 2

    asyncio.run(main())


@pytest.mark.parametrize("family", ["httpx", "httpx2"])
def test_a_client_of_a_class_of_its_own_is_recognised(family: str) -> None:
    """The family is found from the bases of the class, so that instrumented clients work."""

    async def main() -> None:
        module = {"httpx": httpx, "httpx2": httpx2}[family]

        class Instrumented(module.AsyncClient):
            pass

        async with (
            Instrumented(follow_redirects=True) as client,
            RawServer(plain(b"", "location: /x", status="302 F")) as server,
            build_stack([], HTTPTransport(server.base_url, client=client)) as stack,
        ):
            error = await failure(stack)

        assert error.status == 302
        assert len(server.requests) == 1

    asyncio.run(main())


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_a_status_raised_by_a_hook_is_the_same_refusal(module) -> None:
    """A client whose hooks raise for a status gives the error that the status means."""

    async def raise_for_status(response) -> None:
        await response.aread()
        response.raise_for_status()

    async def main() -> None:
        async with (
            module.AsyncClient(event_hooks={"response": [raise_for_status]}) as client,
            RawServer(plain(b"{}", "retry-after: 2", status="429 Slow"), answer("read")) as server,
            build_stack([], HTTPTransport(server.base_url, "sk-canary-0123", client=client)) as stack,
        ):
            error = await failure(stack)
            response = await stack(Request.chat("sim", "hi"))

        assert type(error) is RateLimitError
        assert (error.status, error.retry_after, error.provider) == (429, 2.0, "127.0.0.1")
        assert response.text == "read"

    asyncio.run(main())


@pytest.mark.parametrize("module", [httpx, httpx2])
@simulated_time
async def test_a_client_without_a_network_works_in_simulated_time(module) -> None:
    """A transport of the client's kind that answers by itself is all that a test needs."""

    async def handle(request):
        await asyncio.sleep(5)
        return module.Response(200, content=answer("simulated").partition(b"\r\n\r\n")[2])

    async with module.AsyncClient(transport=module.MockTransport(handle)) as client:
        response = await HTTPTransport("http://host/v1", client=client)(Request.chat("sim", "hi"))

    assert response.text == "simulated"


def test_an_own_client_is_built_late_and_closed_once(transport_to) -> None:
    """Building a transport needs no loop; leaving the stack closes every connection; the next call builds anew."""

    async def main() -> None:
        async with RawServer(answer("hi")) as server:
            transport = transport_to(server)
            async with build_stack([], transport) as stack:
                assert transport._engines == {}
                await stack(Request.chat("sim", "hi"))
                assert server.open == 1
            await server.until(lambda: server.open == 0)
            await transport.aclose()

            assert (await transport(Request.chat("sim", "hi"))).text == "hi"
            await transport.aclose()

    asyncio.run(main())


def test_each_loop_has_a_client_of_its_own(transport_to) -> None:
    """A transport outlives a loop; the client of a loop that has ended is dropped."""

    async def call(transport) -> str:
        async with RawServer(answer("hi")) as server:
            peer = transport._peers["chat"]
            transport._peers["chat"] = peer._replace(url=f"{server.base_url}/chat/completions")
            try:
                return (await transport(Request.chat("sim", "hi"))).text
            finally:
                await transport.aclose()

    transport = transport_to("http://127.0.0.1:1/v1")

    assert [asyncio.run(call(transport)) for _ in range(2)] == ["hi", "hi"]


def test_closing_reaches_the_loop_of_another_thread(transport_to) -> None:
    """A connection is closed by the loop that opened it, wherever `aclose` is called."""
    ready, leave = threading.Event(), threading.Event()
    shared: list = []

    async def elsewhere() -> None:
        async with RawServer(answer("hi")) as server:
            transport = transport_to(server)
            await transport(Request.chat("sim", "hi"))
            shared.append(transport)
            ready.set()
            await server.until(lambda: server.open == 0)
            await asyncio.get_running_loop().run_in_executor(None, leave.wait)

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    ready.wait(10)
    asyncio.run(shared[0].aclose())
    leave.set()
    thread.join(10)

    assert not thread.is_alive()
    assert shared[0]._engines == {}


def test_a_cancelled_call_lets_go_of_its_connection(transport_to) -> None:
    """Cancellation propagates as it is, and the socket is closed at once, not when the garbage is collected."""

    async def main() -> None:
        gc.disable()
        async with RawServer([WAIT]) as server, build_stack([], transport_to(server)) as stack:
            task = asyncio.ensure_future(stack(Request.chat("sim", "hi")))
            await server.until(lambda: server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda: server.open == 0)

        assert task.cancelled()

    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_leaving_a_stream_early_lets_go_of_its_connection(transport_to) -> None:
    """Who has read enough costs the provider no more."""

    async def main() -> None:
        async with RawServer([STREAM, delta("Hel"), WAIT]) as server, build_stack([], transport_to(server)) as stack:
            async with stack.stream(Request.chat("sim", "hi")) as stream:
                async for event in stream:
                    assert event.text == "Hel"
                    break
            await server.until(lambda: server.open == 0)
            (attempt,) = stream.call.attempts

            assert (attempt.outcome, attempt.usage_source) == ("cancelled", "estimated")

    asyncio.run(main())


def test_what_a_stream_said_of_tokens_survives_its_end(transport_to) -> None:
    """Who leaves early is charged the input that the provider counted, not one that is guessed."""

    async def main() -> None:
        counted = sent({"id": "1", "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 0}})
        async with (
            RawServer([STREAM, counted, delta("Hel"), WAIT]) as server,
            build_stack([], transport_to(server)) as stack,
        ):
            async with stack.stream(Request.chat("sim", "hi")) as stream:
                await anext(aiter(stream))
            (attempt,) = stream.call.attempts

        assert (attempt.usage.input_tokens, attempt.usage_source) == (1000, "estimated")

    asyncio.run(main())


def test_cancelled_calls_leave_no_place_taken(transport_to) -> None:
    """Of many calls cut at odd moments none keeps a connection, and the next one is served."""

    async def main() -> None:
        script = [*[[STREAM, delta("x"), WAIT]] * 40, answer("still here")]
        async with RawServer(*script) as server:
            transport = transport_to(server, max_connections=40)
            async with build_stack([], transport) as stack:
                for turns in range(40):
                    task = asyncio.ensure_future(complete(stack))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                server._answers = (answer("still here"),)

                assert (await stack(Request.chat("sim", "hi"))).text == "still here"
                engine = next(iter(transport._engines.values()))
                assert not hasattr(engine, "_pools") or engine._pools.in_flight == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ConnectionResetError("of another socket"), TimeoutError("theirs")]
)
def test_what_a_consumer_raises_goes_through_as_it_is(transport_to, error: Exception) -> None:
    """An error of a writer above is not one of the network, whatever its class."""

    class Broken(Sink):
        def begin(self) -> Writer:
            writer = Writer()
            writer.__class__ = BrokenWriter
            return writer

    class BrokenWriter(Writer):
        __slots__ = ()

        async def send(self, event) -> None:
            raise error

    async def main() -> None:
        async with RawServer(streamed("Hel", "lo")) as server:
            transport = transport_to(server)
            with pytest.raises(type(error)) as caught:
                await transport(Request("sim", Request.chat("sim", "hi").messages, sink=Broken()))
            await transport.aclose()

        assert caught.value is error

    asyncio.run(main())


def test_a_proxy_of_the_environment_is_used(transport_to, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is obeyed, and NO_PROXY too."""

    async def main() -> None:
        async with RawServer(answer("through")) as proxy, RawServer(answer("direct")) as server:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            for excluded, text in (("", "through"), ("127.0.0.1", "direct")):
                monkeypatch.setenv("no_proxy", excluded)
                async with build_stack([], transport_to(server)) as stack:
                    assert (await stack(Request.chat("sim", "hi"))).text == text

        assert proxy.requests[0].target == f"{server.base_url}/chat/completions"

    asyncio.run(main())


def test_a_socks_proxy_is_refused_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """On aiohttp the error names the engines that can."""

    async def main() -> None:
        monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
        with pytest.raises(ValueError, match="engine='httpx2'"):
            await HTTPTransport("http://host/v1", engine="aiohttp")(Request.chat("sim", "hi"))

    asyncio.run(main())


def test_calls_fail_clearly_when_the_client_is_closed_under_them(transport_to) -> None:
    """A stack that is closed with a call in flight ends it with an error of ours, not with the client's."""

    async def main() -> None:
        async with RawServer([STREAM, delta("x"), WAIT]) as server:
            stack = build_stack([], transport_to(server))
            task = asyncio.ensure_future(complete(stack))
            await server.until(lambda: server.requests)
            await asyncio.sleep(0.01)
            await stack.aclose()

            with pytest.raises(NetworkError):
                await task

    asyncio.run(main())
