"""Tools and the choice among them on Anthropic's wire, both ways.

Tools that the provider runs itself (`{"type": "web_search_20260209", ...}`) and all else that is native stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError

from ._anthropic_blocks import WIRE
from ._raw import WIRES, tool_entry

__all__ = ["choice_of", "native_choice", "native_tools", "tools_of"]

_NO_PARALLEL = "disable_parallel_tool_use"
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_WORDS = {"auto": "auto", "none": "none", "any": "required"}


def native_tools(tools: Any) -> Any:
    """The list of tools as this wire says it.

    Raises:
        InvalidRequestError: one is a custom tool of the shared dialect, whose input is text; the message names it.
    """
    return [_native_tool(tool) for tool in tools] if isinstance(tools, list | tuple) else tools


def _native_tool(tool: Any) -> Any:
    if not isinstance(tool, Mapping):
        return tool
    fields = {key: value for key, value in tool.items() if key not in WIRES}
    fields |= tool_entry(tool, WIRE)
    function, custom = tool.get("function"), tool.get("custom")
    if tool.get("type") == "custom" and isinstance(custom, Mapping):
        raise InvalidRequestError(
            f"the anthropic wire has no tools that take text, got the custom tool {str(custom.get('name'))[:64]!r}; "
            "write it as a function with one parameter"
        )
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        return fields
    del fields["function"]
    if fields["type"] == "function":  # else it is the entry of this wire that says "custom"
        del fields["type"]
    said = {key: value for key, value in function.items() if key != "parameters" and value is not None}
    schema = function.get("parameters")
    return {**fields, **said, "input_schema": {"type": "object", "properties": {}} if schema is None else schema}


def tools_of(tools: Any) -> Any:
    """The list of tools in the shared dialect, as far as that says the same."""
    return [_tool_of(tool) for tool in tools] if isinstance(tools, list | tuple) else tools


def _tool_of(tool: Any) -> Any:
    if not isinstance(tool, Mapping) or not isinstance(tool.get("input_schema"), Mapping):
        return tool
    function = {key: tool[key] for key in ("name", "description", "strict") if key in tool}
    function["parameters"] = tool["input_schema"]
    shared: dict[str, Any] = {"type": "function", "function": function}
    rest = {key: value for key, value in tool.items() if key not in function and key != "input_schema"}
    if rest:
        shared[WIRE] = rest
    return shared if _native_tool(shared) == tool else tool


def native_choice(choice: Any, parallel: Any, tools: Any) -> Any:
    """The `tool_choice` of the body, which says of parallel calls too; None for none.

    Raises:
        InvalidRequestError: the provider has no such choice.
    """
    said = choice
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise InvalidRequestError(
                f"tool_choice must be one of {', '.join(_CHOICES)} or name a function, got {choice!r}"
            )
        said = {"type": _CHOICES[choice]}
    elif isinstance(choice, Mapping):
        kind, function = choice.get("type"), choice.get("function")
        if kind == "function" and isinstance(function, Mapping):
            said = {"type": "tool", "name": function.get("name")}
        elif kind in ("allowed_tools", "custom"):
            raise InvalidRequestError(
                f"the anthropic wire has no tool_choice of type {kind!r}; "
                'send fewer tools, or write {"type": "function", "function": {"name": "..."}}'
            )
    if parallel is False:
        if said is None and tools:
            said = {"type": "auto"}
        if isinstance(said, Mapping) and said.get("type") != "none":
            return {**said, _NO_PARALLEL: True}
    return said


def choice_of(choice: Any) -> dict[str, Any]:
    """The parameters `tool_choice` and `parallel_tool_calls` that say the same as *choice*; as it is where none do."""
    if not isinstance(choice, Mapping):
        return {"tool_choice": choice}
    kind = choice.get("type")
    params: dict[str, Any] = {}
    if kind == "tool":
        params["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(kind, str) and kind in _WORDS:
        params["tool_choice"] = _WORDS[kind]
    if choice.get(_NO_PARALLEL) is True:
        params["parallel_tool_calls"] = False
    if "tool_choice" in params:
        written = native_choice(params["tool_choice"], params.get("parallel_tool_calls"), None)
        if written == choice and written.keys() == choice.keys():
            return params
    return {"tool_choice": choice}
