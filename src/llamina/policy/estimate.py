"""How many tokens a text will be, and the most that an answer may be, before a provider has counted them.

    estimate_tokens("What is the capital of France?")      # 8
    output_limit({"max_tokens": 200, "n": 2})              # 400
    worst_case(8, {})                                      # (8, 4096): the most that a call may use

The rule is one token for every four bytes of UTF-8, rounded up. English prose has about four characters to a token; a
letter of Cyrillic or Greek is two bytes and about half a token, one of Chinese, Japanese or Korean is three and about
three quarters, an emoji is four and one or more. Counting bytes therefore follows the scripts without a table.

The one surprise: it is an estimate. Code and numbers run at three characters to a token, so an estimate can be a
third too low; money is settled with what the provider counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["DEFAULT_OUTPUT_TOKENS", "MESSAGE_TOKENS", "estimate_input", "estimate_tokens", "output_limit", "worst_case"]

_BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 3
"""Tokens that the role and the separators of one message take, on top of its text."""
DEFAULT_OUTPUT_TOKENS = 4096
"""Taken as the longest answer where a request states no limit."""

_OUTPUT_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_CHOICES = ("n", "best_of")


def estimate_tokens(text: str | int) -> int:
    """Tokens in *text*, or in as many bytes of UTF-8 as an int says; 0 for nothing."""
    if isinstance(text, str):
        # `isascii` reads a flag, so plain English costs no copy; a lone surrogate counts as the three bytes it takes.
        text = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-text // _BYTES_PER_TOKEN) if text > 0 else 0


def estimate_input(texts: Iterable[str | int]) -> int:
    """Tokens in a prompt of one text a message, with what each message takes on top."""
    return sum([estimate_tokens(text) + MESSAGE_TOKENS for text in texts])


def output_limit(params: Mapping[str, object]) -> int | None:
    """The most output tokens that the *params* of a request allow, all choices together; None without a limit.

    Where several limits are given the largest counts, for it is not known which of them the provider obeys.
    """
    limits = [value for name in _OUTPUT_LIMITS if (value := _count(params.get(name)))]
    if not limits:
        return None
    return max(limits) * _choices(params)


def worst_case(
    input_tokens: int, params: Mapping[str, object], default_output: int = DEFAULT_OUTPUT_TOKENS
) -> tuple[int, int]:
    """(input, output) tokens that a call may use at most: the input as estimated, the output to its limit.

    *default_output* stands for the limit of one choice where *params* has none.
    """
    limit = output_limit(params)
    return input_tokens, default_output * _choices(params) if limit is None else limit


def _choices(params: Mapping[str, object]) -> int:
    return max([1, *[_count(params.get(name)) for name in _CHOICES]])


def _count(value: object) -> int:
    """A parameter as a count; what is none is 0, since the provider will refuse it or ignore it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
