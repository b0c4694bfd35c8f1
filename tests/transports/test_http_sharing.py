"""HTTPTransport on every engine: what a cancellation, an echoing provider and a second process leave behind."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pickle
import signal
import traceback
from collections.abc import Awaitable, Callable

import pytest

from llamina import CircuitBreaker, LLMError, Request, RequestTimeoutError, Response, Timeout, build_stack
from llamina.testing import SimulatedProvider, slow_headers, stall
from llamina.transports import HTTPTransport

KEY = "plain-canary-value-77"
ASK = Request.chat("m", "hello")
ENGINES = [name for name in ("httpx", "httpx2", "aiohttp") if importlib.util.find_spec(name)]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not stand between a test and its loopback socket."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def _answering(raw: bytes, use: Callable[[str], Awaitable[None]]) -> None:
    """Call *use* with the address of a server that answers *raw* to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        await use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_cancelled_at_any_step_gives_its_connection_back(engine: str) -> None:
    """With one connection, the next call works at whatever await point the call before it was cancelled."""

    async def scenario() -> list[int]:
        lost = []
        async with SimulatedProvider("x") as provider:
            for turns in range(30):
                transport = HTTPTransport(provider.base_url, engine=engine, max_connections=1)
                async with build_stack([], transport) as stack:
                    task = asyncio.ensure_future(stack(ASK))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    try:
                        async with asyncio.timeout(0.5):
                            await stack(ASK)
                    except TimeoutError:
                        lost.append(turns)
        return lost

    lost = asyncio.run(scenario())

    assert lost == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_left_early_gives_its_only_connection_back(engine: str) -> None:
    """A consumer who leaves after the first event does not keep the connection from the next caller."""

    async def scenario() -> Response:
        async with SimulatedProvider([["a", stall()], "next"]) as provider:
            transport = HTTPTransport(provider.base_url, engine=engine, max_connections=1)
            async with build_stack([], transport) as stack, asyncio.timeout(5):
                async with stack.stream(ASK) as stream:
                    await anext(aiter(stream))
                return await stack(ASK)

    response = asyncio.run(scenario())

    assert response.text == "next"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_traceback_of_a_limit_shows_no_key(engine: str) -> None:
    """A call that Timeout cuts while headers are awaited carries no key in the frames of its error or its cause."""

    async def scenario() -> None:
        async with SimulatedProvider(slow_headers(9)) as provider:
            transport = HTTPTransport(provider.base_url, KEY, engine=engine)
            async with build_stack([Timeout(0.05)], transport) as stack:
                await stack(ASK)

    with pytest.raises(RequestTimeoutError) as caught:
        asyncio.run(scenario())

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert f"Bearer {KEY}" not in "".join(shown.format())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_id_that_echoes_the_key_is_masked(engine: str) -> None:
    """A provider or proxy that sends the key back as the request id puts it into no error, pickle or ledger."""
    errors: list[LLMError] = []
    body = b'{"error":{"message":"no"}}'

    async def use(url: str) -> None:
        async with build_stack([], HTTPTransport(url, KEY, engine=engine)) as stack:
            with pytest.raises(LLMError) as caught:
                await stack(ASK)
            errors.append(caught.value)

    raw = b"HTTP/1.1 400 no\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
    asyncio.run(_answering(raw, use))

    (error,) = errors
    assert error.call is not None
    assert KEY not in str(error) + repr(error.call.attempts)
    assert KEY.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_pool_is_no_failure_of_the_service(engine: str) -> None:
    """A call that found no free connection in time is neutral for a circuit breaker."""

    async def scenario() -> dict[str, int]:
        async with SimulatedProvider(stall()) as provider:
            transport = HTTPTransport(provider.base_url, engine=engine, max_connections=1)
            async with build_stack([CircuitBreaker()], transport) as stack:
                first = asyncio.ensure_future(stack(ASK))
                while not provider.in_flight:  # noqa: ASYNC110 - nobody tells when a request arrives
                    await asyncio.sleep(0)
                with pytest.raises(RequestTimeoutError):
                    await stack(ASK.evolve(deadline=asyncio.get_running_loop().time() + 0.1))
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                return stack.stats()

    stats = asyncio.run(scenario())

    assert stats["circuit.requests.failed"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_deadline_bounds_headers_that_drip(engine: str) -> None:
    """A request with a deadline and no Timeout above it is not held by a server that sends headers byte by byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                writer.write(b"x: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with build_stack([], HTTPTransport(url, engine=engine)) as stack:
                asked = asyncio.ensure_future(stack(ASK.evolve(deadline=asyncio.get_running_loop().time() + 0.2)))
                done, _ = await asyncio.wait([asked], timeout=1)
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
                assert done

    asyncio.run(scenario())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_close_the_transport() -> None:
    """`aclose` in a child process returns although the parent's loop was running when it forked."""

    async def scenario() -> int:
        async with SimulatedProvider("x") as provider:
            stack = build_stack([], HTTPTransport(provider.base_url, engine="httpx"))
            await stack(ASK)
            child = os.fork()
            if not child:
                signal.alarm(2)
                asyncio.run(stack.aclose())
                os._exit(0)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            await stack.aclose()
            return status

    assert asyncio.run(scenario()) == 0


def test_closing_from_another_thread_does_not_wait_for_a_loop_that_is_held_up() -> None:
    """A notebook: the cell's thread closes, while its own loop, which opened connections, waits for it."""

    async def cell(url: str) -> str:
        transport = HTTPTransport(base_url=url)
        stack = build_stack([], transport)
        await stack(Request.chat("sim", "hi"))
        with stack.blocking() as face:
            text = face(Request.chat("sim", "hi")).text
        await asyncio.sleep(0)  # the loop goes on, and closes what it has opened
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        await asyncio.sleep(0)
        return text

    provider = SimulatedProvider("hello")
    with provider.in_thread() as url:
        assert asyncio.run(cell(url)) == "hello"
