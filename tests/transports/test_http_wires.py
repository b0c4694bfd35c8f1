"""HTTPTransport on each wire: where it sends, how it says its key, and which kinds of request it takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import MalformedResponseError, RateLimitError, Request, build_stack
from llamina.errors import ConfigurationError, InvalidRequestError
from llamina.secret import Secret
from llamina.testing import SimulatedProvider, status, vectors
from llamina.testing.provider_script import with_headers
from llamina.transports import HTTPTransport, presets

KEY = "sk-canary-0123456789"
ASK = Request.chat("sim", "hi", max_tokens=50)
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}
each_engine = pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])


@each_engine
@pytest.mark.parametrize("wire", PATHS)
def test_each_wire_has_its_path(wire: str, engine: str) -> None:
    """Whole and streamed, on every engine."""
    pytest.importorskip(engine)

    async def main() -> None:
        async with SimulatedProvider([["a", "b"]], wire=wire, repeat=True) as provider:
            async with build_stack([], HTTPTransport(provider.base_url, KEY, wire=wire, engine=engine)) as stack:
                assert (await stack(ASK)).text == "ab"
                async with stack.stream(ASK) as stream:
                    assert "".join([event.text async for event in stream]) == "ab"

            assert {request.path for request in provider.requests} == {PATHS[wire]}

    asyncio.run(main())


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/gate/v1"])
def test_the_version_in_a_path_is_not_doubled(base: str) -> None:
    """Some write it into the address of Anthropic's wire, and some do not."""
    transport = HTTPTransport(f"https://h.example{base}?a=b", KEY, wire="anthropic")

    prefix = "/gate" if "gate" in base else ""
    assert transport._peers["chat"].url == f"https://h.example{prefix}/v1/messages?a=b"


@pytest.mark.parametrize(
    ("wire", "path"),
    [("anthropic", "/v1/messages"), ("anthropic", "/messages"), ("responses", "/responses"), ("chat", "/embeddings")],
)
def test_an_address_that_was_pasted_whole_is_refused(wire: str, path: str) -> None:
    """The path of a wire is added, so it must not be there already."""
    with pytest.raises(ConfigurationError, match="must end before"):
        HTTPTransport(f"https://h.example{path}", wire=wire)


@pytest.mark.parametrize(
    ("headers", "version"), [({}, "2023-06-01"), ({"Anthropic-Version": "2026-10-21"}, "2026-10-21")]
)
def test_anthropics_wire_has_a_version_and_a_header_for_the_key(headers: dict[str, str], version: str) -> None:
    """The caller's own headers win."""
    transport = HTTPTransport("https://h.example", KEY, wire="anthropic", headers=headers)

    sent = transport._target.headers
    assert (sent["x-api-key"], sent["anthropic-version"]) == (KEY, version)
    assert "authorization" not in sent


def test_openais_wires_have_a_bearer() -> None:
    """And nothing of Anthropic's."""
    sent = HTTPTransport("https://h.example", KEY, wire="responses")._target.headers

    assert sent["authorization"] == f"Bearer {KEY}"
    assert not {"x-api-key", "anthropic-version"} & sent.keys()


def test_a_preset_names_its_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a provider is all that it takes; another wire can still be asked for."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)

    transport = HTTPTransport(provider="anthropic")

    assert presets()["anthropic"].wire == "anthropic"
    assert (transport.wire, transport.base_url) == ("anthropic", "https://api.anthropic.com")
    assert transport.api_key == Secret(KEY)
    assert HTTPTransport(provider="anthropic", wire="chat").wire == "chat"


@each_engine
@pytest.mark.parametrize("wire", ["chat", "responses", "embeddings"])
def test_embeddings_go_beside_chats(wire: str, engine: str) -> None:
    """At the same address, with the same connections, whole even where a stream is asked for."""
    pytest.importorskip(engine)

    async def main() -> None:
        async with SimulatedProvider(vectors([0.5], [1.5]), wire="embeddings") as provider:
            async with build_stack([], HTTPTransport(provider.base_url, KEY, wire=wire, engine=engine)) as stack:
                response = await stack(Request.embed("embed", ["one", "two"], dimensions=1))
                async with stack.stream(Request.embed("embed", ["one", "two"])) as stream:
                    assert [event async for event in stream if event.text] == []

            assert response.vectors == stream.response.vectors == ((0.5,), (1.5,))
            assert provider.requests[0].json == {"model": "embed", "input": ["one", "two"], "dimensions": 1}

    asyncio.run(main())


def test_a_vector_too_few_is_no_answer() -> None:
    """Vectors that belong to other texts would be worse than none."""

    async def main() -> MalformedResponseError:
        async with (
            SimulatedProvider(vectors([0.5]), wire="embeddings") as provider,
            build_stack([], HTTPTransport(provider.base_url, KEY)) as stack,
        ):
            with pytest.raises(MalformedResponseError, match="3 texts") as caught:
                await stack(Request.embed("embed", ["one", "two", "three"]))
            return caught.value

    error = asyncio.run(main())

    assert (error.provider, error.model) == ("127.0.0.1", "embed")


@pytest.mark.parametrize(("wire", "kind"), [("anthropic", "embed"), ("embeddings", "chat")])
def test_a_kind_that_a_wire_cannot_say_is_refused(wire: str, kind: str) -> None:
    """The message says what the transport can do."""
    transport = HTTPTransport("http://127.0.0.1:1", KEY, wire=wire, provider="label")
    request = ASK if kind == "chat" else Request.embed("embed", "x")

    with pytest.raises(InvalidRequestError, match=rf"takes requests of kind .*, got '{kind}'") as caught:
        asyncio.run(_call(transport, request))

    assert caught.value.provider == "label"


async def _call(transport: Any, request: Request) -> Any:
    return await transport(request)


def test_limits_and_ids_of_anthropics_wire_are_read() -> None:
    """Its headers have other names than OpenAI's and come out alike."""
    limits = {"anthropic-ratelimit-input-tokens-remaining": "7", "anthropic-ratelimit-requests-reset": "2000-01-01"}

    async def main() -> None:
        script = [with_headers("hi", limits), with_headers(status(429, retry_after=2), limits)]
        async with (
            SimulatedProvider(script, wire="anthropic") as provider,
            build_stack([], HTTPTransport(provider.base_url, KEY, wire="anthropic")) as stack,
        ):
            response = await stack(ASK)
            with pytest.raises(RateLimitError) as caught:
                await stack(ASK)

        assert dict(response.rate_limit or {})["remaining_input_tokens"] == 7
        assert dict(caught.value.rate_limit)["remaining_input_tokens"] == 7
        assert (response.request_id, caught.value.request_id) == ("req-sim-1", "req-sim-2")

    asyncio.run(main())
