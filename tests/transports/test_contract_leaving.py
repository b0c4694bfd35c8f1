"""Every transport on every wire: cancelled and left calls leave nothing behind, neither here nor at the provider."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import ASK, KINDS, LIMITS, SDKS, Kind, Knife, each_form, each_transport, talking

from llamina import LLMError, Request, Response, Usage
from llamina.testing import answer, stall, with_headers


@each_form
@each_transport
def test_a_call_can_be_cancelled_wherever_it_waits(kind: Kind, streams: bool) -> None:
    """At each of its points in turn, with one connection in the pool: one that stayed lent would stop the next call."""

    async def main() -> None:
        knife = Knife(step=1)
        async with talking(kind, [["in ", "some ", 0.001, "pieces"]], knife, repeat=True, max_connections=1) as talk:
            async with asyncio.timeout(60):
                while True:
                    call = asyncio.create_task(talk.ask(streams))
                    await asyncio.wait([call])
                    if not knife.struck:
                        break
                    # The consumer of a stream was not cancelled himself: he is told so by an error.
                    assert call.cancelled() or isinstance(call.exception(), LLMError)
                    assert talk.attempts[-1].outcome == "cancelled"
                    await talk.provider.settled()
                    knife.step += 1

            assert knife.step > 3
            assert call.result().text == "in some pieces"
            assert talk.provider.in_flight == 0
            talk.forget_what_never_arrived()

    asyncio.run(main())


@each_transport
def test_a_stream_that_is_left_is_closed_at_once(kind: Kind) -> None:
    """The provider sees the client leave; what it had said is charged, exactly where it had said it."""

    async def main() -> None:
        script = ["Once upon", stall(), answer("", usage=Usage(777, 5, 70))]
        async with talking(kind, [script, "another"], max_connections=1) as talk:
            async with talk.stack.stream(ASK) as stream:
                async for event in stream:
                    if event.text:
                        break
            await talk.provider.settled()
            (attempt,) = stream.call.attempts

            assert talk.provider.aborted == 1
            assert (attempt.outcome, attempt.usage_source) == ("cancelled", "estimated")
            assert attempt.usage.output_tokens > 0
            if kind.wire == "anthropic":
                assert (attempt.usage.input_tokens, attempt.usage.cache_read_tokens) == (777, 70)
            async with asyncio.timeout(10):
                assert (await talk.whole()).text == "another"

    asyncio.run(main())


@each_form
@pytest.mark.parametrize(("kind", "given"), [*[(kind, False) for kind in KINDS], *[(kind, True) for kind in SDKS]])
def test_a_cancelled_call_frees_its_connection(kind: Kind, given: bool, streams: bool) -> None:
    """In the midst of an answer; the next call has the only connection that there may be, of whosever client."""

    async def main() -> None:
        arrived = asyncio.Event()

        def begin(_request: Request) -> list[Any]:
            arrived.set()
            return ["never", stall()]

        settings = {"given": True} if given else {"max_connections": 1}
        async with talking(kind, [begin, "another"], **settings) as talk:
            call = asyncio.create_task(talk.ask(streams))
            await arrived.wait()
            await asyncio.sleep(0.005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await talk.provider.settled()

            assert talk.provider.aborted == 1
            async with asyncio.timeout(10):
                assert (await talk.ask(streams)).text == "another"

    asyncio.run(main())


@each_transport
def test_many_streams_are_left_at_once(kind: Kind) -> None:
    """Each of them is told to the provider, and each is one attempt."""

    async def main() -> None:
        async with talking(kind, [["first", stall()]], repeat=True) as talk:

            async def leave() -> Response | None:
                async with talk.stack.stream(ASK) as stream:
                    async for event in stream:
                        if event.text:
                            return None
                return stream.response

            left = await asyncio.gather(*[leave() for _ in range(50)])
            await talk.provider.settled()

            assert left == [None] * 50
            assert talk.provider.aborted == 50

    asyncio.run(main())


@each_transport
def test_what_the_headers_said_is_kept_of_a_stream_that_was_left(kind: Kind) -> None:
    """The limits and the name of the request stand in the ledger, however the stream ended."""

    async def main() -> None:
        script = [with_headers(["a", asyncio.Event(), "never"], LIMITS[kind.wire])]
        async with talking(kind, script) as talk:
            async with talk.stack.stream(ASK) as stream:
                await anext(stream)

            (attempt,) = stream.call.attempts
            assert attempt.outcome == "cancelled"
            assert (attempt.request_id, stream.call.rate_limit) == (
                "req-sim-1",
                {"limit_tokens": 1000, "remaining_tokens": 90},
            )

    asyncio.run(main())
