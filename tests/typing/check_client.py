"""The client and its blocking face as people write them; this file is checked, not run."""

from __future__ import annotations

from typing import assert_type

from llamina import Client, Conversation, Event, Request, Response, Stack
from llamina.blocking import BlockingClient, BlockingConversation, BlockingStack
from llamina.testing import FakeTransport


async def asynchronous(stack: Stack) -> None:
    """With await."""
    client = Client(stack, model="m", timeout=5, tags={"user": "ada"}, temperature=0)
    assert_type(await client.chat("hi", timeout=None, max_tokens=5), Response)
    async with client.with_(model="n").stream([{"role": "user", "content": "hi"}]) as stream:
        async for event in stream:
            assert_type(event, Event)
        assert_type(stream.response, Response)
    async for piece in client.stream("hi").text:
        assert_type(piece, str)
    assert_type(client.conversation("Be brief."), Conversation)
    assert_type(client.tools([len], max_rounds=2), Client)


def blocking(stack: Stack) -> None:
    """Without."""
    assert_type(stack.blocking(), BlockingStack)
    assert_type(stack.blocking()(Request.chat("m", "hi")), Response)
    with Client(FakeTransport("hi"), model="m").blocking() as client:
        assert_type(client, BlockingClient)
        assert_type(client.chat("hi"), Response)
        assert_type(client.embed(["hi"]).vectors, tuple[tuple[float, ...], ...])
        with client.stream("hi") as stream:
            for event in stream:
                assert_type(event, Event)
        for piece in client.stream("hi").text:
            assert_type(piece, str)
        talk = client.conversation()
        assert_type(talk, BlockingConversation)
        assert_type(talk.fork().chat("hi", timeout=5), Response)
