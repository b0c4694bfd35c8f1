"""The text of an async stream that is read without a block round it."""

from __future__ import annotations

import asyncio

import pytest

from llamina import Client, NetworkError
from llamina.testing import FakeTransport, simulated_time


@simulated_time
async def test_pieces_come_while_the_call_is_in_flight() -> None:
    """A piece is read when it was sent."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    seen = [
        (piece, loop.time() - start)
        async for piece in Client(FakeTransport([["a", 5.0, "b"]]), model="m").stream("hi").text
    ]

    assert seen == [("a", 0.0), ("b", pytest.approx(5.0))]


@simulated_time
async def test_leaving_the_loop_closes_the_stream() -> None:
    """The call is cancelled as soon as the event loop turns."""
    fake = FakeTransport([["a", 3600.0, "b"]])

    async for _ in Client(fake, model="m").stream("hi").text:
        break
    await asyncio.sleep(1)

    assert fake.in_flight == 0


@simulated_time
async def test_a_conversation_can_be_used_again_when_its_text_was_left() -> None:
    """At once: the loop need not turn in between."""
    talk = Client(FakeTransport([["a", 3600.0, "b"], "hello"]), model="m").conversation()

    async for _ in talk.stream("hi").text:
        break

    assert (await talk.chat("hi")).text == "hello"
    assert len(talk.messages) == 2


@simulated_time
async def test_the_text_can_be_closed() -> None:
    """`aclose` waits until the call is cleaned up, and is no harm before it began."""
    fake = FakeTransport([["a", 3600.0, "b"]])
    text = Client(fake, model="m").stream("hi").text
    await text.aclose()
    assert await anext(text) == "a"

    await text.aclose()

    assert fake.in_flight == 0
    assert [piece async for piece in text] == []


@simulated_time
async def test_a_reader_who_is_cancelled_takes_the_call_with_him() -> None:
    """The cancellation goes on when the call is cleaned up."""
    fake = FakeTransport([["a", 3600.0, "b"]])

    async def read() -> None:
        async for _ in Client(fake, model="m").stream("hi").text:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])

    assert (task.cancelled(), fake.in_flight) == (True, 0)


@simulated_time
async def test_an_error_is_raised_where_the_text_is_read() -> None:
    """And the stream is closed."""
    failure = NetworkError("cut")
    fake = FakeTransport([["a", failure]])
    seen = []

    with pytest.raises(NetworkError) as caught:
        async for piece in Client(fake, model="m").stream("hi").text:
            seen.append(piece)

    assert (seen, caught.value is failure, fake.in_flight) == (["a"], True, 0)
