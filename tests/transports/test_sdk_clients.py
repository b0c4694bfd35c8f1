"""Clients of the SDKs, a user's own and those that are built here: one request for one call, whatever they are set to."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import CUT, WAIT, RawServer, head, plain
from test_http_secrets import shown

from llamina import (
    AuthenticationError,
    Constant,
    LLMError,
    NetworkError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Retry,
    build_stack,
)
from llamina.errors import ConfigurationError, InvalidRequestError, ServerError
from llamina.testing import SimulatedProvider, stall, status, vectors
from llamina.testing.provider_script import with_headers
from llamina.transports import AnthropicTransport, OpenAITransport

httpx2 = pytest.importorskip("httpx2")
openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

KEY = "sk-canary-0123456789"
ASK = Request.chat("sim", "canary-prompt", max_tokens=50)


def openai_client(url: str, **settings: Any) -> OpenAITransport:
    """A transport on a user's AsyncOpenAI."""
    return OpenAITransport(client=openai.AsyncOpenAI(**{"api_key": KEY, "base_url": url, **settings}))


def anthropic_client(url: str, **settings: Any) -> AnthropicTransport:
    """A transport on a user's AsyncAnthropic."""
    url = url.removesuffix("/v1")
    return AnthropicTransport(client=anthropic.AsyncAnthropic(**{"api_key": KEY, "base_url": url, **settings}))


GIVEN: dict[str, Callable[..., Any]] = {"chat": openai_client, "anthropic": anthropic_client}
OWN: dict[str, Callable[[str], Any]] = {
    "chat": lambda url: OpenAITransport(KEY, url),
    "responses": lambda url: OpenAITransport(KEY, url, api="responses"),
    "anthropic": lambda url: AnthropicTransport(KEY, url),
}
each_given = pytest.mark.parametrize("wire", GIVEN)
each_own = pytest.mark.parametrize("wire", OWN)


async def refused(stack: Any, request: Request = ASK) -> LLMError:
    """The error that a call ends with."""
    try:
        response = await stack(request)
    except LLMError as error:
        return error
    raise AssertionError(f"the call did not fail: {response!r}")


@each_given
def test_its_own_retries_are_overridden(wire: str) -> None:
    """A client that would try six times sends what Retry allows, and no more."""

    async def main() -> None:
        async with SimulatedProvider(status(500), wire=wire) as provider:
            transport = GIVEN[wire](provider.base_url, max_retries=5)
            async with build_stack([Retry(attempts=2, backoff=Constant(0), budget=None)], transport) as stack:
                error = await refused(stack)

            assert type(error) is ServerError
            assert len(provider.requests) == 2
            assert len(error.call.attempts) == 2
            await transport.client.close()

    asyncio.run(main())


@each_given
def test_its_own_time_limit_does_not_apply(wire: str) -> None:
    """The limit of a call is what is left of its deadline."""

    async def main() -> None:
        async with SimulatedProvider([["slow", 0.05, "ly"], stall()], wire=wire) as provider:
            transport = GIVEN[wire](provider.base_url, timeout=0.001)
            stack = build_stack([], transport)

            response = await stack(ASK)
            error = await refused(stack, ASK.evolve(deadline=asyncio.get_running_loop().time() + 0.1))

            assert response.text == "slowly"
            assert type(error) is RequestTimeoutError
            await transport.client.close()

    asyncio.run(main())


@each_given
def test_it_follows_no_redirect(wire: str) -> None:
    """A redirect would carry the key to another address, also where the client's own HTTP client follows them."""

    async def main() -> None:
        async with RawServer(plain(b"", "location: /elsewhere", status="307 Moved")) as server:
            http = httpx2.AsyncClient(follow_redirects=True)
            transport = GIVEN[wire](server.base_url, http_client=http)

            error = await refused(build_stack([], transport))

            assert error.status == 307
            assert len(server.requests) == 1
            await http.aclose()

    asyncio.run(main())


@each_given
def test_it_stays_open(wire: str) -> None:
    """A client of the user's is the user's to close."""

    async def main() -> None:
        async with SimulatedProvider("hi", wire=wire) as provider:
            transport = GIVEN[wire](provider.base_url)
            async with build_stack([], transport) as stack:
                await stack(ASK)

            assert not transport.client.is_closed()
            await transport.client.close()

    asyncio.run(main())


@each_given
def test_a_refusal_shows_nothing_of_the_request(wire: str) -> None:
    """The exceptions of the SDKs hold request, headers and body; none of them is left behind."""

    async def main() -> LLMError:
        script = status(429, retry_after=7, message=f"the key {KEY} is too fast")
        async with SimulatedProvider(script, wire=wire) as provider:
            transport = GIVEN[wire](provider.base_url)
            error = await refused(build_stack([], transport))
            await transport.client.close()
            return error

    error = asyncio.run(main())

    assert type(error) is RateLimitError
    assert (error.retry_after, error.status, error.request_id) == (7.0, 429, "req-sim-1")
    assert KEY not in shown(error)
    assert "canary-prompt" not in shown(error)
    assert error.__cause__ is None


@each_given
@pytest.mark.parametrize("fault", [[CUT], [head("content-length: 9") + b"par", CUT]], ids=["at once", "in the body"])
def test_a_broken_connection_shows_nothing_of_the_request(wire: str, fault: list[Any]) -> None:
    """The cause of what is raised is a stand-in for the client's exception."""

    async def main() -> LLMError:
        async with RawServer(fault) as server:
            transport = GIVEN[wire](server.base_url)
            error = await refused(build_stack([], transport))
            await transport.client.close()
            return error

    error = asyncio.run(main())

    assert type(error) is NetworkError
    assert "httpx2." in str(error.__cause__)
    assert KEY not in shown(error)
    assert "canary-prompt" not in shown(error)


@each_own
def test_a_refusal_whose_body_breaks_off_keeps_its_status(wire: str) -> None:
    """The SDK reads the body of an error before it says the status; an own client does not let it."""

    async def main() -> None:
        refusal = head("retry-after: 3", "content-length: 100", status="429 Slow")
        async with RawServer([refusal, b'{"er', CUT]) as server, build_stack([], OWN[wire](server.base_url)) as stack:
            error = await refused(stack)

        assert type(error) is RateLimitError
        assert (error.status, error.retry_after) == (429, 3.0)

    asyncio.run(main())


@each_own
def test_a_refusal_without_an_end_is_read_in_part(wire: str) -> None:
    """A body of an error that never ends explains no more than its beginning."""

    async def main() -> None:
        endless = [head("content-length: 9999999", status="500 No"), b"x" * 70_000, WAIT]
        async with RawServer(endless) as server, build_stack([], OWN[wire](server.base_url)) as stack:
            error = await refused(stack)

        assert type(error) is ServerError

    asyncio.run(main())


@each_own
def test_leaving_early_closes_the_response_at_once(wire: str) -> None:
    """The provider notices, and the one connection that there may be is free for the next call."""

    async def main() -> None:
        async with SimulatedProvider([["first", stall()], "second"], wire=wire) as provider:
            transport = OWN[wire](provider.base_url)
            transport.max_connections = 1
            async with build_stack([], transport) as stack:
                async with stack.stream(ASK) as stream:
                    async for event in stream:
                        if event.text:
                            break
                response = await stack(ASK)
            await provider.settled()

            assert response.text == "second"
            assert provider.aborted == 1

    asyncio.run(main())


@each_own
def test_each_loop_has_a_client_of_its_own(wire: str) -> None:
    """A transport outlives a loop, also where nobody closed it there."""
    transports: list[Any] = []

    async def main() -> str:
        async with SimulatedProvider("hi", wire=wire) as provider:
            transport = transports[0] if transports else OWN[wire](provider.base_url)
            transports[:] = [transport]
            transport.base_url = provider.base_url
            text = (await transport(ASK)).text
            await transport.aclose()
            await transport.aclose()
            return str(text)

    assert [asyncio.run(main()) for _ in range(2)] == ["hi", "hi"]
    assert transports[0]._engines == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forgets_its_parents_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections of a parent process are the parent's."""

    async def main() -> None:
        async with SimulatedProvider("hi") as provider:
            transport = OpenAITransport(KEY, provider.base_url)
            await transport(ASK)
            (engine,) = transport._engines.values()
            monkeypatch.setattr(os, "getpid", lambda: -1)
            await transport.aclose()  # as a child would

            assert transport._engines == {}
            await engine.aclose()

    asyncio.run(main())


@each_own
def test_many_calls_at_once_share_a_few_connections(wire: str) -> None:
    """No more connections are open than there may be, and each place is given back."""

    async def main() -> None:
        async with SimulatedProvider([[0.001, "hi"]], wire=wire, repeat=True) as provider:
            transport = OWN[wire](provider.base_url)
            transport.max_connections = 20
            async with build_stack([], transport) as stack:
                await asyncio.gather(*[stack(ASK) for _ in range(100)])
                (engine,) = transport._engines.values()

                assert engine._client._client.spread.in_flight == 0
                assert provider.max_in_flight <= 20

    asyncio.run(main())


def test_the_account_of_the_environment_stays_with_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that was passed gets neither key nor organization from there, but those that were passed."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "canary")

    async def main() -> None:
        async with SimulatedProvider("hi") as provider:
            for settings in ({}, {"organization": "org-mine"}):
                async with build_stack([], OpenAITransport(base_url=provider.base_url, **settings)) as stack:
                    await stack(ASK)

            assert "canary" not in str([request.headers for request in provider.requests])
            assert "authorization" not in provider.requests[0].headers
            assert provider.requests[1].headers["openai-organization"] == "org-mine"

    asyncio.run(main())


def test_a_server_of_anthropics_wire_without_keys_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK demands a key; a proxy that needs none is not shown one of the environment's."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "canary")

    async def main() -> None:
        async with SimulatedProvider("hi", wire="anthropic") as provider:
            async with build_stack([], AnthropicTransport(base_url=provider.base_url + "/v1")) as stack:
                await stack(ASK)

            headers = provider.requests[0].headers
            assert not {"authorization", "x-api-key"} & headers.keys()
            assert provider.requests[0].path == "/v1/messages"

    asyncio.run(main())


@each_own
def test_further_headers_are_sent_and_masked(wire: str) -> None:
    """What its name calls a credential is a secret like the key."""

    async def main() -> None:
        script = [status(400, message="what is canary-header?"), "hi"]
        async with SimulatedProvider(script, wire=wire) as provider:
            kind = AnthropicTransport if wire == "anthropic" else OpenAITransport
            transport = kind(KEY, provider.base_url, headers={"x-team": "a", "x-gate-key": "canary-header"})
            async with build_stack([], transport) as stack:
                error = await refused(stack)

            assert provider.requests[0].headers["x-team"] == "a"
            assert provider.requests[0].headers["x-gate-key"] == "canary-header"
            assert "canary-header" not in shown(error)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(RuntimeError("the vault is closed"), AuthenticationError), (httpx2.ConnectError("no vault"), NetworkError)],
)
def test_a_source_of_keys_that_fails_is_no_fault_of_the_provider(failure: Exception, kind: type[LLMError]) -> None:
    """The request was never sent, so it costs nothing; what it was is in the message."""

    async def key() -> str:
        raise failure

    async def main() -> LLMError:
        async with SimulatedProvider("hi") as provider:
            transport = openai_client(provider.base_url, api_key=key)
            error = await refused(build_stack([], transport))
            await transport.client.close()
            assert provider.requests == []
            return error

    error = asyncio.run(main())

    assert type(error) is kind
    assert error.processed is False
    assert str(failure) in str(error)
    assert "canary" not in shown(error)


@each_given
def test_a_client_that_lost_its_key_says_so(wire: str) -> None:
    """The SDKs raise a TypeError while they prepare the request."""

    async def main() -> LLMError:
        transport = GIVEN[wire]("http://127.0.0.1:1/v1")
        transport.client.api_key = None
        error = await refused(build_stack([], transport))
        await transport.client.close()
        return error

    error = asyncio.run(main())

    assert type(error) is AuthenticationError
    assert error.processed is False
    assert "canary" not in shown(error)


def test_a_key_that_changes_with_each_call_is_sent() -> None:
    """A client may be given a function in the place of a key."""
    keys = iter(["one", "two"])

    async def key() -> str:
        return next(keys)

    async def main() -> None:
        async with SimulatedProvider("hi") as provider:
            transport = openai_client(provider.base_url, api_key=key)
            for _ in range(2):
                await transport(ASK)
            await transport.client.close()

            assert [request.headers["authorization"] for request in provider.requests] == ["Bearer one", "Bearer two"]

    asyncio.run(main())


def test_a_client_for_azure_makes_its_own_path() -> None:
    """It takes the deployment from the body, so it must see the body before it is bytes."""

    async def main() -> None:
        async with RawServer(plain(b"{}", status="404 No")) as server:
            address = f"http://127.0.0.1:{server.port}"
            client = openai.AsyncAzureOpenAI(api_key=KEY, azure_endpoint=address, api_version="2024-02-01")
            await refused(build_stack([], OpenAITransport(client=client)))
            await client.close()

        (seen,) = server.requests
        assert seen.target == "/openai/deployments/sim/chat/completions?api-version=2024-02-01"
        assert seen.headers["api-key"] == KEY

    asyncio.run(main())


def test_middlewares_of_a_client_see_every_answer() -> None:
    """Success, stream and refusal alike, before they are read."""
    statuses: list[int] = []

    async def look(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        statuses.append(response.http_response.status_code)
        return response

    async def main() -> None:
        async with SimulatedProvider(["hi", ["a", "b"], status(401)], wire="anthropic") as provider:
            transport = anthropic_client(provider.base_url, middleware=[look])
            stack = build_stack([], transport)

            assert (await stack(ASK)).text == "hi"
            async with stack.stream(ASK) as stream:
                assert [event.text async for event in stream if event.text] == ["a", "b"]
            assert type(await refused(stack)) is AuthenticationError
            await transport.client.close()

        assert statuses == [200, 200, 401]

    asyncio.run(main())


def test_a_middleware_that_answers_with_something_else_is_told_so() -> None:
    """What it made is no answer of a provider."""

    async def invent(request: Any, call_next: Any) -> Any:
        return "canned"

    async def main() -> LLMError:
        transport = anthropic_client("http://127.0.0.1:1", middleware=[invent])
        error = await refused(build_stack([], transport))
        await transport.client.close()
        return error

    error = asyncio.run(main())

    assert "let it return the response" in str(error)
    assert "canary" not in shown(error)


def test_a_mistake_in_a_middleware_goes_through_as_it_is() -> None:
    """It is the user's own code, and no failure of the provider."""
    mistake = ValueError("a bug")

    async def fail(request: Any, call_next: Any) -> Any:
        raise mistake

    async def main() -> None:
        transport = anthropic_client("http://127.0.0.1:1", middleware=[fail])
        with pytest.raises(ValueError, match="a bug") as caught:
            await build_stack([], transport)(ASK)
        await transport.client.close()

        assert caught.value is mistake

    asyncio.run(main())


def test_what_the_provider_says_of_limits_is_on_answer_error_and_call() -> None:
    """Anthropic's headers come out under the same names as OpenAI's."""
    limits = {"anthropic-ratelimit-tokens-remaining": "90", "anthropic-ratelimit-requests-limit": "50"}

    async def main() -> None:
        script = [with_headers("hi", limits), with_headers(status(429), limits)]
        async with (
            SimulatedProvider(script, wire="anthropic") as provider,
            build_stack([], AnthropicTransport(KEY, provider.base_url)) as stack,
        ):
            response = await stack(ASK)
            error = await refused(stack)

        wanted = {"remaining_tokens": 90, "limit_requests": 50}
        for found in (response.rate_limit, response.call.rate_limit, error.rate_limit, error.call.rate_limit):
            assert found is not None
            assert wanted.items() <= dict(found).items()
        assert response.request_id == "req-sim-1"

    asyncio.run(main())


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_embeddings_go_the_same_way(api: str) -> None:
    """Whichever API is chosen for chats."""

    async def main() -> None:
        async with SimulatedProvider([vectors([0.5], [1.5])], wire="embeddings") as provider:
            async with build_stack([], OpenAITransport(KEY, provider.base_url, api=api)) as stack:
                response = await stack(Request.embed("embed", ["one", "two"]))

            assert response.vectors == ((0.5,), (1.5,))
            assert provider.requests[0].path == "/v1/embeddings"

    asyncio.run(main())


def test_a_provider_without_embeddings_says_so() -> None:
    """The message says what it can do; nothing is sent."""
    error = asyncio.run(refused(AnthropicTransport(KEY, "http://127.0.0.1:1"), Request.embed("m", "x")))

    assert type(error) is InvalidRequestError
    assert "'chat' (at /v1/messages), got 'embed'" in str(error)


def test_a_stream_in_the_format_of_bedrock_is_refused() -> None:
    """Its events are no server-sent events; the error says what works."""

    async def main() -> LLMError:
        answer = plain(b"\0\0", "content-type: application/vnd.amazon.eventstream")
        async with RawServer(answer) as server:
            transport = anthropic_client(server.base_url)
            error = await refused(build_stack([], transport))
            await transport.client.close()
            return error

    error = asyncio.run(main())

    assert type(error) is InvalidRequestError
    assert "without a stream" in str(error)


def test_an_sdk_that_cannot_be_imported_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed, and broken: building the transport finds out."""
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> Any:
        if name == "openai":
            raise ImportError("no such symbol")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)

    with pytest.raises(ConfigurationError, match="cannot import the SDK 'openai'"):
        OpenAITransport(KEY, "http://127.0.0.1:1/v1")


async def ask(transport: Any) -> Any:
    """One call, of which anything may come."""
    return await transport(ASK)
