"""What a door does besides answering: time, retries, tags, sync code, what it does not know."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from llamina import (
    Cache,
    CircuitBreaker,
    ConfigurationError,
    Dedup,
    LLMError,
    NetworkError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    TextDelta,
    build_stack,
    doors,
)
from llamina.testing import FakeTransport, SimulatedProvider, cut, stall, status
from llamina.transports import AnthropicTransport, HTTPTransport, OpenAITransport

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CLIENTS = {"httpx": doors.httpx_async_client, "httpx2": doors.httpx2_async_client}
SYNC_CLIENTS = {"httpx": doors.httpx_client, "httpx2": doors.httpx2_client}


def app(stack: Any, **settings: Any) -> openai.AsyncOpenAI:
    """An app's client of the OpenAI SDK in front of *stack*."""
    return openai.AsyncOpenAI(api_key="unused", http_client=doors.httpx2_async_client(stack), **settings)


def sync_app(stack: Any, **settings: Any) -> openai.OpenAI:
    """The same for sync code."""
    return openai.OpenAI(api_key="unused", http_client=doors.httpx2_client(stack), **settings)


def with_provider(script: list[Any], use: Callable[[SimulatedProvider, HTTPTransport], Any]) -> Any:
    """What *use* gives back, with a provider and a transport to it."""

    async def main() -> Any:
        async with SimulatedProvider(script) as provider:
            transport = HTTPTransport(base_url=provider.base_url, api_key="sk-real")
            try:
                return await use(provider, transport)
            finally:
                await transport.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("family", CLIENTS)
def test_a_client_of_either_family_asks_the_stack(family: str) -> None:
    """The two families share their signatures, not their classes."""

    async def main() -> Any:
        async with CLIENTS[family](FakeTransport("hello")) as client:
            answer = await client.post("http://any/v1/chat/completions", json=HI)
            return answer.json()["choices"][0]["message"]["content"]

    assert asyncio.run(main()) == "hello"


@pytest.mark.parametrize("family", SYNC_CLIENTS)
def test_a_sync_client_of_either_family_asks_the_stack(family: str) -> None:
    """Sync code runs the same stack."""
    with SYNC_CLIENTS[family](FakeTransport(["hello", ["Hel", "lo"]])) as client:
        answer = client.post("http://any/v1/chat/completions", json=HI)
        with client.stream("POST", "http://any/v1/chat/completions", json={**HI, "stream": True}) as stream:
            lines = list(stream.iter_lines())

    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert lines[-2:] == ["data: [DONE]", ""]


def test_the_settings_of_the_client_are_those_of_its_family() -> None:
    """Headers and the rest are passed on to the client."""
    client = doors.httpx2_client(FakeTransport("x"), headers={"x-app": "1"})

    assert isinstance(client, httpx2.Client)
    assert client.headers["x-app"] == "1"
    assert isinstance(doors.httpx_async_client(FakeTransport("x")), httpx.AsyncClient)


def test_the_stack_is_the_one_owner_of_retries() -> None:
    """What the stack has given up is not tried again by the SDK, whatever its own setting."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> int:
        client = app(build_stack([Retry(attempts=2)], transport), max_retries=5)
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**HI)
        return len(provider.requests)

    assert with_provider([status(503, retry_after=0.01), status(503), "never"], use) == 2


def test_a_lost_connection_is_not_tried_again_by_the_sdk() -> None:
    """The SDK repeats what raised in its client; the door answers the repetition itself."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> tuple[int, BaseException | None]:
        client = app(build_stack([], transport), max_retries=1)
        with pytest.raises(openai.APIConnectionError) as raised:
            await client.chat.completions.create(**HI)
        cause = raised.value.__cause__
        assert cause is not None
        return len(provider.requests), cause.__cause__

    requests, cause = with_provider([cut(), "never"], use)

    assert requests == 1
    assert isinstance(cause, LLMError)


def test_the_timeout_of_the_sdk_is_the_limit_of_the_call() -> None:
    """It bounds the whole answer, through all layers, and is raised as the SDK's own exception."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> BaseException | None:
        client = app(build_stack([Retry(attempts=9)], transport), max_retries=0, timeout=0.05)
        with pytest.raises(openai.APITimeoutError) as raised:
            await client.chat.completions.create(**HI)
        assert raised.value.__cause__ is not None
        return raised.value.__cause__.__cause__

    assert isinstance(with_provider([stall()], use), RequestTimeoutError)


def test_the_timeout_of_the_sdk_bounds_each_wait_of_a_stream() -> None:
    """A stream may be as long as it likes, as long as it goes on."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> list[str]:
        client = app(build_stack([], transport), max_retries=0, timeout=0.2)
        texts: list[str] = []
        with pytest.raises(openai.APIConnectionError):
            async for chunk in await client.chat.completions.create(**HI, stream=True):
                texts.append(chunk.choices[0].delta.content or "")
        return [text for text in texts if text]

    assert with_provider([["a", 0.1, "b", 0.1, "c", 0.1, "d", stall()]], use) == ["a", "b", "c", "d"]


def test_the_first_piece_passes_before_the_second_is_made() -> None:
    """Nothing is held back: the app has the first text while the provider waits for its word to go on."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> list[str]:
        texts: list[str] = []
        async for chunk in await app(build_stack([], transport)).chat.completions.create(**HI, stream=True):
            if chunk.choices[0].delta.content:
                texts.append(chunk.choices[0].delta.content)
                go_on.set()
        return texts

    go_on = asyncio.Event()

    assert with_provider([["first", go_on, "second"]], use) == ["first", "second"]


def test_leaving_a_stream_early_closes_the_request_to_the_provider() -> None:
    """Tokens that nobody reads are not paid for."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> tuple[int, int]:
        stream = await app(build_stack([], transport)).chat.completions.create(**HI, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await provider.settled()
        return provider.aborted, provider.in_flight

    assert with_provider([["first", asyncio.Event(), "never"]], use) == (1, 0)


def test_leaving_a_sync_stream_early_closes_the_request_to_the_provider() -> None:
    """The same for sync code: the thread waits until it is closed."""
    provider = SimulatedProvider([["first", 60, "never"]])
    with provider.in_thread() as url:
        stack = build_stack([], HTTPTransport(base_url=url)).blocking()
        with stack, sync_app(stack.stack).chat.completions.create(**HI, stream=True) as stream:
            next(chunk for chunk in stream if chunk.choices[0].delta.content)

    assert provider.aborted == 1


def test_a_sync_stream_that_breaks_off_raises_the_exception_of_the_sdk() -> None:
    """What came is delivered first."""
    provider = SimulatedProvider([["first", cut()]])
    texts = []
    with (
        provider.in_thread() as url,
        build_stack([], HTTPTransport(base_url=url)).blocking() as stack,
        pytest.raises(openai.APIConnectionError),
    ):
        for chunk in sync_app(stack.stack).chat.completions.create(**HI, stream=True):
            texts.append(chunk.choices[0].delta.content)

    assert "first" in texts


@pytest.mark.parametrize("sync", [False, True])
def test_errors_of_the_layers_become_exceptions_of_the_sdk(sync: bool) -> None:
    """An open circuit is a server that is not available, with the time after which it may be again."""
    transport = FakeTransport([ServerError("down"), "never"])
    stack = build_stack([CircuitBreaker(fail_max=1, reset_timeout=60)], transport)

    async def main() -> openai.InternalServerError:
        client = app(stack)
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**HI)
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(**HI)
        return raised.value

    def blocking() -> openai.InternalServerError:
        client = sync_app(stack)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**HI)
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(**HI)
        return raised.value

    error = blocking() if sync else asyncio.run(main())

    assert error.code == "circuit_open"
    assert int(error.response.headers["retry-after"]) > 0


def test_the_error_of_the_stack_is_in_the_extensions_of_the_answer() -> None:
    """Who knows the stack can have the error itself, with every attempt."""
    client = sync_app(FakeTransport([RateLimitError("slow down", retry_after=3)]))

    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(**HI)

    error = raised.value.response.extensions["llamina"]
    assert isinstance(error, RateLimitError)
    assert [attempt.outcome for attempt in error.call.attempts] == ["rate_limited"]


def test_an_answer_says_whether_a_cache_gave_it() -> None:
    """By a header, and by the Response in the extensions."""
    client = sync_app(build_stack([Cache()], FakeTransport(["hello"])))

    raw = [client.chat.completions.with_raw_response.create(**HI) for _ in range(2)]

    assert [answer.headers.get("x-llamina-cache") for answer in raw] == [None, "hit"]
    assert isinstance(raw[1].http_response.extensions["llamina"], Response)


def test_twenty_apps_that_ask_the_same_share_one_call() -> None:
    """Layers that work across calls work across clients of one stack."""

    async def use(provider: SimulatedProvider, transport: HTTPTransport) -> tuple[int, set[str | None]]:
        client = app(build_stack([Dedup()], transport))
        answers = await asyncio.gather(*[client.chat.completions.create(**HI) for _ in range(20)])
        return len(provider.requests), {answer.choices[0].message.content for answer in answers}

    assert with_provider([[0.1, "hello"]], use) == (1, {"hello"})


def seen_tags(**settings: Any) -> dict[str, str]:
    """The tags of the call that a request with these settings makes."""
    seen: dict[str, str] = {}

    async def terminal(request: Request) -> Response:
        assert request.call is not None
        seen.update(request.call.tags)
        return Response.of("x")

    sync_app(terminal).chat.completions.create(**HI, **settings)
    return seen


def test_tags_come_from_the_code_around_the_call_and_from_its_header() -> None:
    """The header is nearer; inner blocks add to outer ones."""
    with doors.tags(user="ada", project="a"), doors.tags(project="b"):
        seen = seen_tags(extra_headers={"x-llamina-tags": "user=grace%20h, team=x"})

    assert seen == {"user": "grace h", "project": "b", "team": "x"}
    assert seen_tags() == {}


def test_a_header_of_tags_that_cannot_be_read_is_refused() -> None:
    """The message says what it looks like."""
    with pytest.raises(openai.BadRequestError, match="user=ada, project=search"):
        seen_tags(extra_headers={"x-llamina-tags": "ada"})


def test_a_tag_is_text() -> None:
    """A number is found where it is given."""
    with pytest.raises(TypeError, match="user"), doors.tags(user=3):  # type: ignore[arg-type]
        pass


def test_headers_of_the_app_reach_the_provider() -> None:
    """A beta is asked for by a header; the key and the name of the SDK are not passed on."""
    provider = SimulatedProvider(["hello"], wire="anthropic")
    with provider.in_thread() as url:
        transport = HTTPTransport(base_url=url, api_key="sk-real", wire="anthropic")
        with build_stack([], transport).blocking() as stack:
            client = anthropic.Anthropic(api_key="sk-app", http_client=doors.httpx2_client(stack.stack))
            client.beta.messages.create(
                model="m", max_tokens=9, messages=HI["messages"], betas=["files-1"], extra_headers={"x-app": "1"}
            )

    (seen,) = provider.requests
    assert (seen.headers["anthropic-beta"], seen.headers["x-app"]) == ("files-1", "1")
    assert seen.headers["x-api-key"] == "sk-real"
    assert not [name for name in seen.headers if name.startswith("x-stainless")]
    assert "sk-app" not in str(seen.headers)


def test_a_stream_carries_the_call_in_its_extensions() -> None:
    """The record is complete when the stream has ended."""
    client = sync_app(FakeTransport([["Hel", "lo"]]))

    with client.chat.completions.with_streaming_response.create(**HI, stream=True) as answer:
        list(answer.iter_lines())

    call = answer.http_response.extensions["llamina"]
    assert [attempt.outcome for attempt in call.attempts] == ["ok"]
    assert answer.headers["x-llamina-call"] == call.id


@pytest.mark.parametrize("sync", [False, True])
def test_a_mistake_in_a_layer_is_not_asked_for_again(sync: bool) -> None:
    """Some versions of the SDKs repeat whatever their client raised; the stack runs once."""
    asked = []

    async def broken(request: Request) -> Response:
        asked.append(request)
        raise ZeroDivisionError("a bug")

    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
    again = {"x-stainless-retry-count": "1"}

    async def main() -> None:
        async with doors.httpx2_async_client(broken) as client:
            for headers in ({}, again):
                with pytest.raises(ZeroDivisionError):
                    await client.post("http://any/v1/chat/completions", content=body, headers=headers)

    def blocking() -> None:
        with doors.httpx2_client(broken) as client:
            for headers in ({}, again):
                with pytest.raises(ZeroDivisionError):
                    client.post("http://any/v1/chat/completions", content=body, headers=headers)

    blocking() if sync else asyncio.run(main())

    assert len(asked) == 1


def test_what_no_stack_handles_is_refused_in_the_shape_of_the_provider() -> None:
    """The SDK raises its own exception, and the message says what to do."""
    with pytest.raises(openai.NotFoundError, match="a client of the SDK that has no door"):
        sync_app(FakeTransport("x")).models.list()
    client = anthropic.Anthropic(api_key="unused", http_client=doors.httpx2_client(FakeTransport("x")))
    with pytest.raises(anthropic.NotFoundError, match="a client of the SDK that has no door"):
        client.models.list()


class Passed:
    """What a provider got that is no call of a model, and what it answered."""

    def __init__(
        self, status: int = 200, body: bytes = b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'
    ) -> None:
        self.seen: list[httpx2.Request] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))
        self._status, self._body = status, body

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """The provider's side."""
        self.seen.append(request)
        return httpx2.Response(self._status, content=self._body, headers={"content-type": "application/json"})


@pytest.mark.parametrize("sync", [False, True])
def test_what_is_no_call_of_a_model_passes_through_to_the_provider(sync: bool) -> None:
    """With the key of the transport and all that the app sent; the app's own key stays here."""
    provider = Passed()
    transport = HTTPTransport(base_url="https://provider.example/v1", api_key="sk-real", client=provider.client)
    client: Any = sync_app(build_stack([], transport)) if sync else app(build_stack([], transport))

    async def asked() -> list[str]:
        return [
            model.id async for model in client.models.list(extra_query={"limit": "3"}, extra_headers={"x-app": "1"})
        ]

    found = (
        [m.id for m in client.models.list(extra_query={"limit": "3"}, extra_headers={"x-app": "1"})]
        if sync
        else asyncio.run(asked())
    )

    (seen,) = provider.seen
    assert found == ["m"]
    assert (seen.method, str(seen.url)) == ("GET", "https://provider.example/v1/models?limit=3")
    assert (seen.headers["authorization"], seen.headers["x-app"]) == ("Bearer sk-real", "1")


def test_an_upload_passes_through_as_it_is() -> None:
    """The form and its border, byte for byte."""
    provider = Passed(body=b'{"id": "file-1", "object": "file"}')
    transport = HTTPTransport(base_url="https://provider.example/v1", api_key="sk-real", client=provider.client)

    made = sync_app(build_stack([], transport)).files.create(file=("a.txt", b"content"), purpose="assistants")

    assert made.id == "file-1"
    assert b"content" in provider.seen[0].content
    assert "multipart/form-data; boundary=" in provider.seen[0].headers["content-type"]


def test_a_refusal_of_what_passed_through_is_the_providers_own() -> None:
    """Its status and its body reach the SDK unchanged."""
    provider = Passed(404, b'{"error": {"message": "no such file", "type": "x", "code": "gone", "param": "id"}}')
    transport = HTTPTransport(base_url="https://provider.example/v1", client=provider.client)

    with pytest.raises(openai.NotFoundError, match="no such file") as raised:
        sync_app(build_stack([], transport)).files.retrieve("file-9")

    assert (raised.value.code, raised.value.param) == ("gone", "id")


def test_what_passes_through_and_finds_nobody_raises_the_exception_of_the_sdk() -> None:
    """As a lost connection does."""
    stack = build_stack([], HTTPTransport(base_url="http://127.0.0.1:9/v1"))

    with pytest.raises(openai.APIConnectionError):
        sync_app(stack, max_retries=0).models.list()


@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp", "openai", "anthropic"])
def test_every_transport_passes_on(engine: str) -> None:
    """An answer comes back from a path that the provider does not know, in its own words."""

    async def main() -> tuple[int, bytes, str]:
        wire = "anthropic" if engine == "anthropic" else "chat"
        async with SimulatedProvider([], wire=wire) as provider:
            settings = {"base_url": provider.base_url, "api_key": "sk-real"}
            kinds = {"openai": OpenAITransport, "anthropic": AnthropicTransport}
            transport = kinds[engine](**settings) if engine in kinds else HTTPTransport(**settings, engine=engine)
            answer = await transport.forward("GET", "/v1/models", "a=1", {"authorization": "Bearer app"}, b"")
            body = b""
            while piece := await answer.read():
                body += piece
            await answer.close()
            await transport.aclose()
            return answer.status, body, provider.requests[0].path

    status_, body, path = asyncio.run(main())

    assert (status_, path) == (404, "/v1/models?a=1")
    assert b"no such path" in body


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"model": "m"}', b'{"model": "m", "messages": "x"}'])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """As a provider would, with a 400."""
    client = doors.httpx2_client(FakeTransport("x"))

    answer = client.post("http://any/v1/chat/completions", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_app_of_one_provider_can_be_answered_by_another() -> None:
    """The door speaks the wire of the app, the transport that of its provider."""
    provider = SimulatedProvider(["hello", ["Hel", "lo"]], wire="anthropic")
    with provider.in_thread() as url:
        transport = HTTPTransport(base_url=url, api_key="sk", wire="anthropic")
        with build_stack([], transport).blocking() as stack:
            client = sync_app(stack.stack)
            answer = client.chat.completions.create(**HI, max_tokens=9)
            chunks = list(client.chat.completions.create(**HI, max_tokens=9, stream=True))

    assert (answer.object, answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        "chat.completion",
        "hello",
        "stop",
    )
    assert "".join([chunk.choices[0].delta.content or "" for chunk in chunks]) == "Hello"


def test_a_mistake_in_a_layer_is_raised_as_it_is() -> None:
    """A bug is no failure of the provider, and the SDK does not try it again."""

    async def broken(request: Request) -> Response:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        sync_app(broken).chat.completions.create(**HI)


def test_threads_share_the_loop_of_the_stack() -> None:
    """One call for many threads that ask the same at the same time."""
    provider = SimulatedProvider([[0.3, "hello"]])
    with provider.in_thread() as url, build_stack([Dedup()], HTTPTransport(base_url=url)).blocking() as stack:
        client = sync_app(stack.stack)
        texts: list[str | None] = []

        def ask() -> None:
            texts.append(client.chat.completions.create(**HI).choices[0].message.content)

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (texts, len(provider.requests)) == (["hello"] * 16, 1)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "httpx2"])
def test_every_method_is_passed_on(kind: str) -> None:
    """Deleting and asking whether something is there have no body to answer with."""

    async def main() -> list[tuple[str, str]]:
        async with SimulatedProvider([]) as provider:
            settings = {"base_url": provider.base_url, "api_key": "sk-real"}
            kinds = {"openai": OpenAITransport, "anthropic": AnthropicTransport}
            transport = kinds[kind](**settings) if kind in kinds else HTTPTransport(**settings)
            for method in ("GET", "DELETE", "PUT", "PATCH"):
                answer = await transport.forward(method, "/v1/files/f", "", {}, b"{}" if method == "PUT" else b"")
                await answer.close()
            await transport.aclose()
            return [(request.method, request.path) for request in provider.requests]

    seen = asyncio.run(main())

    assert [method for method, _ in seen] == ["GET", "DELETE", "PUT", "PATCH"]
    assert all(path.endswith("/v1/files/f") for _, path in seen)


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "/v1//evil.example/x", "/v1/files/..%2F..%2Fx", "/v1/a%3Fb", "/v1/a%23b"]
)
def test_what_passes_through_stays_at_the_address_of_the_transport(path: str) -> None:
    """Whatever the app has in an id, percent-encoded, is still that id at the provider."""
    provider = Passed()
    transport = HTTPTransport(base_url="https://provider.example/v1", api_key="sk-real", client=provider.client)

    doors.httpx2_client(build_stack([], transport)).get(
        httpx2.URL("https://any" + path if path[1] != "/" else f"https://any{path}")
    )

    (seen,) = provider.seen
    assert seen.url.host == "provider.example"
    assert seen.url.raw_path.decode().startswith("/v1/")
    assert path.rpartition("/")[2] in seen.url.raw_path.decode()


def test_credentials_of_the_app_do_not_reach_the_provider() -> None:
    """Neither with a call nor with what is passed on; those of the transport stay in their place."""
    provider = Passed(body=b'{"object": "list", "data": []}')
    transport = HTTPTransport(
        base_url="https://provider.example/v1", headers={"x-goog-api-key": "real"}, client=provider.client
    )
    client = sync_app(build_stack([], transport), organization="org-app")
    mine = {"x-goog-api-key": "of-the-app", "x-auth-token": "of-the-app", "cookie": "of=the-app"}

    client.models.list(extra_headers=mine)
    with pytest.raises(openai.APIStatusError):  # the answer is no completion
        client.with_options(max_retries=0).chat.completions.create(**HI, extra_headers=mine)

    for seen in provider.seen:
        assert seen.headers["x-goog-api-key"] == "real"
        assert "of-the-app" not in str(seen.headers)
        assert "org-app" not in str(seen.headers)


def test_a_body_that_breaks_off_on_its_way_through_shows_no_key() -> None:
    """The SDK raises its own exception, and no frame or cause of it holds the key."""

    class Breaks(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b'{"object'
            raise httpx2.ReadError("cut")

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Breaks(), headers={"content-type": "application/json"})

    own = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    stack = build_stack([], HTTPTransport(base_url="https://provider.example/v1", api_key="sk-canary-1", client=own))

    with pytest.raises(openai.APIConnectionError) as raised:
        sync_app(stack, max_retries=0).models.list()

    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "sk-canary-1" not in shown


def test_a_thread_in_the_assistants_api_is_no_message_of_anthropic() -> None:
    """Only the path of the Messages API is that of the Messages API."""
    provider = Passed(body=b'{"id": "msg_1", "object": "thread.message"}')
    transport = HTTPTransport(base_url="https://provider.example/v1", client=provider.client)

    doors.httpx2_client(build_stack([], transport)).post("https://any/v1/threads/t/messages", json={"content": "x"})

    assert provider.seen[0].url.path == "/v1/threads/t/messages"


def test_a_held_stream_stays_held_behind_a_door() -> None:
    """The timeout that SDKs always send changes nothing about how the stack delivers."""

    async def liar(request: Request) -> Response:
        await request.begin().send(TextDelta("LIE"))
        return Response.of("truth")

    texts = []
    with pytest.raises(openai.APIError):
        for chunk in sync_app(build_stack([], liar, hold_streams=True)).chat.completions.create(**HI, stream=True):
            texts += [choice.delta.content for choice in chunk.choices if choice.delta.content]

    assert texts == []


def test_what_was_lost_is_remembered_without_the_prompt() -> None:
    """An outage with long prompts fills no memory."""

    async def main() -> int:
        async def down(request: Request) -> Response:
            raise NetworkError("down")

        door = doors.httpx2_async_client(down)
        for number in range(3):
            body = {"model": "m", "messages": [{"role": "user", "content": f"{number} canary-prompt"}]}
            with pytest.raises(httpx2.ReadError):
                await door.post("http://any/v1/chat/completions", json=body)
        gc.collect()
        return sum(b"canary-prompt" in each for each in gc.get_objects() if isinstance(each, bytes))

    assert asyncio.run(main()) == 0


def test_a_lost_request_that_is_sent_anew_is_asked_anew() -> None:
    """Only what an SDK repeats of its own accord is answered from memory."""
    fake = FakeTransport([NetworkError("down"), "hello"])
    client = sync_app(fake, max_retries=0)

    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**HI)

    assert client.chat.completions.create(**HI).choices[0].message.content == "hello"


def test_a_stream_that_the_app_forgets_is_cancelled() -> None:
    """Its place is free for the next call."""

    async def main() -> str | None:
        async with SimulatedProvider([["a", asyncio.Event(), "never"], "hello"]) as provider:
            transport = HTTPTransport(base_url=provider.base_url, max_connections=1)
            client = app(build_stack([], transport))
            stream = await client.chat.completions.create(**HI, stream=True)
            iterator = stream.response
            del stream, iterator
            gc.collect()
            answer = await client.chat.completions.create(**HI)
            await transport.aclose()
            return answer.choices[0].message.content

    assert asyncio.run(main()) == "hello"


@pytest.mark.parametrize("name", ["transport", "proxy", "mounts"])
def test_a_setting_that_leads_past_the_stack_is_refused(name: str) -> None:
    """The message says where it belongs."""
    with pytest.raises(ConfigurationError, match="past the stack"):
        doors.httpx2_client(FakeTransport("x"), **{name: "http://proxy"})


@pytest.mark.parametrize("wrong", [Retry(), build_stack([], FakeTransport("x")).blocking(), Retry, "stack"])
def test_what_is_no_stack_is_refused_when_the_door_is_built(wrong: Any) -> None:
    """A layer alone, a face, a class: the message shows what to write."""
    with pytest.raises(ConfigurationError, match="a door"):
        doors.httpx2_async_client(wrong)


@pytest.mark.parametrize("seconds", [0.0, float("inf")])
def test_an_odd_timeout_of_the_client_is_understood(seconds: float) -> None:
    """None at all is no limit; one that is over at once is a timeout, not a failure of the server."""
    script = [[60, "never"]] if seconds == 0.0 else "hello"
    client = doors.httpx2_client(FakeTransport(script), timeout=httpx2.Timeout(seconds))

    if seconds == 0.0:
        with pytest.raises(httpx2.ReadTimeout):
            client.post("http://any/v1/chat/completions", json=HI)
    else:
        assert client.post("http://any/v1/chat/completions", json=HI).status_code == 200


def test_work_in_the_background_of_the_provider_passes_through() -> None:
    """An answer that is fetched later is no call that a layer could follow."""
    provider = Passed(body=b'{"id": "resp_1", "object": "response", "status": "queued"}')
    transport = HTTPTransport(base_url="https://provider.example/v1", wire="responses", client=provider.client)

    answer = sync_app(build_stack([], transport)).responses.create(model="m", input="hi", background=True)

    assert answer.status == "queued"


def test_a_mistake_in_a_layer_keeps_its_traceback() -> None:
    """Who looks for the bug sees the line in which it is."""

    async def broken(request: Request) -> Response:
        return Response.of(str(1 // (len(request.messages) - 1)))

    with pytest.raises(ZeroDivisionError) as raised:
        doors.httpx2_client(broken).post("http://any/v1/chat/completions", json=HI)

    assert "broken" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
