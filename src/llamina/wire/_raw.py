"""The raw slots of parts: what one wire keeps in them, apart from what the others keep.

    further(part, "chat")              # {"cache_control": {...}}: the further fields of the part on that wire
    packed("chat", fields)             # {"chat": {...}}, or None for nothing

A conversation may go from one provider to another: a signature of the one is nothing that the other may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.messages import Part, ToolResult, UnknownPart

__all__ = ["WIRES", "brief", "further", "own_tools", "packed", "result_content", "tool_entry", "verbatim"]

WIRES = {"chat", "responses", "anthropic", "embeddings"}
"""Names that a raw slot may have entries for; a codec of another wire adds its own."""


def further(part: Any, wire: str) -> Mapping[str, Any]:
    """The further fields that *part* carries for *wire*.

    Raises:
        InvalidRequestError: the slot is no mapping of wires to fields.
    """
    raw = part.raw
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise InvalidRequestError(
            f"{type(part).__name__}.raw must map a wire to its further fields, got {type(raw).__name__}; "
            f"write raw={{{wire!r}: {{...}}}}"
        )
    for name in raw:
        if name not in WIRES:
            raise InvalidRequestError(
                f"{type(part).__name__}.raw has the key {name!r}, which is no wire ({', '.join(sorted(WIRES))}); "
                f"write raw={{{wire!r}: {{{name!r}: ...}}}}"
            )
    fields = raw.get(wire)
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidRequestError(
            f"{type(part).__name__}.raw[{wire!r}] must be a mapping of further fields, got {type(fields).__name__}"
        )
    return fields


def packed(wire: str, fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A raw slot that holds *fields* for *wire*; None where there are none."""
    return {wire: fields} if fields else None


def own_tools(tools: Any, wire: str) -> Any:
    """*tools* as *wire* says them: its own further fields are merged, those of other wires are left out."""
    if not isinstance(tools, list | tuple) or not any(
        isinstance(t, Mapping) and not WIRES.isdisjoint(t) for t in tools
    ):
        return tools
    return [_own_tool(tool, wire) if isinstance(tool, Mapping) else tool for tool in tools]


def _own_tool(tool: Mapping[str, Any], wire: str) -> dict[str, Any]:
    own = {key: value for key, value in tool.items() if key not in WIRES}
    return {**own, **tool_entry(tool, wire)}


def tool_entry(tool: Mapping[str, Any], wire: str) -> Mapping[str, Any]:
    """The further fields that *tool* carries for *wire*.

    Raises:
        InvalidRequestError: its entry is no mapping.
    """
    fields = tool.get(wire)
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidRequestError(
            f"the entry {wire!r} of a tool must be a mapping of further fields, got {type(fields).__name__}"
        )
    return fields


def result_content(result: ToolResult) -> str | Sequence[Part]:
    """The content of *result*.

    Raises:
        InvalidRequestError: it is neither text nor parts.
    """
    content: Any = result.content
    if isinstance(content, str | list | tuple):
        return content
    raise InvalidRequestError(
        f"ToolResult.content must be text or parts, got {type(content).__name__}; for nothing write ToolResult(call.id, '')"
    )


def brief(value: Any) -> str:
    """*value* for a message: numbers as they are, of all else the type, for it may hold what the user wrote."""
    return repr(value) if value is None or isinstance(value, bool | int | float) else f"a {type(value).__name__}"


def verbatim(part: UnknownPart, wire: str) -> dict[str, Any]:
    """The part as *wire* says it.

    Raises:
        InvalidRequestError: it is no mapping, or came from another wire.
    """
    if not isinstance(part.raw, Mapping):
        raise InvalidRequestError(
            f"UnknownPart.raw must be a mapping on the {wire} wire, got {type(part.raw).__name__}"
        )
    if part.wire not in ("", wire):
        raise InvalidRequestError(
            f"the {wire} wire cannot say a part of type {part.raw.get('type')!r} that came from the {part.wire} wire; "
            "leave it out of the messages"
        )
    return dict(part.raw)
