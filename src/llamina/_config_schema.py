"""The JSON schema of stack files, for editors that complete and check what is typed.

    json.dumps(schema())        # draft 2020-12; in a TOML file: #:schema ./stack.schema.json

It is made of the same classes that a file is read into: settings, types, defaults, and what their docstrings say. The one
surprise: of an installed plugin only the name is in it, for its settings could only be known by importing it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from . import errors
from ._config_read import TOP
from ._config_settings import REQUIRED, Imported, Setting, flattened, settings_of
from ._config_values import KINDS, is_callable, is_list, is_mapping, is_table_class, without_none
from .plugins import BUILT_IN, plugins, resolve
from .policy.prices import PriceBook
from .secret import Secret

__all__ = ["described", "schema", "written_settings"]

_REFERENCE = {"type": "string", "pattern": r"^[^\W\d][\w.]*:[^\W\d][\w.]*$", "description": "module:attribute"}
_NEVER_WRITTEN = ("rng", "client")
"""Settings that are objects of code."""
_FILE = {"type": "string", "description": "the file of that stack, beside this one; then nothing else is said here"}
_SIMPLE: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": ["string", "integer"]},
    Secret: {"type": "string", "description": 'write "${NAME}"'},
    ContextVar: _REFERENCE,
    Imported: _REFERENCE,
}
_TOP_DESCRIPTIONS = {
    "llamina": "the version of stack files: 1",
    "transport": "what answers at the end of the stack",
    "layers": "outermost first: the first sees a request first",
    "check": "what to do about a wrong order of layers",
    "hold_streams": "deliver a stream only after it was checked against the answer",
    "stream_buffer": "events that a consumer may lag behind before the producer waits",
}


def schema() -> dict[str, Any]:
    """The schema, with every built-in and the names of the plugins that are installed."""
    definitions: dict[str, Any] = {}
    for kind, own in BUILT_IN.items():
        definitions[kind] = _kind(kind, definitions)
        for name in own:
            definitions[f"{kind}.{name}"] = _entry(kind, name, definitions)
    top: dict[str, dict[str, Any]] = {
        "llamina": {"const": 1},
        "transport": {"$ref": "#/$defs/transport"},
        "layers": {"type": "array", "items": {"$ref": "#/$defs/layer"}},
        **{name: _type(TOP[name], definitions) for name in ("check", "hold_streams", "stream_buffer")},
    }
    top = {name: {**form, "description": _TOP_DESCRIPTIONS[name]} for name, form in top.items()}
    definitions["transport.stack"] = {
        "type": "object",
        "description": "another stack, from a file beside this one or written here",
        "properties": {"type": {"const": "stack"}, "file": _FILE, **top},
        "required": ["type"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a llamina stack",
        "type": "object",
        "properties": top,
        "required": ["transport"],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def written_settings(target: Callable[..., Any]) -> list[Setting]:
    """The settings of *target* that a file can say."""
    return [one for name, one in settings_of(target)[0].items() if name not in _NEVER_WRITTEN]


def described(target: Any) -> dict[str, str]:
    """What a docstring says of each setting, from its section Args or Attributes."""
    text = inspect.getdoc(target) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?:[ ]{4}.*\n?|\n)*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        head = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if head:
            names = head[1].split(", ")
            found.update(dict.fromkeys(names, head[2]))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found


def _kind(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Everything of one kind: a table for each built-in, for plugins and for code, or the name alone."""
    own = [f"{kind}.{name}" for name in (*BUILT_IN[kind], *(["stack"] if kind == "transport" else []))]
    others = sorted({plugin.name for plugin in plugins(kind) if not plugin.problem})
    definitions[f"{kind}.*"] = {
        "type": "object",
        "description": f"a {kind} of an installed package, or of a module of yours",
        "properties": {"type": {"anyOf": [_REFERENCE, *([{"enum": others}] if others else [])]}},
        "required": ["type"],
    }
    short = {"anyOf": [{"enum": [*BUILT_IN[kind], *others]}, _REFERENCE]}
    return {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in (*own, f"{kind}.*")] + [short]}


def _entry(kind: str, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    target = resolve(kind, name)
    table = _table(target, definitions)
    table["properties"] = {"type": {"const": name}, **table["properties"]}
    table["required"] = ["type", *table.get("required", [])]
    return table


def _table(target: Callable[..., Any], definitions: dict[str, Any]) -> dict[str, Any]:
    says = described(target)
    settings = written_settings(target)
    properties = {}
    for setting in settings:
        form = dict(_setting(setting, definitions))
        if setting.name in says:
            form["description"] = says[setting.name]
        if isinstance(setting.default, str | int | float) and not setting.secret:
            form["default"] = setting.default
        properties[setting.name] = form
    required = [setting.name for setting in settings if setting.default is REQUIRED]
    return {
        "type": "object",
        "description": (inspect.getdoc(target) or "").partition("\n\n")[0].replace("\n", " "),
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _setting(setting: Setting, definitions: dict[str, Any]) -> dict[str, Any]:
    if setting.converter is None or Decimal in flattened(setting.hint):
        return _type(setting.hint, definitions)
    return _type(setting.hint | setting.converter, definitions)


def _type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    members = flattened(hint)
    if len(members) > 1:
        forms = [_type(member, definitions) for member in without_none(members)]
        if len(forms) < len(members) and bool not in members:
            forms.append({"const": False, "description": "none"})
        forms = [form for number, form in enumerate(forms) if form not in forms[:number] and form is not _UNSAID]
        return forms[0] if len(forms) == 1 else {"anyOf": forms}
    hint = members[0]
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint in KINDS:
        return {"$ref": f"#/$defs/{KINDS[hint]}"}
    if hint is PriceBook:
        table = {"type": "object", "additionalProperties": {"type": "object"}}
        return {"anyOf": [table, {"const": "genai"}, _REFERENCE, {"const": False}, {"type": "array"}]}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if is_callable(hint):
        return _REFERENCE
    if get_origin(hint) is type:
        definitions["error"] = {"anyOf": [{"enum": list(errors.__all__)}, _REFERENCE]}
        return {"$ref": "#/$defs/error"}
    inner = [one for one in get_args(hint) if one is not Ellipsis]
    if is_list(hint):
        return {"type": "array", "items": _type(inner[0], definitions) if inner else {}}
    if is_mapping(hint):
        return {"type": "object", "additionalProperties": _type(inner[1], definitions) if inner else {}}
    if is_table_class(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # known by now, for a class that holds its own kind
            definitions[hint.__name__] = _table(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {} if hint in (Any, object) else _UNSAID


_UNSAID: dict[str, Any] = {"not": {}}
"""The form of what a file cannot say."""
