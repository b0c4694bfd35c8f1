"""The client: what both of its faces, async and blocking, promise alike."""

from __future__ import annotations

from typing import Any

import pytest

from llamina import (
    Cache,
    CacheControl,
    Client,
    ConfigurationError,
    Conversation,
    CostMeter,
    InvalidRequestError,
    Message,
    NetworkError,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    TextDelta,
    build_stack,
)
from llamina.testing import FakeTransport, answer


def test_a_chat_is_answered_by_the_stack(client_of: Any) -> None:
    """A text, the default model and a parameter arrive as one request; the whole Response comes back."""
    fake = FakeTransport("hello")

    response = client_of(build_stack([], fake), model="m").chat("hi", temperature=0)

    (request,) = fake.requests
    assert (request.model, request.messages, request.params) == ("m", (Message.user("hi"),), {"temperature": 0})
    assert response.text == "hello"
    assert [attempt.outcome for attempt in response.call.attempts] == ["ok"]


def test_messages_may_be_given_as_the_wire_has_them(client_of: Any) -> None:
    """A list of mappings, messages and texts is what `Request.chat` makes of it."""
    fake = FakeTransport("hello")

    client_of(fake, model="m").chat(messages=[{"role": "system", "content": "Be brief."}, Message.user("hi")])

    assert fake.requests[0].messages == (Message.system("Be brief."), Message.user("hi"))


def test_what_a_call_says_is_laid_over_the_defaults(client_of: Any) -> None:
    """Model and parameters are replaced, tags and parameters merged."""
    fake = FakeTransport("hello")
    client = client_of(fake, model="m", tags={"app": "x", "user": "?"}, temperature=1, seed=7)

    client.chat("hi", model="n", tags={"user": "ada"}, temperature=0)

    request = fake.requests[0]
    assert (request.model, request.tags) == ("n", {"app": "x", "user": "ada"})
    assert request.params == {"temperature": 0, "seed": 7}


def test_a_changed_client_leaves_the_first_as_it_was(client_of: Any) -> None:
    """`with_` gives another client of the same stack."""
    fake = FakeTransport("hello")
    first = client_of(fake, model="m", seed=7)

    first.with_(model="n", temperature=0).chat("hi")
    first.chat("hi")

    assert [(request.model, request.params) for request in fake.requests] == [
        ("n", {"seed": 7, "temperature": 0}),
        ("m", {"seed": 7}),
    ]


def test_a_stream_gives_events_and_then_the_response(client_of: Any) -> None:
    """Events come in order; the Response and the call are there at the end."""
    client = client_of(build_stack([], FakeTransport([["Hel", "lo"]])), model="m")

    with client.stream("hi") as stream:
        events = list(stream)

    assert events == [TextDelta("Hel"), TextDelta("lo")]
    assert stream.response.text == "Hello"
    assert stream.call.attempts[0].outcome == "ok"


def test_the_text_of_a_stream_can_be_read_without_entering_it(client_of: Any) -> None:
    """`.text` opens the stream, gives strings and closes it."""
    fake = FakeTransport([["Hel", "", "lo"]])

    pieces = list(client_of(fake, model="m").stream("hi").text)

    assert pieces == ["Hel", "lo"]
    assert fake.in_flight == 0


def test_the_text_of_an_open_stream_goes_on_from_where_it_is(client_of: Any) -> None:
    """Inside the block `.text` reads what is left."""
    client = client_of(FakeTransport([["a", "b", "c"]]), model="m")

    with client.stream("hi") as stream:
        first = next(iter(stream))
        rest = list(stream.text)

    assert (first.text, rest) == ("a", ["b", "c"])


def test_a_stream_is_completed_without_looking_at_it(client_of: Any) -> None:
    """`complete()` gives the Response."""
    client = client_of(FakeTransport([["Hel", "lo"]]), model="m")

    with client.stream("hi") as stream:
        assert stream.complete().text == "Hello"


def test_leaving_a_stream_early_cancels_the_call(client_of: Any) -> None:
    """When the block is left the provider is told, and the record says so."""
    fake = FakeTransport([["Once ", "upon ", 3600.0, "a time"]])

    with client_of(build_stack([Retry()], fake), model="m").stream("hi") as stream:
        for event in stream:
            if event.text == "upon ":
                break

    assert fake.in_flight == 0
    assert stream.call.attempts[0].outcome == "cancelled"
    with pytest.raises(LookupError, match="left early"):
        stream.response  # noqa: B018


def test_what_is_left_of_a_complete_stream_may_be_read_after_the_block(client_of: Any) -> None:
    """The call had ended when the block was left: nothing was cancelled, nothing is lost."""
    client = client_of(FakeTransport([["a", "b", "c"], "hello"]), model="m")

    with client.stream("hi") as stream:
        first = next(iter(stream))
        client.chat("and meanwhile")  # until this one is answered, the other has ended

    assert [first.text, *[event.text for event in stream]] == ["a", "b", "c"]
    assert stream.response.text == "abc"


def test_a_stream_that_was_left_gives_nothing_more(client_of: Any) -> None:
    """What had come is forgotten."""
    client = client_of(FakeTransport([["a", "b", 3600.0, "c"]]), model="m")

    with client.stream("hi") as stream:
        next(iter(stream))

    assert list(stream) == []


def test_an_error_is_the_object_that_was_raised(client_of: Any) -> None:
    """Nothing is wrapped or copied, and the record is on it."""
    failure = ServerError("down")

    with pytest.raises(ServerError) as caught:
        client_of(build_stack([], FakeTransport([failure])), model="m").chat("hi")

    assert caught.value is failure
    assert caught.value.call.attempts[0].outcome == "server_error"


def test_an_error_in_mid_stream_comes_after_what_was_delivered(client_of: Any) -> None:
    """What came is read first; then the same error object is raised, once."""
    failure = NetworkError("cut")
    client = client_of(FakeTransport([["Hel", failure]]), model="m")
    seen = []

    with pytest.raises(NetworkError) as caught, client.stream("hi") as stream:
        for event in stream:
            seen.append(event.text)

    assert (seen, caught.value is failure) == (["Hel"], True)


def test_an_unseen_error_is_raised_at_the_end_of_the_block(client_of: Any) -> None:
    """A reader who never looked does not believe that all went well."""
    client = client_of(FakeTransport([ServerError("down"), "hello"]), model="m")

    with pytest.raises(ServerError), client.stream("hi"):
        client.chat("and meanwhile")  # until this one is answered, the other has failed


def test_a_stream_is_entered_first_and_once(client_of: Any) -> None:
    """Reading before, and entering again, are mistakes with a remedy."""
    client = client_of(FakeTransport("hello"), model="m")
    stream = client.stream("hi")

    with pytest.raises(RuntimeError, match="enter the stream first"):
        next(iter(stream))
    with stream:
        list(stream)
    with pytest.raises(RuntimeError, match="entered once"), stream:
        pass


def test_a_timeout_bounds_the_whole_call_whatever_the_stack_is(client_of: Any) -> None:
    """The limit is enforced over all tries, and the error carries the record of the call."""
    fake = FakeTransport([[3600.0, "late"]])
    client = client_of(build_stack([Retry()], fake), model="m", timeout=3600)

    with pytest.raises(RequestTimeoutError) as caught:
        client.chat("hi", timeout=0.01)

    assert (caught.value.limit, fake.in_flight) == ("total", 0)
    assert [attempt.outcome for attempt in caught.value.call.attempts] == ["timeout"]


def test_layers_see_the_timeout_as_a_deadline(client_of: Any) -> None:
    """So that transports hand on the time that is left; None lifts the client's limit."""
    fake = FakeTransport("hello")
    client = client_of(fake, model="m", timeout=30)

    client.chat("hi")
    client.chat("hi", timeout=None)

    assert fake.requests[0].deadline is not None
    assert fake.requests[1].deadline is None


def test_a_timeout_cuts_a_stream(client_of: Any) -> None:
    """What came before the limit is delivered and is on the error."""
    client = client_of(FakeTransport([["Hel", 3600.0, "lo"]]), model="m", timeout=0.01)
    seen = []

    with pytest.raises(RequestTimeoutError) as caught, client.stream("hi") as stream:
        for event in stream:
            seen.append(event.text)

    assert (seen, caught.value.partial.text) == (["Hel"], "Hel")


def test_a_call_can_pass_the_cache_by(client_of: Any) -> None:
    """`no_cache` asks anew; `cache=` says it all."""
    fake = FakeTransport(["one", "two"])
    client = client_of(build_stack([Cache()], fake), model="m", cache=CacheControl(ttl=60))

    texts = [client.chat("hi").text, client.chat("hi").text, client.chat("hi", no_cache=True).text]

    assert texts == ["one", "one", "two"]
    assert [request.cache for request in fake.requests] == [CacheControl(ttl=60), CacheControl(no_cache=True, ttl=60)]


def test_embeddings_take_no_parameters_of_chats(client_of: Any) -> None:
    """Texts and the call's own parameters are sent; the client's temperature is not."""
    vectors = Response(Message("assistant"), vectors=((0.5, 1.0), (2.0, 3.0)), finish_reason="stop")
    fake = FakeTransport([vectors])
    client = client_of(fake, model="m", tags={"user": "ada"}, temperature=0)

    response = client.embed(["a", "b"], model="e", dimensions=2)

    (request,) = fake.requests
    assert response.vectors == ((0.5, 1.0), (2.0, 3.0))
    assert (request.kind, request.model, request.params) == ("embed", "e", {"dimensions": 2})
    assert request.tags == {"user": "ada"}


def test_a_call_without_a_model_says_where_to_name_one(client_of: Any) -> None:
    """The remedy is in the message."""
    client = client_of(FakeTransport("hello"))

    with pytest.raises(InvalidRequestError, match=r"no model is known.*Client\(stack, model="):
        client.chat("hi")
    with pytest.raises(InvalidRequestError, match=r"client\.embed\(\.\.\., model="):
        client.embed("hi")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timeout": 0}, r"timeout=\) must be a number of seconds above 0, got 0"),
        ({"timeout": float("nan")}, "got nan"),
        ({"timeout": "5"}, "got '5'"),
        ({"tags": {"user": 1}}, r"tags=\) must map strings to strings"),
        ({"model": ""}, r"model=\) must be the name of a model, got ''"),
        ({"cache": 60}, r"cache=\) must be a CacheControl, got 60"),
        ({"stream": True}, r"client\.stream\("),
    ],
)
def test_a_wrong_argument_is_refused_where_it_is_given(client_of: Any, wrong: Any, says: str) -> None:
    """At a call it is an invalid request, at the client a wrong configuration."""
    client = client_of(FakeTransport("hello"), model="m")

    with pytest.raises(InvalidRequestError, match=says):
        client.chat("hi", **wrong)
    with pytest.raises(ConfigurationError, match=says):
        client.with_(**wrong)


def test_leaving_the_client_closes_the_stack(client_of: Any) -> None:
    """One that is entered closes; one that is only called does not."""
    fake = FakeTransport("hello")
    client = client_of(fake, model="m")

    client.chat("hi")
    assert fake.closed == 0
    with client:
        client.chat("hi")

    assert fake.closed == 1


def test_costs_are_summed_by_tag(client_of: Any) -> None:
    """Tags of a call reach the meter."""
    meter = CostMeter(prices={"m": {"input": "1", "output": "1"}})
    client = client_of(build_stack([meter], FakeTransport(answer("x"))), model="m")

    client.chat("hi", tags={"user": "ada"})

    assert [row.attempts for row in meter.by("user").values()] == [1]


def test_a_handler_of_any_kind_will_do(client_of: Any) -> None:
    """A bare function gets a stack without layers; the stack is at hand."""

    async def handler(request: Request) -> Response:
        return Response.of(request.model)

    client = client_of(handler, model="m")

    assert client.chat("hi").text == "m"
    assert client.stack.transport is handler


def test_what_is_no_handler_is_refused() -> None:
    """A class, a text or another face is a mistake that is named at once."""
    stack = build_stack([], FakeTransport("hello"))

    for wrong in (FakeTransport, "m", Client(stack), stack.blocking()):
        with pytest.raises(ConfigurationError, match="Client"):
            Client(wrong)


def test_the_repr_shows_the_stack_and_no_prompt(client_of: Any) -> None:
    """It is for people, and for logs."""
    client = Client(build_stack([Retry()], FakeTransport("hello")), model="m")

    assert repr(client) == "Client(<Stack Retry > FakeTransport>, model='m')"
    assert isinstance(client.conversation("secret"), Conversation)
    assert "secret" not in repr(client.conversation("secret"))
