"""One suite for every transport: who takes part in it, and a conversation with a provider that is checked at its end.

    @each_transport
    def test_something(kind) -> None:
        async def main() -> None:
            async with talking(kind, ["hello"]) as talk:
                response = await talk.whole()
            ...
        asyncio.run(main())

Whatever a test is about, at its end every HTTP request that the provider saw is in the ledger, and what the ledger calls
exact is on the bill.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, frozen

from llamina import (
    Call,
    Event,
    Handler,
    LLMError,
    Message,
    Request,
    Response,
    Stack,
    Usage,
    build_stack,
    middleware,
)
from llamina.call import Attempt
from llamina.testing import SimulatedProvider
from llamina.testing._bench import CancelAt

KEY = "sk-canary-0123456789"
PROMPT = "canary-prompt: why is the sky blue?"
LIMITS = {
    "chat": {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "90"},
    "responses": {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "90"},
    "anthropic": {"anthropic-ratelimit-tokens-limit": "1000", "anthropic-ratelimit-tokens-remaining": "90"},
}
ASK = Request.chat("sim", PROMPT, max_tokens=100)


@frozen
class Kind:
    """A transport, the wire that it speaks, and the client underneath."""

    transport: str
    wire: str
    engine: str = ""

    def build(self, base_url: str, **settings: Any) -> Any:
        """The transport to a server."""
        from llamina import transports

        if self.transport == "http":
            return transports.HTTPTransport(base_url, KEY, engine=self.engine, wire=self.wire, **settings)
        if "client" not in settings:
            settings |= {"api_key": KEY, "base_url": base_url}
        if self.transport == "anthropic":
            return transports.AnthropicTransport(**settings)
        return transports.OpenAITransport(api=self.wire, **settings)

    def client(self, base_url: str) -> Any:
        """A client of the SDK as a user sets one up: with retries, and with few connections."""
        import httpx2

        http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1), trust_env=False)
        settings: dict[str, Any] = {"api_key": KEY, "base_url": base_url, "http_client": http, "max_retries": 5}
        if self.transport == "anthropic":
            import anthropic

            return anthropic.AsyncAnthropic(**settings)
        import openai

        return openai.AsyncOpenAI(**settings)

    def __str__(self) -> str:
        return "-".join([part for part in (self.transport, self.engine, self.wire) if part])


KINDS = [
    Kind("http", "chat", "httpx"),
    *[Kind("http", wire, engine) for wire in ("chat", "responses", "anthropic") for engine in ("httpx2", "aiohttp")],
    Kind("openai", "chat"),
    Kind("openai", "responses"),
    Kind("anthropic", "anthropic"),
]

SDKS = [kind for kind in KINDS if kind.transport != "http"]

each_transport = pytest.mark.parametrize("kind", KINDS, ids=str)
each_sdk = pytest.mark.parametrize("kind", SDKS, ids=str)
each_form = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@define(eq=False)
class Talk:
    """A stack on one transport, and the provider that it speaks to."""

    kind: Kind
    provider: SimulatedProvider
    stack: Stack
    calls: dict[int, Call]

    async def whole(self, request: Request = ASK) -> Response:
        """One call that is not streamed."""
        return await self.stack(request)

    async def streamed(self, request: Request = ASK) -> Response:
        """One call that is."""
        return (await self.events(request))[1]

    async def events(self, request: Request = ASK) -> tuple[list[Event], Response]:
        """The events of a stream, and its answer."""
        async with self.stack.stream(request) as stream:
            events = [event async for event in stream]
            return events, stream.response

    async def ask(self, streams: bool, request: Request = ASK) -> Response:
        """One call in either form."""
        return await (self.streamed(request) if streams else self.whole(request))

    async def failure(self, streams: bool, request: Request = ASK) -> LLMError:
        """The error that a call ends with."""
        try:
            response = await self.ask(streams, request)
        except LLMError as error:
            return error
        raise AssertionError(f"the call did not fail; it gave {response!r}")

    @property
    def attempts(self) -> list[Attempt]:
        """What the ledgers hold."""
        return [attempt for call in self.calls.values() for attempt in call.attempts]

    @property
    def body(self) -> Any:
        """What the last request sent."""
        return self.provider.requests[-1].json

    def forget_what_never_arrived(self) -> None:
        """Take out of the ledger the cancelled attempts that ended before their request had left."""
        missing = len(self.attempts) - len(self.provider.requests)
        cancelled = [call for call in self.calls.values() if [each.outcome for each in call.attempts] == ["cancelled"]]

        assert 0 <= missing <= len(cancelled)
        for call in cancelled[:missing]:
            call.attempts.clear()

    def check_the_books(self) -> None:
        """Each request of the provider is one attempt, and exact counts are on its bill."""
        attempts = self.attempts
        exact = [attempt.usage for attempt in attempts if attempt.usage_source == "exact"]
        charged = Counter([usage for usage in exact if usage.total_tokens])

        assert len(attempts) == len(self.provider.requests)
        assert all([attempt.settled for attempt in attempts])
        bills = Counter([usage for _, usage in self.provider.bills])
        assert charged <= bills, f"{charged} of the ledger is not on the bill, {bills}"
        if len(exact) == len(attempts):
            assert sum(exact, Usage()) == self.provider.billed


@contextlib.asynccontextmanager
async def talking(
    kind: Kind, script: Any, *layers: Any, repeat: bool = False, given: bool = False, **settings: Any
) -> AsyncIterator[Talk]:
    """A provider that plays *script*, and a stack of *layers* that speaks to it; its books are checked at the end.

    *settings* are those of the transport; with *given* it gets a client of its SDK that was set up outside.
    """
    skip_without(kind)
    await warm_up(kind)
    async with SimulatedProvider(script, wire=kind.wire, repeat=repeat) as provider:
        calls: dict[int, Call] = {}

        @middleware
        async def witness(request: Request, call_next: Handler) -> Response:
            assert request.call is not None
            calls[id(request.call)] = request.call
            return await call_next(request)

        client = kind.client(provider.base_url) if given else None
        transport = kind.build(provider.base_url, **settings, **({"client": client} if given else {}))
        async with build_stack([witness, *layers], transport) as stack:
            talk = Talk(kind, provider, stack, calls)
            try:
                yield talk
            finally:
                if client is not None:
                    await client.close()
            async with asyncio.timeout(10):
                await provider.settled()
            talk.check_the_books()


def skip_without(kind: Kind) -> None:
    """Skip the test where the client of *kind* is not installed."""
    pytest.importorskip({"http": kind.engine}.get(kind.transport, kind.transport))


_warm: set[Kind] = set()


async def warm_up(kind: Kind) -> None:
    """Make a first call: an SDK is loaded by it, which takes seconds that no limit in a test may count."""
    if kind in _warm or kind.transport == "http":
        return
    _warm.add(kind)
    async with (
        SimulatedProvider(wire=kind.wire) as provider,
        build_stack([], kind.build(provider.base_url)) as stack,
    ):
        await stack(ASK)


@define
class Knife:
    """A layer that cancels the task in which the transport works, at the *step*-th point at which it waits."""

    step: int = 0
    struck: bool = False

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            call = CancelAt(call_next(request), self.step)
            try:
                return await call
            finally:
                self.struck = call.struck

        return handle


def shown(error: BaseException) -> str:
    """Everything that a log, a debugger or a pickle shows of an error and of what caused it."""
    texts = [repr(pickle.dumps(error))]
    texts += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    while error is not None:
        texts += [repr(error), str(error), repr(vars(error)), repr(error.args)]
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return "\n".join(texts)


def without_raw(message: Message) -> list[Any]:
    """The parts of a message without what one wire keeps of them."""
    import msgspec

    return [msgspec.structs.replace(part, raw=None) for part in message.parts]
