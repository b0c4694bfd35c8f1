"""HTTPTransport over real sockets, on every engine: each way in which an exchange can go wrong."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from raw_server import (
    CLOSE,
    CUT,
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

from llamina import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    ServerError,
    Timeout,
    build_stack,
)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, InvalidRequestError),
        (400, "context_length_exceeded", ContextLengthError),
        (401, "invalid_api_key", AuthenticationError),
        (403, None, PermissionDeniedError),
        (404, "model_not_found", NotFoundError),
        (429, "rate_limit_exceeded", RateLimitError),
        (429, "insufficient_quota", QuotaExceededError),
        (500, None, ServerError),
        (503, None, ServerError),
        (529, None, OverloadedError),
    ],
)
def test_a_refusal_is_classified(transport_to, status, code, kind, streams) -> None:
    """By status and code, with what the provider said, streamed or not."""

    async def main() -> None:
        body = json.dumps({"error": {"message": "so it is", "code": code}}).encode()
        script = plain(body, "x-request-id: req_9", "retry-after: 3", status=f"{status} Some Words")
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, streams=streams)

        assert type(error) is kind
        assert (error.status, error.provider, error.model, error.request_id) == (status, "127.0.0.1", "sim", "req_9")
        assert "so it is" in str(error)
        assert error.retry_after == 3.0
        assert [attempt.outcome for attempt in error.call.attempts] == [kind.outcome]

    asyncio.run(main())


def test_a_refusal_that_breaks_off_is_still_that_refusal(transport_to) -> None:
    """The status was heard; that the explanation is missing changes nothing."""

    async def main() -> None:
        script = [head("content-length: 1000", status="429 Slow Down") + b'{"error": ', CUT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack)

        assert type(error) is RateLimitError

    asyncio.run(main())


def test_an_endless_refusal_is_cut(transport_to) -> None:
    """Of the body of an error so much is read as explains it."""

    async def main() -> None:
        script = [head("content-length: 99999999", status="500 No"), b"x" * 200_000, WAIT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack)
            await server.until(lambda: server.open == 0)

        assert type(error) is ServerError
        assert len(str(error)) < 1000

    asyncio.run(main())


def test_a_redirect_is_not_followed(transport_to) -> None:
    """The key does not go where a server sends it."""

    async def main() -> None:
        async with RawServer(answer("stolen")) as elsewhere:
            script = plain(b"", f"location: {elsewhere.base_url}/chat/completions", status="307 Temporary Redirect")
            async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
                error = await failure(stack)

        assert isinstance(error, LLMError)
        assert error.status == 307
        assert not error.retryable
        assert elsewhere.requests == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "script",
    [
        plain(b"<html>welcome</html>", "content-type: text/html"),
        plain(b"", "content-type: application/json"),
        plain(b'{"weird": 1}', "content-type: application/json"),
        plain(b"[1, 2", "content-type: application/json"),
        plain(b"", status="204 No Content"),
        plain(b"not gzip", "content-type: application/json", "content-encoding: gzip"),
    ],
    ids=["html", "empty", "other", "cut", "nothing", "compressed"],
)
def test_a_success_that_is_no_completion_is_malformed(transport_to, script) -> None:
    """A 200 is not taken at its word; another attempt may help, and what it cost is not known."""

    async def main() -> None:
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack)

        assert type(error) is MalformedResponseError
        assert error.retryable
        assert error.call.attempts[0].usage_source == "estimated"

    asyncio.run(main())


def test_a_refused_connection_was_never_sent(transport_to) -> None:
    """Nobody listens: it costs nothing, and the system's own words are in the message."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        async with build_stack([], transport_to(f"http://127.0.0.1:{port}/v1")) as stack:
            error = await failure(stack)

        assert type(error) is NetworkError
        assert not error.processed
        assert "refused" in str(error) or "failed" in str(error)
        assert error.call.attempts[0].usage.total_tokens == 0

    asyncio.run(main())


def test_a_server_without_tls_was_never_sent_anything(transport_to) -> None:
    """An https address with a plain server behind it fails before the request."""

    async def main() -> None:
        class NoTLS(RawServer):
            async def _answer(self, reader, writer) -> bool:
                await reader.read(1)
                writer.write(b"hello, I speak no TLS\r\n")
                return False

        async with (
            NoTLS() as server,
            build_stack([], transport_to(f"https://127.0.0.1:{server.port}/v1")) as stack,
        ):
            error = await failure(stack)

        assert type(error) is NetworkError
        assert not error.processed

    asyncio.run(main())


@pytest.mark.parametrize(
    "script",
    [[CUT], [CLOSE], [b"HTTP/1.1 2"], [b"SMTP ready\r\n\r\n"], [head("content-length: 500"), b"{", CUT]],
    ids=["reset", "closed", "half a line", "no HTTP", "half a body"],
)
def test_a_broken_connection_may_have_been_processed(transport_to, script) -> None:
    """The request was sent, so it may be billed; another attempt may help."""

    async def main() -> None:
        async with RawServer([*script, CLOSE]) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack)

        assert type(error) is NetworkError
        assert error.processed
        assert error.retryable
        assert error.call.attempts[0].usage_source == "estimated"

    asyncio.run(main())


@pytest.mark.parametrize("end", [CUT, CLOSE])
def test_a_cut_stream_says_how_far_it_came(transport_to, end) -> None:
    """What came was delivered and is in `partial`; it never looks complete."""

    async def main() -> None:
        script = [STREAM, delta("par"), delta("tial"), end]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, streams=True)

        assert type(error) is NetworkError
        assert error.came == ["par", "tial"]
        assert error.partial.text == "partial"
        assert error.request_id == "req_1"

    asyncio.run(main())


def test_a_stream_without_an_end_is_malformed(transport_to) -> None:
    """A body that ends well, without a finish reason in it, is a cut answer."""

    async def main() -> None:
        for last in ([], [sent(b"[DONE]")]):
            script = [STREAM, delta("par"), *last, END]
            async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
                error = await failure(stack, streams=True)

            assert type(error) is MalformedResponseError
            assert (error.came, error.partial.text) == (["par"], "par")

    asyncio.run(main())


def test_an_answer_with_its_finish_reason_is_whole(transport_to) -> None:
    """A connection that breaks behind it has taken the usage at most, which is then an estimate."""

    async def main() -> None:
        script = [STREAM, delta("Hello"), delta(finish="stop"), CUT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            response = await complete(stack)

        assert response.text == "Hello"
        assert response.call.attempts[0].usage_source == "estimated"

    asyncio.run(main())


def test_an_error_inside_a_stream_is_classified(transport_to) -> None:
    """What came before it is delivered first, also when both arrive at once."""

    async def main() -> None:
        fault = sent({"error": {"type": "overloaded_error", "message": "no room, sk-canary-0123456789"}})
        script = [STREAM + delta("par") + fault, WAIT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, streams=True)
            await server.until(lambda: server.open == 0)

        assert type(error) is OverloadedError
        assert (error.came, error.partial.text) == (["par"], "par")
        assert "canary" not in str(error)

    asyncio.run(main())


def test_garbage_inside_a_stream_is_malformed(transport_to) -> None:
    """A payload that is no JSON ends the stream as a failure."""

    async def main() -> None:
        script = [STREAM, delta("par"), sent(b"{oops"), WAIT]
        async with RawServer(script) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, streams=True)

        assert type(error) is MalformedResponseError
        assert (error.came, error.partial.text) == (["par"], "par")

    asyncio.run(main())


def test_a_deadline_that_has_passed_sends_nothing(transport_to) -> None:
    """It costs nothing, and says so."""

    async def main() -> None:
        async with RawServer(answer("late")) as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, deadline=asyncio.get_running_loop().time())

        assert type(error) is RequestTimeoutError
        assert (error.limit, error.processed) == ("deadline", False)
        assert server.requests == []

    asyncio.run(main())


@pytest.mark.parametrize("script", [[WAIT], [STREAM, delta("par"), WAIT]], ids=["silent", "stalled"])
def test_a_silent_server_runs_into_the_deadline(transport_to, script) -> None:
    """What is left of the deadline is the client's limit for each read."""

    async def main() -> None:
        async with RawServer(answer("built"), script) as server, build_stack([], transport_to(server)) as stack:
            await stack(Request.chat("sim", "hi"))  # what building a client takes is no part of the limit
            error = await failure(stack, streams=True, deadline=asyncio.get_running_loop().time() + 0.1)
            await server.until(lambda: server.open == 0)

        assert type(error) is RequestTimeoutError
        assert (error.limit, error.processed) == ("read", True)
        assert 0 < error.seconds <= 0.1
        assert (error.partial.text if error.partial else "") == "".join(error.came)

    asyncio.run(main())


def test_without_a_deadline_the_transport_has_limits_of_its_own(transport_to) -> None:
    """`read_timeout` is for each wait; a deadline that is later does not make it longer."""

    async def main() -> None:
        async with (
            RawServer([WAIT]) as server,
            build_stack([], transport_to(server, read_timeout=0.05)) as stack,
        ):
            for deadline in (None, asyncio.get_running_loop().time() + 60):
                error = await failure(stack, deadline=deadline)

                assert (type(error), error.limit, error.seconds) == (RequestTimeoutError, "read", 0.05)

    asyncio.run(main())


def test_a_server_that_drips_runs_into_the_deadline(transport_to) -> None:
    """Each read is quick enough; the moment counts all the same."""

    async def main() -> None:
        class Dripping(RawServer):
            async def _answer(self, reader, writer) -> bool:
                await reader.readuntil(b"}")
                writer.write(STREAM)
                while True:
                    writer.write(delta("x"))
                    await asyncio.sleep(0.01)

        async with Dripping() as server, build_stack([], transport_to(server)) as stack:
            error = await failure(stack, streams=True, deadline=asyncio.get_running_loop().time() + 0.3)

        assert (type(error), error.limit, error.processed) == (RequestTimeoutError, "deadline", True)
        assert error.partial.text == "".join(error.came)

    asyncio.run(main())


def test_a_consumer_that_holds_the_stream_back_costs_no_time(transport_to) -> None:
    """The deadline is the provider's; who reads slowly is not cut for it."""

    async def main() -> None:
        async with (
            RawServer(streamed("Hel", "lo", " there")) as server,
            build_stack([], transport_to(server), stream_buffer=1) as stack,
        ):
            request = Request.chat("sim", "hi").evolve(deadline=asyncio.get_running_loop().time() + 0.4)
            async with stack.stream(request) as stream:
                async for _ in stream:
                    await asyncio.sleep(0.2)

        assert stream.response.text == "Hello there"

    asyncio.run(main())


def test_waiting_for_a_connection_was_never_sent(transport_to) -> None:
    """With every connection taken a call waits, and its end is no sign of a sick service."""

    async def main() -> None:
        async with (
            RawServer([WAIT]) as server,
            build_stack([], transport_to(server, max_connections=1)) as stack,
        ):
            first = asyncio.ensure_future(stack(Request.chat("sim", "hi")))
            await server.until(lambda: server.requests)
            error = await failure(stack, deadline=asyncio.get_running_loop().time() + 0.05)
            first.cancel()

        assert type(error) is RequestTimeoutError
        assert error.limit in ("pool", "connect")
        assert not error.processed

    asyncio.run(main())


def test_a_limit_above_cuts_the_exchange(transport_to) -> None:
    """A Timeout layer ends a call that is within every limit of the client."""

    async def main() -> None:
        async with (
            RawServer([STREAM, delta("par"), WAIT]) as server,
            build_stack([Timeout(60, idle=0.05)], transport_to(server)) as stack,
        ):
            error = await failure(stack, streams=True)
            await server.until(lambda: server.open == 0)

        assert (type(error), error.limit) == (RequestTimeoutError, "idle")
        assert error.call.attempts[0].outcome == "timeout"

    asyncio.run(main())
