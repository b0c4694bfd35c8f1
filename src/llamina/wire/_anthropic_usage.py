"""Token counts on Anthropic's wire.

The one surprise: `input_tokens` of this wire leaves out what was read from and written to the prompt cache; `Usage`
includes both (Anthropic API reference, Messages, `usage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.messages import Usage

from ._counts import count

__all__ = ["decode_usage", "encode_usage", "later_account"]


def decode_usage(usage: Any) -> Usage | None:
    """Token counts as all wires share them, or None for what is no account: missing, null, negative, text."""
    if not isinstance(usage, Mapping):
        return None
    fresh, answer = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if fresh is None or answer is None:
        return None
    created = usage.get("cache_creation")
    created = created if isinstance(created, Mapping) else {}
    long = count(created.get("ephemeral_1h_input_tokens")) or 0
    written = count(usage.get("cache_creation_input_tokens"))
    if written is None:
        written = long + (count(created.get("ephemeral_5m_input_tokens")) or 0)
    read = count(usage.get("cache_read_input_tokens")) or 0
    details = usage.get("output_tokens_details")
    thought = count(details.get("thinking_tokens")) if isinstance(details, Mapping) else None
    return Usage(
        fresh + read + written,
        answer,
        read,
        written,
        min(thought or 0, answer),
        min(long, written),
        raw=usage,
    )


def later_account(before: Any, said: Any) -> dict[str, Any] | None:
    """The provider's account after a further one of the same stream, or None where that is none.

    Its counts are cumulative; what it leaves out stays as it was.
    """
    if not isinstance(said, Mapping) or count(said.get("output_tokens")) is None:
        return None
    known = before if isinstance(before, Mapping) else {}
    account = {**known, **{key: value for key, value in said.items() if value is not None}}
    return None if decode_usage(account) is None else account


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The account of this wire: the provider's own where it says the same, else made from the counts."""
    if isinstance(usage.raw, Mapping) and decode_usage(usage.raw) == usage:
        return dict(usage.raw)
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    body: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_long_tokens:
        body["cache_creation"] = {
            "ephemeral_5m_input_tokens": written - usage.cache_write_long_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_long_tokens,
        }
    if usage.reasoning_tokens:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body
