"""Every transport on every wire: refusals, errors in the midst of an answer, and broken connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import ASK, KEY, LIMITS, PROMPT, Kind, each_form, each_sdk, each_transport, shown, talking

from llamina import (
    AuthenticationError,
    Constant,
    ContentFilterError,
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
    RequestTimeoutError,
    Retry,
    ServerError,
    Timeout,
)
from llamina.testing import cut, error_event, garbage, slow_headers, stall, status

TOO_LARGE = "Request too large for sim on tokens per min (TPM): Limit 30000, Requested 40000."
REFUSALS = {
    "invalid": (status(400), InvalidRequestError),
    "too long": (status(400, code="context_length_exceeded"), ContextLengthError),
    "filtered": (status(400, code="content_filter"), ContentFilterError),
    "unauthorised": (status(401), AuthenticationError),
    "unpaid": (status(402), QuotaExceededError),
    "forbidden": (status(403), PermissionDeniedError),
    "unknown": (status(404), NotFoundError),
    "timed out": (status(408), RequestTimeoutError),
    "conflict": (status(409), InvalidRequestError),
    "bulky": (status(413), InvalidRequestError),
    "unprocessable": (status(422), InvalidRequestError),
    "throttled": (status(429), RateLimitError),
    "quota": (status(429, code="insufficient_quota"), QuotaExceededError),
    "above the limit": (status(429, message=TOO_LARGE), InvalidRequestError),
    "failed": (status(500), ServerError),
    "bad gateway": (status(502), ServerError),
    "unavailable": (status(503), ServerError),
    "gateway timeout": (status(504), ServerError),
    "overloaded": (status(529), OverloadedError),
}
SAID = {
    "overloaded": (error_event("overloaded_error"), OverloadedError),
    "failed": (error_event(), ServerError),
    "throttled": (error_event("rate_limit_error", code="rate_limit_exceeded"), RateLimitError),
    "quota": (error_event("insufficient_quota", code="insufficient_quota"), QuotaExceededError),
}
FAULTS = {
    "cut at once": ([cut()], NetworkError),
    "reset at once": ([cut(reset=True)], NetworkError),
    "cut": (["par", 0.01, cut()], NetworkError),
    "reset": (["par", 0.02, cut(reset=True)], NetworkError),
    "cut quietly": (["par", 0.01, cut(quietly=True)], MalformedResponseError),
    "silent": ([stall()], RequestTimeoutError),
    "stalled": (["par", stall()], RequestTimeoutError),
    "slow headers": (slow_headers(30), RequestTimeoutError),
    "html": (garbage(), MalformedResponseError),
    "other json": (garbage('{"weird": 1}', content_type="application/json"), MalformedResponseError),
    "broken json": (garbage('{"id": "x", "cho', content_type="application/json"), MalformedResponseError),
    "no stream": (garbage("data: nonsense\n\n", content_type="text/event-stream"), MalformedResponseError),
    "empty stream": (garbage("", content_type="text/event-stream"), MalformedResponseError),
}
SLOW = ("silent", "stalled", "slow headers")


@pytest.mark.parametrize("name", REFUSALS)
@each_form
@each_transport
def test_a_refusal_is_classified(kind: Kind, streams: bool, name: str) -> None:
    """By status and words, with the wait that was asked for, the limits, and the name of the request."""

    async def main() -> None:
        refusal, error_class = REFUSALS[name]
        headers = {**refusal.headers, "retry-after": "3", **LIMITS[kind.wire]}
        item = status(refusal.status, code=refusal.code, type=refusal.type, message=refusal.message, headers=headers)
        async with talking(kind, [item]) as talk:
            error = await talk.failure(streams)

        assert type(error) is error_class
        assert (error.status, error.request_id, error.retry_after) == (refusal.status, "req-sim-1", 3.0)
        assert (error.model, error.partial) == ("sim", None)
        assert refusal.message in str(error)
        assert error.rate_limit == error.call.rate_limit == {"limit_tokens": 1000, "remaining_tokens": 90}
        assert [attempt.outcome for attempt in error.call.attempts] == [error_class.outcome]

    asyncio.run(main())


@each_form
@each_transport
def test_only_our_retries_are_made(kind: Kind, streams: bool) -> None:
    """The provider sees as many requests as `Retry` allows, though it asks for more."""
    error, requests = asyncio.run(retried(kind, streams, given=False))

    assert requests == 3
    assert [attempt.status for attempt in error.call.attempts] == [500, 429, 503]


@each_form
@each_sdk
def test_the_retries_of_a_client_are_not_made(kind: Kind, streams: bool) -> None:
    """A user's client of an SDK, set up for five of them, makes none."""
    error, requests = asyncio.run(retried(kind, streams, given=True))

    assert requests == len(error.call.attempts) == 3


async def retried(kind: Kind, streams: bool, *, given: bool) -> tuple[LLMError, int]:
    """How three attempts end, and how many requests came."""
    refusals = [status(500), status(429, retry_after=0.001), status(503, headers={"x-should-retry": "true"})]
    layer = Retry(attempts=3, backoff=Constant(0), budget=None)
    async with talking(kind, [*refusals, "too late"], layer, given=given) as talk:
        error = await talk.failure(streams)
        return error, len(talk.provider.requests)


@pytest.mark.parametrize("name", SAID)
@each_form
@each_transport
def test_an_error_instead_of_an_answer_is_classified(kind: Kind, streams: bool, name: str) -> None:
    """The status was a success; what was said is none, as the first event of a stream or as a body."""

    async def main() -> None:
        said, error_class = SAID[name]
        async with talking(kind, [said]) as talk:
            error = await talk.failure(streams)

        assert type(error) is error_class
        assert error.request_id == "req-sim-1"
        assert error.partial is None or error.partial.message.parts == ()
        assert said.message in str(error)

    asyncio.run(main())


@pytest.mark.parametrize("name", SAID)
@each_transport
def test_an_error_in_the_midst_keeps_what_came(kind: Kind, name: str) -> None:
    """What was streamed before it was delivered, and is on the error."""

    async def main() -> None:
        said, error_class = SAID[name]
        came: list[str] = []
        async with talking(kind, [["Hel", "lo", 0.01, said]]) as talk:
            with pytest.raises(LLMError) as caught:
                async with talk.stack.stream(ASK) as stream:
                    async for event in stream:
                        came.append(event.text)

        assert type(caught.value) is error_class
        assert "".join(came) == caught.value.partial.text == "Hello"
        assert caught.value.call.attempts[0].usage.output_tokens > 0

    asyncio.run(main())


@pytest.mark.parametrize("name", FAULTS)
@each_form
@each_transport
def test_a_fault_is_named(kind: Kind, streams: bool, name: str) -> None:
    """Each way in which an answer breaks off or is none has its class, and is charged unless it certainly was nothing."""

    async def main() -> None:
        script, error_class = FAULTS[name]
        limit = Timeout(0.25 if name in SLOW else 30)
        async with talking(kind, [script], limit) as talk:
            error = await talk.failure(streams)

            (attempt,) = error.call.attempts
            assert type(error) is error_class
            assert attempt.outcome == error_class.outcome
            assert (attempt.usage_source, attempt.usage.input_tokens > 0) == ("estimated", True)

    asyncio.run(main())


@pytest.mark.parametrize("fault", [cut(), cut(reset=True), cut(quietly=True)], ids=["cut", "reset", "quietly"])
@each_transport
def test_a_stream_that_breaks_off_leaves_what_came(kind: Kind, fault: Any) -> None:
    """The partial answer is on the error, and says no finish reason that nobody gave."""

    async def main() -> LLMError:
        # A reset may overtake what was sent before, so it waits until that has been read.
        read = asyncio.Event()
        async with talking(kind, [["par", read, fault]]) as talk:
            with pytest.raises(LLMError) as caught:
                async with talk.stack.stream(ASK) as stream:
                    async for _ in stream:
                        read.set()
            return caught.value

    error = asyncio.run(main())

    assert error.partial.text == "par"
    assert error.partial.finish_reason is None
    assert error.call.attempts[0].usage.output_tokens > 0


@each_form
@each_transport
def test_a_deadline_bounds_a_call(kind: Kind, streams: bool) -> None:
    """Without any layer: the transport ends an attempt whose time is over."""

    async def main() -> None:
        async with talking(kind, [["par", stall()]]) as talk:
            asked = ASK.evolve(deadline=asyncio.get_running_loop().time() + 0.1)
            error = await talk.failure(streams, asked)
            await talk.provider.settled()

            assert type(error) is RequestTimeoutError
            assert talk.provider.aborted == 1

    asyncio.run(main())


@each_transport
def test_a_deadline_that_has_passed_sends_nothing(kind: Kind) -> None:
    """Nobody waits for the answer any more."""

    async def main() -> None:
        async with talking(kind, ["late"]) as talk:
            asked = ASK.evolve(deadline=asyncio.get_running_loop().time() - 1)
            error = await talk.failure(False, asked)
            requests = len(talk.provider.requests)
            for call in talk.calls.values():
                call.attempts.clear()  # it was an attempt, but none that reached the provider

        assert type(error) is RequestTimeoutError
        assert requests == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "script",
    [
        status(401, message=f"Incorrect API key provided: {KEY}"),
        error_event(code=KEY, message=f"what is {KEY}"),
        ["par", cut()],
        [cut()],
        garbage(f"<html>{KEY}</html>"),
    ],
    ids=["echoed", "echoed in an answer", "cut", "cut at once", "html"],
)
@each_form
@each_transport
def test_no_error_shows_a_key_or_a_prompt(kind: Kind, streams: bool, script: Any) -> None:
    """Neither its texts nor its attributes, causes, pickle or the local variables of its traceback."""

    async def main() -> LLMError:
        async with talking(kind, [script]) as talk:
            return await talk.failure(streams)

    text = shown(asyncio.run(main()))

    assert KEY not in text
    assert PROMPT not in text
    assert "uthorization" not in text.replace("authentication", "")
