"""Identity: equal requests have equal digests, in every process; anything else differs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import Image, InvalidRequestError, Message, Request, Text, explain_identity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_order_of_parameters_does_not_count() -> None:
    """Two spellings of one request are one request."""
    one = Request.chat("m", "hi", a=1, b={"x": 1, "y": 2})
    other = Request.chat("m", "hi", b={"y": 2, "x": 1}, a=1)

    assert one.identity == other.identity
    assert explain_identity(one, other) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0, False), (1.0, True), ("1", 1), (None, 0), ([], {}), (b"YQ==", "YQ=="), ("a", ["a"])],
)
def test_values_of_different_types_differ(one: object, other: object) -> None:
    """1, 1.0 and True are three values to a provider, so they are three requests."""
    assert Request.chat("m", "hi", p=one).identity != Request.chat("m", "hi", p=other).identity


@pytest.mark.parametrize(
    "other",
    [
        Request.chat("m2", "hi", temperature=0),
        Request.chat("m", "hi!", temperature=0),
        Request.chat("m", "hi", temperature=1),
        Request.chat("m", "hi", temperature=0, unheard_of=None),
        Request.chat("m", [Message.system("hi")], temperature=0),
        Request.chat("m", [Message.user("hi"), Message.user("hi")], temperature=0),
        Request.chat("m", [Message("user", (Text("h"), Text("i")))], temperature=0),
        Request.chat("m", [Message("user", (Text("hi"),), name="ada")], temperature=0),
        Request.chat("m", [Message.user("hi", Image(b"1", "image/png"))], temperature=0),
    ],
)
def test_every_field_counts(other: Request) -> None:
    """Deny by default: what is not declared irrelevant makes another request, and the difference has a name."""
    one = Request.chat("m", "hi", temperature=0)

    assert one.identity != other.identity
    assert explain_identity(one, other)


def test_the_difference_is_named_by_its_place() -> None:
    """`explain_identity` points at the very field."""
    one = Request.chat("m", [Message.system("a"), Message.user("b")], nested={"deep": [1, 2]})
    other = Request.chat("m", [Message.system("a"), Message.user("c")], nested={"deep": [1, 3]})

    assert explain_identity(one, other) == ["messages[1].parts[0].text", "params.nested.deep[1]"]


def test_how_it_is_delivered_and_who_asks_does_not_count() -> None:
    """Streaming, tags, deadlines and cache wishes are no part of what is asked."""
    one = Request.chat("m", "hi")

    assert Request.chat("m", "hi", stream=True, tags={"user": "ada"}).identity == one.identity
    assert one.evolve(deadline=3.0).with_cache(no_store=True).identity == one.identity


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_equals_nothing_is_refused(value: float) -> None:
    """A NaN has no identity; the error names its place."""
    with pytest.raises(InvalidRequestError, match=r"params\.deep\[1\]"):
        _ = Request.chat("m", "hi", deep=[0.5, value]).identity


def test_bytes_of_a_nan_inside_a_text_are_no_nan() -> None:
    """A text may hold the very bytes that introduce a float."""
    assert Request.chat("m", "hi", blob=b"\xcb\x7f\xf8\x00").identity


def test_a_key_that_is_no_string_is_refused() -> None:
    """{1: "a"} and {"1": "a"} must not be one request."""
    with pytest.raises(InvalidRequestError, match="key 1"):
        _ = Request.chat("m", "hi", p={1: "a"}).identity


def test_an_object_that_is_no_data_is_refused_by_its_place() -> None:
    """A function or a client has no identity."""
    with pytest.raises(InvalidRequestError, match=r"params\.hook"):
        _ = Request.chat("m", "hi", hook=object()).identity


def test_large_integers_and_lone_surrogates_have_an_identity() -> None:
    """What no wire format says plainly still has a defined digest, different for different values."""
    odd = [2**70, 2**70 + 1, "\ud800", "\udfff", {"\ud800": 1}]

    assert len({Request.chat("m", "hi", p=value).identity for value in odd}) == len(odd)


def test_a_copy_carries_the_identity_along_until_what_is_asked_changes() -> None:
    """Computed once; a new deadline keeps it, a new parameter does not."""
    one = Request.chat("m", "hi")
    known = one.identity

    assert one.evolve(deadline=1.0)._identity is one._identity
    assert one.with_params(top_p=1)._identity is None
    assert one.evolve(model="n").identity != known


def test_the_digest_is_the_same_in_every_process() -> None:
    """Neither the hash seed nor the process changes it."""
    code = "from llamina import *; print(Request.chat('m', 'hi', tools=[{'b': 1, 'a': 2}], s={'x', 'y', 'z'}).identity)"

    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }

    assert len(seen) == 1


@given(JSON, JSON)
def test_two_values_share_a_digest_only_if_nothing_tells_them_apart(one: object, other: object) -> None:
    """Equal digest and no named difference are the same thing."""
    first, second = Request.chat("m", "hi", p=one), Request.chat("m", "hi", p=other)

    assert (first.identity == second.identity) == (explain_identity(first, second) == [])
