"""Requests on Anthropic's wire: the JSON body that a client sends, and back.

Instructions at the start go to the top-level `system`, later ones stay where they are. Results of tools go to a user's
message; all that follow each other, and what the user says with them, are one message, for the provider wants every
result directly after its call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from llamina.errors import InvalidRequestError
from llamina.messages import Message, Part, Text, ToolResult, UnknownPart
from llamina.protocol import Request

from ._anthropic_blocks import WIRE, decode_sent, encode_block, encode_sent
from ._anthropic_params import native, neutral
from ._call_ids import fit_blocks
from ._dialect import refuse_functions, typed

__all__ = ["decode_request", "encode_request"]

_INSTRUCTIONS = ("system", "developer")
_NOT_PARAMS = frozenset({"model", "messages", "stream"})
# What an answer of a chat provider says with nothing in it; Anthropic refuses fields that it does not know.
_EMPTY_OF_CHAT = frozenset({"annotations", "audio", "function_call", "refusal", "tool_calls"})


def encode_request(request: Request, *, stream: bool) -> dict[str, Any]:
    """The JSON body of *request*; with *stream* it asks for a stream.

    Raises:
        InvalidRequestError: the request cannot be said on this wire; the message names what.
    """
    if request.kind != "chat":
        raise InvalidRequestError(f"the anthropic wire cannot say a request of kind {request.kind!r}")
    messages = [_typed(message) for message in request.messages]
    refuse_functions(messages, WIRE)
    count = 0
    while count < len(messages) and _is_opening(messages[count]):
        count += 1
    if count == len(messages):
        raise InvalidRequestError("the anthropic wire wants a message besides the instructions; add Message.user(...)")
    body: dict[str, Any] = {"model": request.model, **native(request.params)}
    opening = _system(messages[:count], body.get("system")) if count else None
    if opening:
        body["system"] = opening
    body["messages"] = _turns(messages[count:])
    fit_blocks(body["messages"])
    if stream:
        body["stream"] = True
    return body


def _typed(message: Message) -> Message:
    """*message* with what a caller wrote as mappings typed: blocks of this wire first, then the chat dialect."""
    if any(type(part) is UnknownPart and part.wire == "" for part in message.parts):
        message = replace(message, parts=tuple([_of_mapping(part) for part in message.parts]))
    return typed(message)


def _of_mapping(part: Part) -> Part:
    if type(part) is not UnknownPart or part.wire != "" or not isinstance(part.raw, Mapping):
        return part
    found = decode_sent(part.raw)
    return part if type(found) is UnknownPart else found


def _is_opening(message: Message) -> bool:
    """Whether a message at the start belongs to the top-level `system`, which has room for text and nothing else."""
    if message.role not in _INSTRUCTIONS or not (message.extra or {}).keys() <= _EMPTY_OF_CHAT:
        return False
    return not any(type(part) is UnknownPart and part.wire == WIRE for part in message.parts)


def _system(messages: Sequence[Message], given: Any) -> Any:
    """The top-level `system`: what is given as a parameter first."""
    if given and not isinstance(given, str | list | tuple):
        raise InvalidRequestError(f"system must be text or a list of blocks, got {type(given).__name__}")
    blocks = [{"type": "text", "text": given}] if given and isinstance(given, str) else [*(given or ())]
    for message in messages:
        _check_instructions(message)
        blocks += _blocks(message.parts)
    return _content(blocks)


def _check_instructions(message: Message) -> None:
    for part in message.parts:
        if type(part) is not Text and type(part) is not UnknownPart:
            raise InvalidRequestError(
                f"the anthropic wire takes instructions as text, and a {message.role} message holds a "
                f"{type(part).__name__}; send it in a user's message"
            )


def _content(blocks: list[dict[str, Any]]) -> Any:
    """A single plain text is said as text."""
    if not blocks:
        return ""
    first = blocks[0]
    plain = len(blocks) == 1 and first.get("type") == "text" and first.keys() == {"type", "text"}
    return first["text"] if plain else blocks


def _blocks(parts: Iterable[Part]) -> list[dict[str, Any]]:
    found = [encode_sent(part) for part in parts]
    return [block for block in found if block is not None]


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    turns = []
    place = 0
    while place < len(messages):
        end = place + 1
        if messages[place].role in ("user", "tool"):
            while end < len(messages) and messages[end].role in ("user", "tool"):
                end += 1
        run = messages[place:end]
        joined = len(run) > 1 and any(message.role == "tool" for message in run)
        turns += [_joined(run)] if joined else [_turn(message) for message in run if not _is_silent(message)]
        place = end
    return turns


def _is_silent(message: Message) -> bool:
    """Whether nothing is left of an answer: the thoughts of another provider alone, or a text without a letter."""
    return message.role == "assistant" and bool(message.parts) and not message.extra and not _blocks(message.parts)


def _joined(run: Sequence[Message]) -> dict[str, Any]:
    """One message of the user for several; what an extra says of one is said of all."""
    for message in run:
        _check_tool(message)
    extra: dict[str, Any] = {}
    for message in run:
        extra |= message.extra or {}
    return _turn(Message("user", tuple([part for message in run for part in message.parts]), extra=extra))


def _turn(message: Message) -> dict[str, Any]:
    parts: Sequence[Part] = message.parts
    role = message.role
    if role in _INSTRUCTIONS:
        _check_instructions(message)
        role = "system"
    if len(parts) == 1 and type(parts[0]) is Text and parts[0].raw is None:
        content: Any = parts[0].text
    else:
        parts = sorted(parts, key=lambda part: type(part) is not ToolResult)
        content = _content(_blocks(parts))
    if role == "tool":
        _check_tool(message)
        role = "user"
    if not message.extra:
        return {"role": role, "content": content}
    kept = {key: value for key, value in message.extra.items() if value or key not in _EMPTY_OF_CHAT}
    return {"role": role, "content": content, **kept}


def _check_tool(message: Message) -> None:
    if message.role == "tool" and not any(type(part) is ToolResult for part in message.parts):
        raise InvalidRequestError(
            "a tool message must say which call it answers, and this one holds no ToolResult; "
            "write Message.tool(ToolResult(call.id, ...))"
        )


def decode_request(body: Any) -> Request:
    """The Request that a body says; its parameters are in the dialect that all wires share where that says the same.

    Raises:
        InvalidRequestError: it is no request for a message; the error names the field.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"the body of a request must be an object, got {type(body).__name__}")
    turns = body.get("messages")
    if not isinstance(turns, list | tuple) or not turns:
        raise InvalidRequestError("messages must be a list of at least one message")
    if body.get("max_tokens") is None:
        raise InvalidRequestError("max_tokens must say how many tokens the answer may have; it is required")
    prompt = [_read_turn(turn, place) for place, turn in enumerate(turns)]
    prompt = [_as_tool(message, prompt[max(0, place - 1) : place + 2]) for place, message in enumerate(prompt)]
    if prompt[0].role == "system":  # else it would be written at the top level, where it was not
        prompt[0] = _held_in_place(prompt[0])
    fields = {key: value for key, value in body.items() if key not in _NOT_PARAMS}
    opening = _read_system(body.get("system"))
    if opening is not None:
        del fields["system"]
        prompt.insert(0, opening)
    return Request.chat(body.get("model"), prompt).evolve(params=neutral(fields))  # type: ignore[arg-type]


def _held_in_place(message: Message) -> Message:
    """Instructions in a form that no top-level `system` has."""
    if not message.parts:
        return replace(message, extra={"content": "", **(message.extra or {})})
    return replace(message, parts=tuple([UnknownPart(encode_block(part), WIRE) for part in message.parts]))


def _read_system(system: Any) -> Message | None:
    if isinstance(system, str) and system.strip():
        return Message("system", (Text(system),))
    if isinstance(system, list | tuple) and system and all(isinstance(block, Mapping) for block in system):
        parts = [decode_sent(block) for block in system]
        if all(type(part) is Text for part in parts):
            return Message("system", tuple(parts))
    return None  # an odd form stays a parameter


def _read_turn(turn: Any, place: int) -> Message:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        raise InvalidRequestError(f"messages[{place}] must be an object with a role, got {type(turn).__name__}")
    if turn["role"] in ("tool", "developer"):
        raise InvalidRequestError(f"messages[{place}].role must be user, assistant or system, got {turn['role']!r}")
    content = turn.get("content")
    extra = {key: value for key, value in turn.items() if key not in ("role", "content")}
    if isinstance(content, str):
        blank = bool(content) and not content.strip() and turn["role"] == "assistant"  # else it would be left out
        parts: tuple[Part, ...] = (Text(content),) if content and not blank else ()
        if blank:
            extra["content"] = content
    elif isinstance(content, list | tuple) and all(isinstance(block, Mapping) for block in content):
        parts = _read_blocks(content, turn["role"])
        if not content:
            extra["content"] = []
    else:
        raise InvalidRequestError(f"messages[{place}].content must be text or a list of blocks")
    return Message(turn["role"], parts, extra=extra or None)


def _read_blocks(content: Sequence[Mapping[str, Any]], role: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for block in content:
        part = decode_sent(block)
        late = type(part) is ToolResult and parts and type(parts[-1]) is not ToolResult  # it would be written first
        if late or (role == "system" and type(part) is not Text):
            part = UnknownPart(dict(block), WIRE)
        parts.append(part)
    return tuple(parts)


def _as_tool(message: Message, near: Sequence[Message]) -> Message:
    """A user's message that holds results only is a tool's; not beside another, with which it would be joined."""
    if message.role != "user" or not message.parts or sum(other.role == "user" for other in near) > 1:
        return message
    results = all(type(part) is ToolResult for part in message.parts)
    return replace(message, role="tool") if results else message
