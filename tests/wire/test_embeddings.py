"""The embeddings wire: texts go out as they were given, vectors come back in their order, and nothing is lost."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import Message, Request, Usage
from llamina.errors import InvalidRequestError, LLMError, MalformedResponseError, RateLimitError
from llamina.messages import Image
from llamina.wire import openai_embeddings as wire


def listed(*vectors: Any, **fields: Any) -> dict[str, Any]:
    """An answer as the provider writes it."""
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": data, "model": "embed-1", "usage": usage, **fields}


def test_texts_and_parameters_go_out() -> None:
    """One list of texts, whatever their number, and the parameters as they are."""
    request = Request.embed("embed-1", ["one", "two"], dimensions=256, unheard_of=True)

    body = wire.encode_request(request, stream=True)

    assert body == {"model": "embed-1", "input": ["one", "two"], "dimensions": 256, "unheard_of": True}


def test_tokens_go_out_verbatim() -> None:
    """A caller who has tokens passes them as `input`, which goes first."""
    request = Request.embed("embed-1", "x", input=[[1, 2], [3]])

    assert wire.encode_request(request)["input"] == [[1, 2], [3]]


@pytest.mark.parametrize(
    "request_",
    [Request.chat("m", "hi"), Request.embed("m", "x").evolve(messages=[Message.user(Image(b"x", "image/png"))])],
    ids=["a chat", "an image"],
)
def test_what_is_no_text_is_refused(request_: Request) -> None:
    """The error names what the wire cannot say."""
    with pytest.raises(InvalidRequestError, match="embeddings wire"):
        wire.encode_request(request_)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "input": ["one", "two"], "dimensions": 3},
        {"model": "m", "input": [1, 2, 3]},
        {"model": "m", "input": [[1, 2], [3]], "user": "ada"},
    ],
)
def test_a_request_comes_back_as_it_was(body: dict[str, Any]) -> None:
    """Reading and writing a body gives the same body."""
    assert wire.encode_request(wire.decode_request(body)) == body


def test_a_single_text_is_a_list_of_one() -> None:
    """Both forms mean the same to the provider."""
    request = wire.decode_request({"model": "m", "input": "one"})

    assert [message.text for message in request.messages] == ["one"]
    assert wire.encode_request(request)["input"] == ["one"]


@pytest.mark.parametrize("count", [1, 2])
def test_there_is_a_message_for_each_vector(count: int) -> None:
    """Layers that count messages see as many as there will be vectors, for tokens too."""
    request = wire.decode_request({"model": "m", "input": [[1, 2]] * count})

    assert len(request.messages) == count


@pytest.mark.parametrize("body", [[], {}, {"model": "m", "input": []}, {"model": "m", "input": {}}, {"input": ["x"]}])
def test_what_is_no_request_is_refused(body: Any) -> None:
    """A server says what is wrong with it."""
    with pytest.raises(InvalidRequestError):
        wire.decode_request(body)


def test_an_answer_has_vectors_and_usage() -> None:
    """One tuple for each text; there is no output to pay for."""
    response = wire.decode_response(listed([0.1, 0.2], [1, -2]), request_id="req_1")

    assert response.vectors == ((0.1, 0.2), (1.0, -2.0))
    assert response.usage == Usage(8, 0)
    assert (response.model, response.finish_reason, response.text) == ("embed-1", "stop", "")
    assert (response.request_id, response.wire, response.extra) == ("req_1", "embeddings", {})


def test_vectors_are_sorted_by_their_index() -> None:
    """A provider that works on several texts at once may answer in another order."""
    body = listed([0.0], [1.0], [2.0])
    body["data"].reverse()

    assert wire.decode_response(body).vectors == ((0.0,), (1.0,), (2.0,))


def test_packed_vectors_are_unpacked() -> None:
    """base64 holds floats of 32 bits, the least significant byte first; written back it is the same text."""
    packed = b64encode(struct.pack("<3f", 0.5, -1.25, 3.0)).decode()
    body = listed(packed)

    response = wire.decode_response(body)

    assert response.vectors == ((0.5, -1.25, 3.0),)
    assert wire.encode_response(response) == body


@pytest.mark.parametrize(
    "body",
    [
        listed([0.5, 1.5]),
        listed([0.5], id="embd-1", created=7, new={"a": 1}),
        listed([0.5], usage={"prompt_tokens": 3, "total_tokens": 3, "cost": 0.1}),
        listed([0.5], data=[{"object": "embedding", "index": 0, "embedding": [0.5], "flavour": "sweet"}]),
        listed([0.5], data=[{"object": "sparse", "index": 0, "embedding": [0.5]}]),
    ],
)
def test_an_answer_comes_back_as_it_was(body: dict[str, Any]) -> None:
    """Fields without a name here survive, of the answer and of an item."""
    assert wire.encode_response(wire.decode_response(body)) == body


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1), min_size=1))
def test_any_vectors_survive_packing(vectors: list[list[float]]) -> None:
    """Neither form loses a bit of a float of 32 bits."""
    packed = [b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]

    found = wire.decode_response(listed(*packed)).vectors

    assert found == wire.decode_response(listed(*vectors)).vectors == tuple([tuple(vector) for vector in vectors])


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        listed(),
        listed([0.5], data=["x"]),
        listed(None),
        listed(["0.5"]),
        listed([True]),
        listed("%%%"),
        listed("AAA="),
        listed([0.5], data=[{"index": 0}]),
    ],
)
def test_what_is_no_list_of_embeddings_is_refused(body: Any) -> None:
    """Nothing of it goes to a caller as if it were an answer."""
    with pytest.raises(MalformedResponseError):
        wire.decode_response(body, provider="p", model="m")


def test_an_error_in_a_success_is_classified() -> None:
    """Some gateways answer 200 and say what went wrong in the body."""
    with pytest.raises(RateLimitError) as caught:
        wire.decode_response({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, provider="p")

    assert caught.value.provider == "p"


def test_a_vector_too_few_is_noticed() -> None:
    """Vectors that belong to other texts would be worse than none; with tokens nobody can tell."""
    response = wire.decode_response(listed([0.5]))

    with pytest.raises(MalformedResponseError, match="2 texts were sent and 1 vectors"):
        wire.check_response(Request.embed("m", ["one", "two"]), response)
    wire.check_response(Request.embed("m", ["one", "two"], input=[1]), response)


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"prompt_tokens": 3, "total_tokens": 9}, Usage(3, 0)),
        ({"total_tokens": 9}, Usage(9, 0)),
        ({"input_tokens": 4}, Usage(4, 0)),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": "3"}, None),
        (None, None),
    ],
)
def test_an_account_is_read(said: Any, usage: Usage | None) -> None:
    """What is no count is no account: unknown is not zero."""
    assert wire.decode_usage(said) == usage


def test_an_account_that_is_none_is_kept() -> None:
    """It goes to `extra`, and back."""
    body = listed([0.5], usage="free")

    response = wire.decode_response(body)

    assert response.usage is None
    assert wire.encode_response(response) == body


def test_an_account_is_written() -> None:
    """From the counts, where the provider's own words are not known."""
    assert wire.encode_usage(Usage(7, 0)) == {"prompt_tokens": 7, "total_tokens": 7}


def test_a_stream_is_no_answer() -> None:
    """A server that sends one is told so, with who was asked."""
    decoder = wire.StreamDecoder(provider="p", model="m", request_id="r")

    assert decoder.feed_bytes(b"{}") == []
    with pytest.raises(LLMError) as caught:
        decoder.finish()

    assert (caught.value.provider, caught.value.model, caught.value.request_id) == ("p", "m", "r")
