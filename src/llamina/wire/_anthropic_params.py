"""Parameters of a request on Anthropic's wire: the shared dialect of all wires as its native fields, and back.

    native({"stop": "END", "user": "u-1"}) == {"max_tokens": 4096, "stop_sequences": ["END"], "metadata": {"user_id": "u-1"}}

Native names and what is not known go through untouched. What the provider cannot do is refused by name; where it only
says what happens anyway (`n=1`, `logprobs=False`) it is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError

from ._anthropic_tools import choice_of, native_choice, native_tools, tools_of
from ._raw import brief

__all__ = ["DEFAULT_MAX_TOKENS", "native", "neutral"]

DEFAULT_MAX_TOKENS = 4096
"""Tokens that an answer may have where the request does not say it: this wire wants a number in every request."""

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_REMEDIES = {
    "seed": "leave it out",
    "logprobs": "leave it out",
    "top_logprobs": "leave it out",
    "n": "send the request several times",
    "frequency_penalty": "leave it out",
    "presence_penalty": "leave it out",
    "logit_bias": "leave it out",
    "audio": "ask for text",
    "modalities": "ask for text",
}
_TRANSLATED = _REMEDIES.keys() | {
    "max_completion_tokens",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "stop",
    "stream",
    "stream_options",
    "tool_choice",
    "tools",
    "user",
}
_FOREIGN_TIERS = ("flex", "priority", "scale", "fast")
"""Words of the shared dialect for a service tier that this provider has not; one that is no such word goes through."""
_HARMLESS = {"n": (1,), "modalities": (["text"], ("text",))}


def native(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the body for *params*.

    Raises:
        InvalidRequestError: the provider has no such feature, or a thing is said twice; the message names the parameter.
    """
    fields = dict(params)
    if _TRANSLATED.isdisjoint(fields):  # mostly
        if fields.get("max_tokens") is None:
            fields["max_tokens"] = DEFAULT_MAX_TOKENS
        return fields
    for name in ("stream", "stream_options"):
        fields.pop(name, None)
    for name, remedy in _REMEDIES.items():
        if name in fields:
            _refuse(name, fields.pop(name), remedy)
    longest = fields.pop("max_completion_tokens", None)
    if longest is not None:  # the newer word for the same
        fields["max_tokens"] = longest
    if fields.get("max_tokens") is None:
        fields["max_tokens"] = DEFAULT_MAX_TOKENS
    if "service_tier" in fields and (tier := _tier(fields.pop("service_tier"))) is not None:
        fields["service_tier"] = tier
    stop = fields.pop("stop", None)
    if stop is not None:
        _put(fields, "stop_sequences", [stop] if isinstance(stop, str) else stop, "stop")
    user = fields.pop("user", None)
    if user is not None:
        _put_inside(fields, "metadata", "user_id", user, "user")
    effort = fields.pop("reasoning_effort", None)
    if effort is not None:
        _put_inside(fields, "output_config", "effort", _effort(effort), "reasoning_effort")
    form = _format(fields.pop("response_format", None))
    if form is not None:
        _put_inside(fields, "output_config", "format", form, "response_format")
    if "tools" in fields and (tools := native_tools(fields.pop("tools"))) is not None:
        fields["tools"] = tools
    choice = native_choice(
        fields.pop("tool_choice", None), fields.pop("parallel_tool_calls", None), fields.get("tools")
    )
    if choice is not None:
        fields["tool_choice"] = choice
    return fields


def _refuse(name: str, value: Any, remedy: str) -> None:
    harmless = value is None or value in _HARMLESS.get(name, ())
    if not harmless and (value or name in ("seed", "n")):  # a seed of 0 is a seed
        raise InvalidRequestError(f"the anthropic wire has no {name!r}, got {brief(value)}; {remedy}")


def _put(fields: dict[str, Any], name: str, value: Any, said: str) -> None:
    if fields.get(name) is not None:
        raise InvalidRequestError(f"{said!r} and {name!r} say the same on the anthropic wire; give one of them")
    fields[name] = value


def _put_inside(fields: dict[str, Any], name: str, key: str, value: Any, said: str) -> None:
    inner = fields.get(name) or {}
    if not isinstance(inner, Mapping):
        raise InvalidRequestError(f"{name!r} must be a mapping to go with {said!r}, got {type(inner).__name__}")
    if inner.get(key) is not None:
        raise InvalidRequestError(f"{said!r} and '{name}.{key}' say the same on the anthropic wire; give one of them")
    fields[name] = {**inner, key: value}


def _effort(effort: Any) -> Any:
    if effort not in _EFFORTS:
        remedy = "thinking={'type': 'disabled'}" if effort == "none" else "reasoning_effort='low'"
        raise InvalidRequestError(
            f"reasoning_effort must be one of {', '.join(_EFFORTS)} on the anthropic wire, got {effort!r}; write {remedy}"
        )
    return effort


def _tier(tier: Any) -> Any:
    if tier in _FOREIGN_TIERS:
        raise InvalidRequestError(
            f"service_tier must be auto or default on the anthropic wire, got {tier!r}; leave it out"
        )
    return "standard_only" if tier == "default" else tier


def _format(form: Any) -> dict[str, Any] | None:
    kind = form.get("type") if isinstance(form, Mapping) else form
    if kind is None or kind == "text":
        return None
    inner = form.get("json_schema") if kind == "json_schema" else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise InvalidRequestError(
            f"the anthropic wire takes a response_format of type 'json_schema' with a schema, got {kind!r}; "
            'write {"type": "json_schema", "json_schema": {"name": "...", "schema": {...}}}'
        )
    return {"type": "json_schema", "schema": inner["schema"]}


def neutral(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the *fields* of a body say; what is in an odd form stays as it is."""
    params = dict(fields)
    stop = params.get("stop_sequences")
    if isinstance(stop, list) and "stop" not in params:
        params["stop"] = params.pop("stop_sequences")
    if params.get("service_tier") == "standard_only":
        params["service_tier"] = "default"
    _take(params, "metadata", "user_id", "user", lambda value: value if isinstance(value, str) else None)
    _take(params, "output_config", "effort", "reasoning_effort", lambda value: value if value in _EFFORTS else None)
    _take(params, "output_config", "format", "response_format", _neutral_format)
    if "tools" in params:
        params["tools"] = tools_of(params["tools"])
    if "tool_choice" in params and "parallel_tool_calls" not in params:
        params |= choice_of(params.pop("tool_choice"))
    return params


def _take(params: dict[str, Any], name: str, key: str, said: str, read: Any) -> None:
    """Move one key of a native mapping to the shared name for it, where it can be read."""
    inner = params.get(name)
    if not isinstance(inner, Mapping) or said in params:
        return
    value = read(inner.get(key))
    if value is None:
        return
    params[said] = value
    rest = {other: item for other, item in inner.items() if other != key}
    if rest:
        params[name] = rest
    else:
        del params[name]


def _neutral_format(form: Any) -> dict[str, Any] | None:
    if not isinstance(form, Mapping) or form.keys() != {"type", "schema"} or form["type"] != "json_schema":
        return None
    if not isinstance(form["schema"], Mapping):
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": form["schema"], "strict": True}}
