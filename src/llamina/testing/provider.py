"""`SimulatedProvider`: a real HTTP server on a loopback socket that plays a script of answers and faults, and bills.

    script = [status(503), "first answer", ["Hel", 0.05, "lo"], ["par", cut()]]
    async with SimulatedProvider(script) as provider:
        transport = HTTPTransport(base_url=provider.base_url, api_key="sk-anything")
        ...
        provider.requests[-1].json, provider.billed, provider.aborted, provider.max_in_flight

Items are those of `FakeTransport` (a text, `answer(...)`, `tool_call(...)`, a function of the request, a timeline of
pieces and pauses) and the faults of `llamina.testing.provider_script`. Whether the client asked for a stream decides the
form: a timeline that is not asked for as a stream waits out its pauses and comes whole.

It bills as providers do: the input of every request that it began to process, cut and abandoned ones too, and the output
that it sent; nothing for a refusal. So a test can compare the ledger with the bill.

The one surprise: a request beyond the end of the script gets a 500 that asks not to be repeated and says so; the test
goes on. Look at `provider.exhausted`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec
from attrs import define, evolve, field

from llamina.errors import InvalidRequestError, LLMError
from llamina.messages import Usage
from llamina.policy.money import to_decimal
from llamina.policy.prices import price_book

from ._http import Connection, HTTPRequest, Reply
from ._performance import JSON, Performance, request_id
from ._provider_wire import ServerWire, find_wire, wire_at
from .provider_script import Manner, check_timeline, in_manner

__all__ = ["ReceivedRequest", "SimulatedProvider"]


@define(eq=False, repr=False)
class ReceivedRequest:
    """A request as it came: `json` is its decoded body (None where it is no JSON), header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    started: float
    """Moment on the provider's loop at which it had come in whole."""
    _json: Any = field(default=msgspec.UNSET, init=False)

    @property
    def json(self) -> Any:
        """The decoded body, None where it is no JSON."""
        if self._json is msgspec.UNSET:
            try:
                self._json = msgspec.json.decode(self.body)
            except msgspec.DecodeError:
                self._json = None
        return self._json

    def __repr__(self) -> str:
        # Headers hold a key, the body a prompt.
        return f"ReceivedRequest({self.method} {self.path}, {len(self.body)} bytes)"


class SimulatedProvider:
    """A provider on `127.0.0.1` and a free port, which plays *script*.

    Args:
        script: a list of items, played once; or one item that is no list, played for ever.
        wire: which wire its `base_url` is for: "chat" (OpenAI's chat completions), "responses", "embeddings" or
            "anthropic" (Messages). It answers at the paths of all of them.
        repeat: play the list again and again.

    Attributes:
        requests: every request that came, in order.
        in_flight, max_in_flight: requests at this moment, and at most so far.
        aborted: requests whose client left before the answer was complete.
        exhausted: requests that came after the end of the script.

    Raises:
        ConfigurationError: an item cannot be played, or there is no such wire.
    """

    def __init__(self, script: Any = "hello", *, wire: str = "chat", repeat: bool = False) -> None:
        self._wire = find_wire(wire)
        alone = not isinstance(script, list | tuple)
        self._script: list[Any] = [script] if alone else list(script)
        for place, item in enumerate(self._script):
            check_timeline(item, where="SimulatedProvider.script" + ("" if alone else f"[{place}]"))
        self._repeat = repeat or alone
        self._played = 0
        self.requests: list[ReceivedRequest] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.aborted = 0
        self.exhausted = 0
        self._bills: list[tuple[str, Usage]] = []
        self._playing: set[Performance] = set()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._idle: asyncio.Event | None = None
        self._failure: Exception | None = None

    # What it saw and what it charges.

    @property
    def base_url(self) -> str:
        """The address for a client, like `http://127.0.0.1:40321/v1`; for "anthropic" it has no path.

        Raises:
            LookupError: it is not running.
        """
        if not self._port:
            raise LookupError("the provider is not running; enter it first: `async with SimulatedProvider(...)`")
        return f"http://127.0.0.1:{self._port}{self._wire.base}"

    @property
    def bills(self) -> list[tuple[str, Usage]]:
        """(model, tokens) of everything that is charged by now, in the order in which it ended."""
        return self._charges()

    @property
    def billed(self) -> Usage:
        """The tokens that are charged by now, requests in flight included with what they have cost so far."""
        return sum([usage for _, usage in self._charges()], Usage())

    def billed_cost(self, prices: Any) -> Decimal:
        """USD for what is billed, by *prices* as `CostMeter` takes them.

        Raises:
            LookupError: a model has no price.
        """
        book = price_book(prices)
        units = 0
        for model, usage in self._charges():
            price = book.price(model, None)
            if price is None:
                raise LookupError(f"the model {model!r} was billed and has no price")
            units += price.cost(usage)
        return to_decimal(units)

    def _charges(self) -> list[tuple[str, Usage]]:
        return [*self._bills, *[(each.model, each.usage) for each in self._playing if each.usage is not None]]

    # Running it.

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("this provider is running already")
        self._idle = asyncio.Event()
        self._idle.set()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._handle, self._connections), "127.0.0.1", 0, backlog=1024
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        server, self._server, self._port = self._server, None, 0
        assert server is not None
        server.close()
        while self._connections:
            await asyncio.gather(*[connection.aclose() for connection in list(self._connections)])
        await server.wait_closed()
        if error is None and self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[str]:
        """Run it on a thread with a loop of its own, for code that blocks; gives the base URL."""
        ready: threading.Event = threading.Event()
        state: dict[str, Any] = {}

        async def run() -> None:
            stop = asyncio.Event()
            async with self:
                state.update(loop=asyncio.get_running_loop(), stop=stop, url=self.base_url)
                ready.set()
                await stop.wait()

        def work() -> None:
            try:
                asyncio.run(run())
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                state["error"] = error
            finally:
                ready.set()

        thread = threading.Thread(target=work, name="llamina simulated provider", daemon=True)
        thread.start()
        ready.wait()
        try:
            if "url" in state:
                yield state["url"]
        finally:
            if "url" in state and thread.is_alive():
                state["loop"].call_soon_threadsafe(state["stop"].set)
            thread.join()
        if "error" in state:
            raise state["error"]

    async def settled(self) -> None:
        """Wait until no request is in flight, so that the bill is complete."""
        if self._idle is not None:
            await self._idle.wait()

    # Answering.

    async def _handle(self, incoming: HTTPRequest, reply: Reply) -> None:
        received = ReceivedRequest(
            incoming.method, incoming.path, incoming.headers, incoming.body, asyncio.get_running_loop().time()
        )
        self.requests.append(received)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        number = len(self.requests)
        assert self._idle is not None
        self._idle.clear()
        try:
            await self._answer(received, reply, number)
        except asyncio.CancelledError:
            self.aborted += reply.left
            raise
        except ConnectionError:
            self.aborted += 1
        except Exception as error:  # noqa: BLE001 - raised when the provider is left: a test must see it
            self._failure = self._failure or error
            reply.cut()
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def _answer(self, received: ReceivedRequest, reply: Reply, number: int) -> None:
        wire = wire_at(received.path) if received.method == "POST" else None
        if wire is None:
            body = self._wire.refusal(404, code="", message=f"no such path: {received.path}")
            await reply.whole(404, {**JSON, **request_id(self._wire, number)}, msgspec.json.encode(body))
            return
        name = request_id(wire, number)
        try:
            request = wire.read(received.json)
        except InvalidRequestError as error:
            await self._refuse(wire, error, reply, name)
            return
        place = self._played
        self._played += 1
        if not self._script or (place >= len(self._script) and not self._repeat):
            self.exhausted += 1
            text = f"script exhausted: this is request {place + 1}, the script has {len(self._script)} items"
            await self._refuse(wire, LLMError(text, should_retry=False), reply, name)
            return
        manner = in_manner(self._script[place % len(self._script)])
        while inspect.isroutine(manner.item) or inspect.isawaitable(manner.item):
            found: Any = manner.item
            try:
                found = await found if inspect.isawaitable(found) else found(request)
            except LLMError as error:
                found = error
            check_timeline(found, where=f"what the function at SimulatedProvider.script[{place}] gave")
            manner = found if isinstance(found, Manner) else evolve(manner, item=found)
        performance = Performance(wire, request, received.json, reply, manner, number)
        self._playing.add(performance)
        try:
            await performance.play()
        finally:
            self._playing.discard(performance)
            if performance.usage is not None:
                self._bills.append((performance.model, performance.usage))

    @staticmethod
    async def _refuse(wire: ServerWire, error: LLMError, reply: Reply, name: Mapping[str, str]) -> None:
        status, headers, body = wire.error(error)
        await reply.whole(status, {**JSON, **headers, **name}, msgspec.json.encode(body))

    def __repr__(self) -> str:
        where = f"port {self._port}" if self._port else "not running"
        return f"SimulatedProvider({where}, {len(self._script)} items, {len(self.requests)} requests)"
