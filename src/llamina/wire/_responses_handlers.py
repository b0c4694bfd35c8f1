"""The server events of the Responses wire, one function each: what they say of which item.

A further kind of event is a further row of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ._responses_parts import kind_of
from ._responses_streamed import StreamedOutput

__all__ = ["HANDLERS"]

_Handler: TypeAlias = Callable[[StreamedOutput, Mapping[str, Any]], None]


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"text expected, got {type(value).__name__}")
    return value


def _item_added(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    if isinstance(said["item"], Mapping):
        output.added(said["output_index"], said["item"])


def _item_done(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.done(said["output_index"], {**said["item"]})


def _part_added(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    if kind_of(said["part"]) != "reasoning_text":
        output.part(said["output_index"], said["content_index"])


def _part_done(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    piece = said["part"]
    if kind_of(piece) != "reasoning_text":
        output.part(said["output_index"], said["content_index"]).whole = piece


def _text_delta(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    if piece := _text(said["delta"]):
        output.text(said.get("output_index", 0), said.get("content_index", 0), piece)


def _text_done(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.whole_text(said["output_index"], said["content_index"], _text(said["text"]))


def _annotation(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.part(said["output_index"], said["content_index"]).annotations.append(said["annotation"])


def _refusal_delta(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.part(said["output_index"], said["content_index"]).refusal.append(_text(said["delta"]))


def _refusal_done(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.part(said["output_index"], said["content_index"]).refusal[:] = [_text(said["refusal"])]


def _arguments_delta(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    if piece := _text(said["delta"]):
        output.arguments(said["output_index"], piece)


def _arguments_done(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    output.whole_arguments(said["output_index"], _text(said["arguments"]))


def _nothing(output: StreamedOutput, said: Mapping[str, Any]) -> None:
    """What is said here comes again with the whole item."""


def _thought_delta(key: str) -> _Handler:
    def handle(output: StreamedOutput, said: Mapping[str, Any]) -> None:
        if piece := _text(said["delta"]):
            output.thought(said["output_index"], (key, said.get(key, 0)), piece)

    return handle


def _thought_done(key: str) -> _Handler:
    def handle(output: StreamedOutput, said: Mapping[str, Any]) -> None:
        output.whole_thought(said["output_index"], (key, said.get(key, 0)), _text(said["text"]))

    return handle


HANDLERS: dict[str, _Handler] = {
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.content_part.added": _part_added,
    "response.content_part.done": _part_done,
    "response.output_text.delta": _text_delta,
    "response.output_text.done": _text_done,
    "response.output_text.annotation.added": _annotation,
    "response.refusal.delta": _refusal_delta,
    "response.refusal.done": _refusal_done,
    "response.function_call_arguments.delta": _arguments_delta,
    "response.function_call_arguments.done": _arguments_done,
    "response.custom_tool_call_input.delta": _arguments_delta,
    "response.custom_tool_call_input.done": _nothing,
    "response.reasoning_summary_part.added": _nothing,
    "response.reasoning_summary_part.done": _nothing,
    "response.reasoning_summary_text.delta": _thought_delta("summary_index"),
    "response.reasoning_summary_text.done": _thought_done("summary_index"),
    "response.reasoning_text.delta": _thought_delta("content_index"),
    "response.reasoning_text.done": _thought_done("content_index"),
}
"""What to do at each server event that says a piece of an item; it raises whatever comes of an odd form."""
