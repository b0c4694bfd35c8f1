"""Messages that a caller wrote as mappings are in the dialect of chat completions; here they become typed.

    typed(Message.of({"role": "tool", "tool_call_id": "call_1", "content": "sunny"}))
    # Message("tool", (ToolResult("call_1", "sunny"),))

So an app that passes mappings can change to a provider of another wire. What is of no known form stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.messages import Message, Part, Text, ToolResult, UnknownPart

from ._openai_parts import decode_content, decode_reasoning, decode_tool_calls

__all__ = ["refuse_functions", "typed"]

_SAYS_NOTHING = frozenset({"annotations", "audio", "function_call", "refusal", "tool_calls"})


def typed(message: Message) -> Message:
    """*message* with its parts and further fields of the chat dialect as typed parts."""
    extra = message.extra
    if not extra and not any(type(part) is UnknownPart and part.wire == "" for part in message.parts):
        return message
    parts: list[Part] = [_typed(part) for part in message.parts]
    rest = dict(extra or {})
    if message.role == "tool" and isinstance(rest.get("tool_call_id"), str):
        plain = all(type(part) is Text for part in parts)
        parts = [ToolResult(rest.pop("tool_call_id"), message.text if plain else tuple(parts), message.name)]
    elif message.role == "assistant" and rest:
        rest = {key: value for key, value in rest.items() if value or key not in _SAYS_NOTHING}
        refused = rest.pop("refusal", None)
        if isinstance(refused, str):
            parts.append(UnknownPart({"type": "refusal", "refusal": refused}, "chat"))
        rest.pop("annotations", None)  # of the answer; no provider takes them back
        thought = decode_reasoning(rest)
        if thought is not None:
            parts.insert(0, thought)
            for name in ("reasoning_content", "reasoning", "reasoning_details"):
                rest.pop(name, None)
        calls = decode_tool_calls(rest.get("tool_calls"))
        if calls is not None:
            del rest["tool_calls"]
            parts += calls
    return Message(message.role, tuple(parts), message.name, rest or None)


def _typed(part: Any) -> Part:
    if type(part) is not UnknownPart or part.wire != "":
        typed_part: Part = part
        return typed_part
    found = decode_content([part.raw])
    # What the chat dialect has no type for either may be of the wire that it is sent on.
    return part if found is None or type(found[0]) is UnknownPart else found[0]


def refuse_functions(messages: Iterable[Message], wire: str) -> None:
    """Refuse the way in which chat completions once said calls of tools, which no other wire has.

    Raises:
        InvalidRequestError: a message is of the role `function`, or of an assistant that calls one so.
    """
    for message in messages:
        if message.role == "function":
            raise InvalidRequestError(
                f"the {wire} wire has no messages of the role 'function'; write Message.tool(ToolResult(call.id, ...))"
            )
        if message.role == "assistant" and message.extra and message.extra.get("function_call"):
            raise InvalidRequestError(f"the {wire} wire has no 'function_call' in a message; write a ToolCall")
