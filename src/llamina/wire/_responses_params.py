"""Parameters on the Responses wire: those of the chat dialect in this wire's words, and back.

The wire's own parameters and unknown ones go through untouched, and win over a translated one of the same meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError

from ._raw import WIRES, brief, tool_entry
from ._responses_parts import WIRE

__all__ = ["decode_params", "encode_params"]

_LOGPROBS = "message.output_text.logprobs"
_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
_CANNOT = {
    "stop": "cut the text yourself",
    "seed": "leave it out",
    "frequency_penalty": "leave it out",
    "presence_penalty": "leave it out",
    "logit_bias": "leave it out",
    "audio": "ask for sound on the chat wire",
}
_TRANSLATED = frozenset(
    {
        *_LIMITS[1:],
        *_CANNOT,
        "n",
        "modalities",
        "response_format",
        "verbosity",
        "reasoning_effort",
        "logprobs",
        "tools",
        "tool_choice",
        "stream",
        "stream_options",
    }
)


def encode_params(params: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    """The parameters in this wire's words.

    Raises:
        InvalidRequestError: the API has no such thing; the message names the parameter and the remedy.
    """
    _refuse(params)
    if _TRANSLATED.isdisjoint(params):
        return dict(params)
    body = {key: value for key, value in params.items() if key not in _TRANSLATED}
    limit = next((params[name] for name in _LIMITS if params.get(name) is not None), None)
    if limit is not None:
        body["max_output_tokens"] = limit
    for name, encode in (("tools", _encode_tools), ("tool_choice", _encode_choice)):
        if name in params and not (name == "tools" and params[name] is None):
            body[name] = encode(params[name])
    if params.get("response_format") is not None:
        _merge(body, "text", "format", _encode_format(params["response_format"]))
    if params.get("verbosity") is not None:
        _merge(body, "text", "verbosity", params["verbosity"])
    if params.get("reasoning_effort") is not None:
        _merge(body, "reasoning", "effort", params["reasoning_effort"])
    if params.get("logprobs"):
        include = body.get("include") or ()
        if not isinstance(include, list | tuple):
            raise InvalidRequestError(f"include must be a list to go with 'logprobs', got {type(include).__name__}")
        body["include"] = [*include, _LOGPROBS] if _LOGPROBS not in include else list(include)
    options = params.get("stream_options")
    if stream and options is not None:
        if not isinstance(options, Mapping):
            raise InvalidRequestError(f"stream_options must be a mapping, got {type(options).__name__}")
        kept = {key: value for key, value in options.items() if key != "include_usage"}
        if kept:
            body["stream_options"] = kept
    return body


def _refuse(params: Mapping[str, Any]) -> None:
    """A parameter that asks for nothing (None, an empty list, a penalty of 0, one answer) is no harm and left out."""
    for name, remedy in _CANNOT.items():
        value = params.get(name)
        if value or (name == "seed" and value is not None):
            raise InvalidRequestError(f"the Responses API has no {name!r}, got {brief(value)}; {remedy}")
    if params.get("n") not in (None, 1):
        raise InvalidRequestError(
            f"the Responses API gives one answer, got n={brief(params['n'])}; send several requests"
        )
    modalities = params.get("modalities") or ()
    if not isinstance(modalities, list | tuple):
        raise InvalidRequestError(f"modalities must be a list, got {type(modalities).__name__}")
    if any(kind != "text" for kind in modalities):
        raise InvalidRequestError(
            f"the Responses API answers in text only, got modalities={params['modalities']!r}; ask on the chat wire"
        )
    if params.get("background"):
        raise InvalidRequestError(
            "background=True answers before the model does, and nothing here would ask for the rest; leave it out"
        )


def _merge(body: dict[str, Any], name: str, field: str, value: Any) -> None:
    """Put *field* into the object *name*; what the caller said there himself wins."""
    own = body.get(name) or {}
    if not isinstance(own, Mapping):
        raise InvalidRequestError(f"{name} must be an object, got {type(own).__name__}")
    body[name] = {field: value, **own}


def _encode_tools(tools: Any) -> Any:
    return [_encode_tool(tool) for tool in tools] if isinstance(tools, list | tuple) else tools


def _encode_tool(tool: Any) -> Any:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    inner = tool.get(kind) if kind in ("function", "custom") else None
    if not isinstance(inner, Mapping):
        return tool
    rest = {key: value for key, value in tool.items() if key not in WIRES and key not in ("type", kind)}
    own = tool_entry(tool, WIRE)
    if kind == "function":
        # Without `strict` the API takes a schema for a strict one, and refuses most.
        return {"parameters": None, "strict": False, **inner, **rest, **own, "type": kind}
    form = inner.get("format")
    if isinstance(form, Mapping) and isinstance(form.get("grammar"), Mapping):
        inner = {**inner, "format": {"type": form.get("type"), **form["grammar"]}}
    return {**inner, **rest, **own, "type": kind}


def _encode_choice(choice: Any) -> Any:
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    inner = choice.get(kind) if kind in ("function", "custom", "allowed_tools") else None
    if not isinstance(inner, Mapping):
        return choice
    if kind == "allowed_tools" and isinstance(inner.get("tools"), list | tuple):
        inner = {**inner, "tools": [_encode_choice(tool) for tool in inner["tools"]]}
    return {**inner, "type": kind}


def _encode_format(form: Any) -> Any:
    if isinstance(form, Mapping) and isinstance(form.get("json_schema"), Mapping):
        return {"type": form.get("type"), **form["json_schema"]}
    return form


def decode_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in the chat dialect where writing them gives the same again; all others as they are."""
    params = dict(body)
    if "max_output_tokens" in params and params["max_output_tokens"] is not None:
        params["max_tokens"] = params.pop("max_output_tokens")
    if isinstance(params.get("tools"), list | tuple):
        params["tools"] = [_decode_tool(tool) for tool in params["tools"]]
    choice = params.get("tool_choice")
    if isinstance(choice, Mapping) and choice.keys() == {"type", "name"} and choice["type"] in ("function", "custom"):
        params["tool_choice"] = {"type": choice["type"], choice["type"]: {"name": choice["name"]}}
    _split(params, "text", "verbosity", "verbosity", None)
    _split(params, "text", "format", "response_format", _decode_format)
    _split(params, "reasoning", "effort", "reasoning_effort", None)
    include = params.get("include")
    if isinstance(include, list) and include and include[-1] == _LOGPROBS and _LOGPROBS not in include[:-1]:
        params["logprobs"] = True
        del params["include"]
        if include[:-1]:
            params["include"] = include[:-1]
    options = params.pop("stream_options", None)
    if isinstance(options, Mapping):
        kept = {key: value for key, value in options.items() if key != "include_usage"}
        if kept:
            params["stream_options"] = kept
    return params


def _split(params: dict[str, Any], name: str, field: str, neutral: str, decode: Any) -> None:
    """Take *field* out of the object *name* as the neutral parameter; an object that is empty then goes."""
    native = params.get(name)
    if not isinstance(native, Mapping) or native.get(field) is None or neutral in params:
        return
    value = native[field] if decode is None else decode(native[field])
    if value is None:
        return
    params[neutral] = value
    rest = {key: item for key, item in native.items() if key != field}
    if rest:
        params[name] = rest
    else:
        del params[name]


def _decode_tool(tool: Any) -> Any:
    if not isinstance(tool, Mapping) or tool.get("type") != "function" or "function" in tool:
        return tool
    names = ("name", "description", "parameters", "strict")
    neutral: dict[str, Any] = {"type": "function", "function": {key: tool[key] for key in names if key in tool}}
    further = {key: value for key, value in tool.items() if key not in (*names, "type")}
    if further:
        neutral[WIRE] = further
    return neutral if _encode_tool(neutral) == tool else tool


def _decode_format(form: Any) -> Any:
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {key: value for key, value in form.items() if key != "type"}}
