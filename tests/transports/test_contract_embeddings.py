"""Every transport whose provider has vectors: one more kind of request, and the same rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import KINDS, LIMITS, Kind, Knife, talking

from llamina import (
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    OverloadedError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Timeout,
    Usage,
)
from llamina.testing import cut, drip, garbage, no_usage, stall, status, vectors, with_headers

TEXTS = ["one", "another one"]
ASK = Request.embed("sim-embed", TEXTS)
VECTORS = vectors([0.25, 0.5, -1.0], [1.0, 0.0, 0.125], usage=Usage(7))
FAULTS = {
    "throttled": (status(429), RateLimitError),
    "overloaded": (status(529, billed=True), OverloadedError),
    "invalid": (status(400), InvalidRequestError),
    "cut": ([cut()], NetworkError),
    "silent": ([stall()], RequestTimeoutError),
    "html": (garbage(), MalformedResponseError),
    "a completion": (garbage('{"choices": []}', content_type="application/json"), MalformedResponseError),
    "too few": (vectors([1.0]), MalformedResponseError),
    "too many": (vectors([1.0], [2.0], [3.0]), MalformedResponseError),
}

each_transport = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.wire != "anthropic"], ids=str)


@pytest.mark.parametrize("item", [VECTORS, drip(VECTORS, 0.00002)], ids=["at once", "dripped"])
@each_transport
def test_vectors_arrive(kind: Kind, item: Any) -> None:
    """One for each text, in their order, exactly as they were said, beside the chats of the same transport."""

    async def main() -> None:
        async with talking(kind, [item, "and a chat"]) as talk:
            response = await talk.whole(ASK)
            body = talk.body
            chat = await talk.whole()

        assert response.vectors == VECTORS.vectors
        assert (response.usage, response.finish_reason, response.text) == (Usage(7), "stop", "")
        assert (response.request_id, response.model) == ("req-sim-1", "sim-embed")
        assert (body["model"], body["input"]) == ("sim-embed", TEXTS)
        assert chat.text == "and a chat"

    asyncio.run(main())


@each_transport
def test_the_edge_of_a_stream_takes_vectors(kind: Kind) -> None:
    """There is nothing to stream, and the answer is the same."""

    async def main() -> None:
        async with talking(kind, [VECTORS]) as talk:
            events, response = await talk.events(ASK)

        assert [event.text for event in events] == []
        assert response.vectors == VECTORS.vectors

    asyncio.run(main())


@each_transport
def test_parameters_go_along(kind: Kind) -> None:
    """As the caller wrote them."""

    async def main() -> None:
        async with talking(kind, [VECTORS]) as talk:
            await talk.whole(ASK.with_params(dimensions=3, user="ada"))

            assert (talk.body["dimensions"], talk.body["user"]) == (3, "ada")

    asyncio.run(main())


@each_transport
def test_vectors_without_an_account_are_estimated(kind: Kind) -> None:
    """The texts are known, so is about what they take; and limits are told as ever."""

    async def main() -> None:
        async with talking(kind, [with_headers(no_usage(VECTORS), LIMITS[kind.wire])]) as talk:
            response = await talk.whole(ASK)

        (attempt,) = response.call.attempts
        assert attempt.usage_source == "estimated"
        assert (attempt.usage.input_tokens > 0, attempt.usage.output_tokens) == (True, 0)
        assert response.rate_limit == {"limit_tokens": 1000, "remaining_tokens": 90}

    asyncio.run(main())


@pytest.mark.parametrize("name", FAULTS)
@each_transport
def test_a_fault_is_named(kind: Kind, name: str) -> None:
    """Refusals, broken connections, answers that are none, and a number of vectors that does not fit."""

    async def main() -> LLMError:
        item, error_class = FAULTS[name]
        async with talking(kind, [item], Timeout(0.1 if name == "silent" else 30)) as talk:
            error = await talk.failure(False, ASK)

        assert type(error) is error_class
        assert [attempt.outcome for attempt in error.call.attempts] == [error_class.outcome]

    asyncio.run(main())


@each_transport
def test_a_call_can_be_cancelled_wherever_it_waits(kind: Kind) -> None:
    """With one connection in the pool: one that stayed lent would stop the next call."""

    async def main() -> None:
        knife = Knife(step=1)
        async with talking(kind, VECTORS, knife, max_connections=1) as talk, asyncio.timeout(60):
            while True:
                call = asyncio.create_task(talk.whole(ASK))
                await asyncio.wait([call])
                if not knife.struck:
                    break
                assert call.cancelled()
                await talk.provider.settled()
                knife.step += 1

            assert call.result().vectors == VECTORS.vectors
            talk.forget_what_never_arrived()

    asyncio.run(main())


@each_transport
def test_many_calls_at_once_are_answered(kind: Kind) -> None:
    """Each gets the vectors of its own text."""

    async def main() -> None:
        def measure(request: Request) -> Any:
            return vectors(*[[float(len(message.text))] for message in request.messages])

        async with talking(kind, measure) as talk:
            calls = [talk.whole(Request.embed("sim", ["x" * number, "y"])) for number in range(1, 101)]
            answers = await asyncio.gather(*calls)

            assert [answer.vectors for answer in answers] == [((float(number),), (1.0,)) for number in range(1, 101)]

    asyncio.run(main())
