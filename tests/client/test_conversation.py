"""Conversations: the history grows by a turn when its answer is complete, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from llamina import Client, Message, NetworkError, ServerError
from llamina.testing import FakeTransport, simulated_time


def test_each_turn_is_seen_by_the_next(client_of: Any) -> None:
    """System message, question, answer, question: the model gets all of it."""
    fake = FakeTransport(["Scattering.", "Redder."])
    talk = client_of(fake, model="m").conversation(system="Be brief.")

    talk.chat("Why is the sky blue?")
    talk.chat("And at dusk?")

    assert fake.requests[1].messages == (
        Message.system("Be brief."),
        Message.user("Why is the sky blue?"),
        Message.assistant("Scattering."),
        Message.user("And at dusk?"),
    )
    assert talk.messages == (*fake.requests[1].messages, Message.assistant("Redder."))


def test_defaults_of_a_conversation_are_its_own(client_of: Any) -> None:
    """Model, tags and parameters may differ from the client's, and a call's from both."""
    fake = FakeTransport("hello")
    talk = client_of(fake, model="m").conversation(model="n", tags={"user": "ada"}, temperature=1)

    talk.chat("hi", temperature=0)

    request = fake.requests[0]
    assert (request.model, request.tags, request.params) == ("n", {"user": "ada"}, {"temperature": 0})


def test_a_failed_call_leaves_the_history_as_it_was(client_of: Any) -> None:
    """The question is not in it, so that it can be asked again."""
    talk = client_of(FakeTransport([ServerError("down"), "hello"]), model="m").conversation()

    with pytest.raises(ServerError):
        talk.chat("hi")
    assert talk.messages == ()
    talk.chat("hi")

    assert talk.messages == (Message.user("hi"), Message.assistant("hello"))


def test_a_streamed_turn_is_kept_when_it_was_read_to_its_end(client_of: Any) -> None:
    """With the events read, the answer belongs to the history."""
    talk = client_of(FakeTransport([["Hel", "lo"]]), model="m").conversation()

    assert list(talk.stream("hi").text) == ["Hel", "lo"]

    assert talk.messages == (Message.user("hi"), Message.assistant("Hello"))


@pytest.mark.parametrize("script", [["Hel", "lo"], ["Hel", 3600.0, "lo"]])
def test_a_stream_that_was_left_leaves_the_history_as_it_was(client_of: Any, script: list[Any]) -> None:
    """Left is left, whether the call had ended meanwhile or not; another call may follow."""
    talk = client_of(FakeTransport([script, "again"]), model="m").conversation()

    with talk.stream("hi") as stream:
        next(iter(stream))
    assert talk.messages == ()
    talk.chat("hi")

    assert talk.messages[-1].text == "again"


def test_a_stream_that_failed_leaves_the_history_as_it_was(client_of: Any) -> None:
    """Half an answer is none."""
    talk = client_of(FakeTransport([["Hel", NetworkError("cut")]]), model="m").conversation()

    with pytest.raises(NetworkError):
        list(talk.stream("hi").text)

    assert talk.messages == ()


def test_two_calls_at_once_are_refused(client_of: Any) -> None:
    """The second would not know what the first was answered; a fork may be used instead."""
    talk = client_of(FakeTransport([["Hel", "lo"], "other"]), model="m").conversation()

    with talk.stream("hi") as stream:
        next(iter(stream))
        with pytest.raises(RuntimeError, match=r"waits for an answer already.*fork"):
            talk.chat("and?")
        assert talk.fork().chat("and?").text == "other"
        list(stream)

    assert talk.messages == (Message.user("hi"), Message.assistant("Hello"))


def test_a_stream_that_was_made_before_another_turn_is_refused(client_of: Any) -> None:
    """It would answer a history that is no longer there."""
    talk = client_of(FakeTransport("hello"), model="m").conversation()
    early = talk.stream("hi")

    talk.chat("first")

    with pytest.raises(RuntimeError, match="has gone on"), early:
        pass
    assert talk.chat("second").text == "hello"


def test_a_fork_goes_on_alone(client_of: Any) -> None:
    """Two branches share the past, not the future."""
    talk = client_of(FakeTransport("yes"), model="m").conversation()
    talk.chat("one")

    branch = talk.fork()
    branch.chat("two")

    assert [message.text for message in talk.messages] == ["one", "yes"]
    assert [message.text for message in branch.messages] == ["one", "yes", "two", "yes"]


@simulated_time
async def test_a_cancelled_call_gives_the_conversation_back() -> None:
    """After the cancellation it can be used again, and remembers nothing of it."""
    import asyncio

    talk = Client(FakeTransport([[60.0, "late"], "hello"]), model="m").conversation()
    task = asyncio.create_task(talk.chat("hi"))
    await asyncio.sleep(1)

    task.cancel()
    await asyncio.wait([task])

    assert (await talk.chat("hi")).text == "hello"
    assert len(talk.messages) == 2
