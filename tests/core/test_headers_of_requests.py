"""Further headers of a request: they are part of what is asked, and cannot be somebody else's."""

from __future__ import annotations

import pickle

import pytest

from llamina import InvalidRequestError, Request, explain_identity


def ask(**headers: str) -> Request:
    """The same question with these headers."""
    return Request.chat("m", "hi", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_header_is_part_of_what_is_asked() -> None:
    """A beta of a provider may answer otherwise, so no cache may take one for the other."""
    plain, beta = ask(), ask(anthropic_beta="files-1")

    assert plain.identity != beta.identity
    assert explain_identity(plain, beta) == ["headers.anthropic-beta"]
    assert ask(Anthropic_Beta="files-1").identity == beta.identity


def test_a_request_without_headers_is_known_as_it_was_before() -> None:
    """Stored answers of an earlier version stay found."""
    assert ask().identity == Request.chat("m", "hi").identity


def test_a_header_that_names_one_sending_is_not_part_of_it() -> None:
    """A trace id would let no cache ever hit."""
    assert ask(traceparent="00-1", x_request_id="a").identity == ask().identity


def test_headers_travel_with_copies() -> None:
    """With `evolve`, and through a pickle."""
    request = ask(x_app="1")

    assert request.with_params(seed=1).headers == {"x-app": "1"}
    assert pickle.loads(pickle.dumps(request)).headers == {"x-app": "1"}
    assert request.evolve(headers={}).identity == ask().identity
    with pytest.raises(TypeError, match="a Request is a value"):
        request.headers["x-app"] = "2"  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("authorization", "Bearer sk", "the transport does"),
        ("X-Api-Key", "sk", "the transport does"),
        ("cookie", "a=b", "the transport does"),
        ("content-length", "3", "the transport does"),
        ("bad name", "x", "letters, digits"),
        ("x-app", "a\r\nx-evil: 1", "control characters"),
        ("x-app", "漢", "Latin-1"),
        ("x-app", 3, "Latin-1"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(name: str, value: str, says: str) -> None:
    """Before anything is sent; the message does not show the value."""
    with pytest.raises(InvalidRequestError, match=says) as raised:
        Request.chat("m", "hi", headers={name: value})

    assert str(value) not in str(raised.value) or value in ("x", 3)
