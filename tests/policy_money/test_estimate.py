"""Token estimates and the most that an answer may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.policy.estimate import (
    DEFAULT_OUTPUT_TOKENS,
    MESSAGE_TOKENS,
    estimate_input,
    estimate_tokens,
    output_limit,
    worst_case,
)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("漢字", 2), ("Привет", 3), ("😀", 1), (9, 3)]
)
def test_four_bytes_are_a_token(text, tokens):
    """Scripts with longer letters take more tokens a letter; a number is a length in bytes."""
    assert estimate_tokens(text) == tokens


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF)), st.text())
def test_an_estimate_is_never_negative_and_grows_with_the_text(text, more):
    """Any text has an estimate, lone surrogates included."""
    tokens = estimate_tokens(text)

    assert tokens >= 0
    assert estimate_tokens(text + more) >= tokens
    assert (tokens == 0) == (text == "")


def test_each_message_takes_some_tokens_on_top():
    """Roles and separators are billed too."""
    assert estimate_input(["four", ""]) == 1 + 2 * MESSAGE_TOKENS


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 50}, 50),
        ({"max_output_tokens": 70}, 70),
        ({"max_tokens": 100, "max_completion_tokens": 200}, 200),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": None}, None),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": -5}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": 10, "n": "x"}, 10),
    ],
)
def test_the_limit_of_an_answer_is_read_from_its_parameters(params, limit):
    """Every name for it counts, all choices together; what is no count is no limit."""
    assert output_limit(params) == limit


def test_without_a_limit_the_worst_case_takes_the_default():
    """An answer of unknown length is expected to be long, each choice of it."""
    assert worst_case(8, {}) == (8, DEFAULT_OUTPUT_TOKENS)
    assert worst_case(8, {"n": 2}, default_output=100) == (8, 200)
    assert worst_case(8, {"max_tokens": 5}, default_output=100) == (8, 5)
