"""HTTPTransport over real sockets, on every engine: what is sent, what comes back, whole and streamed."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from raw_server import (
    END,
    STREAM,
    WAIT,
    RawServer,
    answer,
    complete,
    delta,
    failure,
    head,
    plain,
    sent,
    streamed,
)

from llamina import MalformedResponseError, Request, build_stack
from llamina.errors import InvalidRequestError
from llamina.messages import Usage


def test_a_call_comes_back_whole(transport_to) -> None:
    """Text, usage, model, finish reason, the provider's id and what it said of limits."""

    async def main() -> None:
        script = answer("hello", "X-Request-Id: req_7", "x-ratelimit-remaining-tokens: 90")
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            response = await stack(Request.chat("sim", "hi"))

        assert (response.text, response.model, response.finish_reason) == ("hello", "sim-1", "stop")
        assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 7)
        assert response.request_id == "req_7"
        assert response.rate_limit == {"remaining_tokens": 90.0}
        assert [(a.provider, a.outcome, a.usage_source) for a in response.call.attempts] == [
            ("127.0.0.1", "ok", "exact")
        ]

    asyncio.run(main())


def test_what_is_sent(transport_to) -> None:
    """The path of the wire, the key, the headers of the settings, and every parameter, known or not."""

    async def main() -> None:
        async with RawServer(answer("hello")) as server:
            transport = transport_to(server, headers={"X-Team": "blue", "user-agent": "mine"})
            async with build_stack([], transport) as stack:
                await stack(Request.chat("sim", "hé", seed=7, an_unknown_parameter={"kept": True}))

        (seen,) = server.requests
        assert seen.target == "/v1/chat/completions"
        assert seen.headers["authorization"] == "Bearer sk-canary-0123456789"
        assert (seen.headers["x-team"], seen.headers["user-agent"]) == ("blue", "mine")
        assert seen.headers["content-type"] == "application/json"
        assert seen.json["messages"] == [{"role": "user", "content": "hé"}]
        assert (seen.json["seed"], seen.json["an_unknown_parameter"]) == (7, {"kept": True})
        assert not seen.json.get("stream")

    asyncio.run(main())


def test_a_server_without_keys_gets_none(transport_to) -> None:
    """No key, no Authorization header; the query of the address stays."""

    async def main() -> None:
        async with RawServer(answer("hello")) as server:
            transport = transport_to(f"http://127.0.0.1:{server.port}/base/?api-version=3", api_key=None)
            async with build_stack([], transport) as stack:
                await stack(Request.chat("sim", "hi"))

        assert "authorization" not in server.requests[0].headers
        assert server.requests[0].target == "/base/chat/completions?api-version=3"

    asyncio.run(main())


def test_a_stream_comes_in_pieces(transport_to) -> None:
    """Events as they come, the usage of the last chunk, and the same Response as without a stream."""

    async def main() -> None:
        usage = sent({"id": "1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
        script = [STREAM, delta("Hel"), delta("lo"), delta(finish="length"), usage, sent(b"[DONE]"), END]
        async with (
            RawServer(script) as server,
            build_stack([], transport_to(server)) as stack,
            stack.stream(Request.chat("sim", "hi")) as stream,
        ):
            pieces = [event.text async for event in stream]

        response = stream.response
        assert pieces == ["Hel", "lo"]
        assert (response.text, response.finish_reason, response.request_id) == ("Hello", "length", "req_1")
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 4)
        assert server.requests[0].json["stream"] is True
        assert server.requests[0].json["stream_options"] == {"include_usage": True}

    asyncio.run(main())


def test_a_stream_may_end_without_done(transport_to) -> None:
    """The finish reason makes a stream whole; `[DONE]` is a courtesy."""

    async def main() -> None:
        script = [STREAM, delta("Hello"), delta(finish="stop"), END]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            response = await complete(stack)

        assert response.text == "Hello"

    asyncio.run(main())


def test_a_connection_serves_many_calls(transport_to) -> None:
    """Whole answers, streams and refusals are read to their end, so that one connection is enough."""

    async def main() -> None:
        script = [answer("one"), streamed("two"), plain(b"{}", status="500 No"), answer("four")]
        async with RawServer(*script) as server, build_stack([], transport_to(server)) as stack:
            await stack(Request.chat("sim", "hi"))
            await complete(stack)
            await failure(stack)
            await stack(Request.chat("sim", "hi"))

            assert (len(server.requests), server.connections) == (4, 1)

    asyncio.run(main())


def test_a_body_that_never_ends_holds_nothing_back(transport_to) -> None:
    """After `[DONE]` the answer is there; a server that keeps the body open loses the connection."""

    async def main() -> None:
        script = [STREAM, delta("Hello"), delta(finish="stop"), sent(b"[DONE]"), WAIT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            response = await complete(stack)

            assert response.text == "Hello"
            await server.until(lambda: server.open == 0)

    asyncio.run(main())


def test_a_server_that_ignores_streaming_still_streams(transport_to) -> None:
    """A whole answer to a request for a stream is taken as it is."""

    async def main() -> None:
        async with (
            RawServer(answer("Hello")) as server,
            build_stack([], transport_to(server)) as stack,
            stack.stream(Request.chat("sim", "hi")) as stream,
        ):
            pieces = [event.text async for event in stream]

        assert "".join(pieces) == stream.response.text == "Hello"
        assert isinstance(stream.response.usage, Usage)

    asyncio.run(main())


def test_a_server_that_always_streams_answers_a_plain_call(transport_to) -> None:
    """The answer says what it is, not the question."""

    async def main() -> None:
        async with RawServer(streamed("Hel", "lo")) as server, build_stack([], transport_to(server)) as stack:
            assert (await stack(Request.chat("sim", "hi"))).text == "Hello"

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["content-type: text/plain", "x-nothing: at all"])
def test_an_answer_without_a_type_is_looked_at(transport_to, kind: str) -> None:
    """A stream and an object begin differently, so a missing type does no harm."""

    async def main() -> None:
        body = json.loads(answer("whole").partition(b"\r\n\r\n")[2])
        stream = [head(kind, "transfer-encoding: chunked"), *streamed("Hel", "lo")[1:]]
        whole = plain(json.dumps(body).encode(), kind)
        async with RawServer(stream, whole) as server, build_stack([], transport_to(server)) as stack:
            texts = [(await stack(Request.chat("sim", "hi"))).text for _ in range(2)]

        assert texts == ["Hello", "whole"]

    asyncio.run(main())


def test_a_compressed_answer_is_read(transport_to) -> None:
    """What the client offered to take may come compressed."""

    async def main() -> None:
        body = answer("squeezed").partition(b"\r\n\r\n")[2]
        script = plain(gzip.compress(body), "content-type: application/json", "content-encoding: gzip")
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            assert (await stack(Request.chat("sim", "hi"))).text == "squeezed"

    asyncio.run(main())


def jar_of(engine) -> Any:
    """Where the client of an engine would keep cookies."""
    if hasattr(engine, "_session"):
        return engine._session.cookie_jar
    pools = engine._pools if hasattr(engine, "_pools") else engine._client._client.spread
    return pools.first.cookies.jar


def test_cookies_are_not_kept(transport_to) -> None:
    """One tenant's call is not recognised by the cookie of another's, and no jar fills up."""

    async def main() -> None:
        async with RawServer(answer("hi", "set-cookie: who=ada; Path=/")) as server:
            transport = transport_to(f"http://localhost:{server.port}/v1")
            async with build_stack([], transport) as stack:
                for _ in range(2):
                    await stack(Request.chat("sim", "hi"))
                (engine,) = transport._engines.values()

                assert list(jar_of(engine)) == []

        assert all("cookie" not in seen.headers for seen in server.requests)

    asyncio.run(main())


def test_an_answer_that_is_too_long_is_refused(transport_to) -> None:
    """A bound on the size of an answer, streamed or not; a second attempt would be as long."""

    async def main() -> None:
        script = [[STREAM, *[delta("x" * 400) for _ in range(20)], WAIT], answer("x" * 8000)]
        async with (
            RawServer(*script) as server,
            build_stack([], transport_to(server, max_response_bytes=4000)) as stack,
        ):
            for streams in (True, False):
                error = await failure(stack, streams=streams)
                assert isinstance(error, MalformedResponseError)
                assert "max_response_bytes=4000" in str(error)
                assert not error.retryable

    asyncio.run(main())


def test_a_request_that_is_no_json_is_refused_before_it_is_sent(transport_to) -> None:
    """An object among the parameters is the caller's mistake; nothing is sent and nothing is charged."""

    async def main() -> None:
        async with RawServer(answer("hi")) as server, build_stack([], transport_to(server)) as stack:
            for odd in (object(), "\ud800"):
                with pytest.raises(InvalidRequestError, match="written as JSON") as caught:
                    await stack(Request.chat("sim", "hi", odd=odd))
                assert not caught.value.processed

        assert server.requests == []

    asyncio.run(main())


def test_512_calls_at_once(transport_to) -> None:
    """All of them are answered, each with its own answer."""

    async def main() -> None:
        async with RawServer(answer("hi")) as server, build_stack([], transport_to(server)) as stack:
            answers = await asyncio.gather(*(stack(Request.chat("sim", str(number))) for number in range(512)))

        assert [one.text for one in answers] == ["hi"] * 512
        assert sorted(int(seen.json["messages"][0]["content"]) for seen in server.requests) == list(range(512))

    asyncio.run(main())
