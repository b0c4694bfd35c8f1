"""Ids of tool calls that a provider takes, made from those that another one gave.

    of_anthropic("functions.weather:0")      # "functions_weather_0_c8cf447133ca3362"
    of_openai("")                            # "call_e3b0c44298fc1c14"

A conversation may go on at another provider, whose ids look different. One that fits stays as it is; of another one a
part is kept, with a digest of the whole (SHA-256), so that a call and its result still agree. Only requests are written
so; what is read, and what a server answers, has the id that was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["fit_blocks", "fit_items", "fit_messages", "of_anthropic", "of_openai"]

_LONGEST = 64
"""Characters of an id that OpenAI takes."""
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_BLOCKS = {"tool_use": "id", "tool_result": "tool_use_id"}
_ITEMS = frozenset({"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"})


def of_anthropic(name: str) -> str:
    """*name* where it has letters, digits, `_` and `-` only, as the Messages API wants it; else an id made from it."""
    return name if name and _ODD.search(name) is None else _made(name)


def of_openai(name: str) -> str:
    """*name* where it has 1 to 64 characters; else an id made from it."""
    return name if 0 < len(name) <= _LONGEST else _made(name)


def _made(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_ODD.sub('_', name[:40]) or 'call'}_{digest}"


def fit_messages(messages: list[dict[str, Any]]) -> None:
    """Give the calls and the results in *messages* of a chat body ids that OpenAI takes."""
    for message in messages:
        if "tool_call_id" in message:
            _fit(message, "tool_call_id", of_openai)
        calls = message.get("tool_calls")
        if isinstance(calls, list | tuple) and any(_is_odd(call, "id", of_openai) for call in calls):
            message["tool_calls"] = [_fitting(call, "id", of_openai) for call in calls]  # the list may be the caller's


def fit_items(items: Iterable[dict[str, Any]]) -> None:
    """Give the calls and the results among *items* of the Responses API ids that it takes."""
    for item in items:
        if "call_id" in item and item.get("type") in _ITEMS:
            _fit(item, "call_id", of_openai)


def fit_blocks(turns: Iterable[dict[str, Any]]) -> None:
    """Give the calls and the results in messages of Anthropic's ids that it takes."""
    for turn in turns:
        content = turn["content"]
        if isinstance(content, list) and any(_is_odd(block, _field(block), of_anthropic) for block in content):
            turn["content"] = [_fitting(block, _field(block), of_anthropic) for block in content]


def _field(block: Any) -> str:
    """Where a block of Anthropic's has the id of a call; "" where it has none."""
    kind = block.get("type") if isinstance(block, Mapping) else None
    return _BLOCKS.get(kind, "") if isinstance(kind, str) else ""


def _is_odd(entry: Any, field: str, fit: Any) -> bool:
    name = entry.get(field) if isinstance(entry, Mapping) else None
    return isinstance(name, str) and fit(name) != name


def _fitting(entry: Any, field: str, fit: Any) -> Any:
    return {**entry, field: fit(entry[field])} if _is_odd(entry, field, fit) else entry


def _fit(entry: dict[str, Any], field: str, fit: Any) -> None:
    if _is_odd(entry, field, fit):
        entry[field] = fit(entry[field])
