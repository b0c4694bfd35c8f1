"""JSON schemas of Python types: the arguments of a function, and the shape of an answer.

    arguments = arguments_of(weather, "weather", {})
    arguments.schema           # {"type": "object", "properties": {"city": {"type": "string"}, ...}, "required": ["city"]}
    arguments.kwargs({"city": "Paris", "days": "2"})      # {"city": "Paris", "days": 2}

The one surprise: a null for a parameter that has a default and cannot be None counts as left out. Models write it for
"nothing to say here", and the strict form of a schema has no other way to leave a parameter out.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Mapping
from math import isfinite
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from .errors import ConfigurationError

__all__ = ["Arguments", "arguments_of", "converted", "documented", "schema_of", "strict_form"]

_AT = re.compile(r"(?P<what>.*?)(?: - at (?P<place>.*))?", re.DOTALL)
_SECTION = re.compile(r"(?:Args|Arguments|Parameters):[ \t]*")
_ENTRY = re.compile(r"(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)")
_UNSAID = ("contentEncoding", "default", "discriminator", "maxLength", "minLength", "uniqueItems")
"""What the strict form of a schema does not say; the arguments are checked for it when they are read."""


class Arguments(NamedTuple):
    """The parameters of a function: their JSON schema, and the way from JSON to keyword arguments."""

    type: Any
    schema: dict[str, Any]
    spare: frozenset[str]
    """Parameters with a default that cannot be None."""

    def kwargs(self, data: Any) -> dict[str, Any]:
        """*data* as keyword arguments of the annotated types; what is left out is left to the function's defaults.

        Raises:
            ValueError: it does not fit; the message is `days: expected int, got str`.
        """
        if isinstance(data, Mapping):
            data = {name: value for name, value in data.items() if value is not None or name not in self.spare}
        found = converted(data, self.type)
        return {name: getattr(found, name) for name in data}


def converted(data: Any, kind: Any) -> Any:
    """JSON *data* as a value of the type *kind*; a text of digits is good for a number.

    Raises:
        ValueError: it does not fit; the message begins with the path of what is wrong.
    """
    try:
        return msgspec.convert(data, kind, strict=False, str_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.ValidationError as error:
        text = str(error).replace("`", "")
        match = _AT.fullmatch(text)
        what, place = (match["what"], match["place"] or "") if match else (text, "")
        place = place.replace("$.", "").replace("$", "")
        what = what[:1].lower() + what[1:]
        raise ValueError(f"{place}: {what}" if place else what) from error


def arguments_of(function: Callable[..., Any], name: str, local: Mapping[str, Any]) -> Arguments:
    """The arguments of *function*; *local* are names that its annotations may use beside those of its module.

    Raises:
        ConfigurationError: a parameter has no annotation, or one that JSON cannot say, or cannot be given by name.
    """
    fields: list[tuple[str, Any, Any]] = []
    defaults: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        annotation = _annotation(function, name, parameter, local)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, annotation, msgspec.NODEFAULT))
            continue
        if parameter.default is None and not _admits_none(annotation):
            annotation = annotation | None
        defaults[parameter.name] = parameter.default
        # The function has the default; this one only says that the argument may be missing.
        fields.append((parameter.name, annotation, msgspec.field(default_factory=_left_out)))
    for field, annotation, _ in fields:
        _components(annotation, f"parameter {field!r} of tool {name!r}")
    try:
        kind = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"tool {name!r} has parameters of which no schema can be made ({error})") from error
    schema = schema_of(kind, f"tool {name!r}")
    del schema["title"]
    for field, default in defaults.items():
        _say_default(schema["properties"][field], default)
    spare = [field for field, annotation, _ in fields if field in defaults and not _admits_none(annotation)]
    return Arguments(kind, schema, frozenset(spare))


def _annotation(function: Any, name: str, parameter: inspect.Parameter, local: Mapping[str, Any]) -> Any:
    where = f"parameter {parameter.name!r} of tool {name!r}"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ConfigurationError(f"{where} stands for any number of arguments; give each argument a parameter")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise ConfigurationError(f"{where} is positional-only, and a model gives arguments by name; leave out the '/'")
    if parameter.annotation is parameter.empty:
        method = "; for a method, make the tool of the bound one: tool(thing.method)"
        raise ConfigurationError(
            f"{where} has no type; annotate it, like `{parameter.name}: str`"
            + (method if parameter.name in ("self", "cls") else "")
        )
    # Parameter by parameter, so that the error names it, and a return type that only a type checker sees is no matter.
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    function = inspect.unwrap(function)
    try:
        hints = get_type_hints(
            holder, getattr(function, "__globals__", {}), {**_closure(function), **local}, include_extras=True
        )
    except Exception as error:  # an annotation is an expression and can raise anything
        raise ConfigurationError(
            f"{where} has an annotation that cannot be resolved ({error}); import the type at runtime, "
            "or define it at the top of the module"
        ) from error
    return _described(hints[parameter.name])


def _closure(function: Any) -> dict[str, Any]:
    found = {}
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        with contextlib.suppress(ValueError):  # not bound yet: the function's own name, as long as it is decorated
            found[name] = cell.cell_contents
    return found


def _described(annotation: Any) -> Any:
    """A text in `Annotated[str, "the city"]` is a description too."""
    if get_origin(annotation) is Annotated:
        for text in get_args(annotation)[1:]:
            if isinstance(text, str):
                return Annotated[annotation, msgspec.Meta(description=text)]
    return annotation


def _left_out() -> None:
    return None


def _admits_none(annotation: Any) -> bool:
    try:
        return msgspec.convert(None, annotation) is None
    except (TypeError, msgspec.ValidationError):
        return False


def _say_default(schema: dict[str, Any], default: Any) -> None:
    if isinstance(default, float) and not isfinite(default):
        return
    # What is no JSON is a mark of the function's own, which a model cannot say.
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        schema["default"] = msgspec.json.decode(msgspec.json.encode(default))


def _components(kind: Any, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        (schema,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    except Exception as error:  # a type may have hooks of its own that raise
        said = str(error).strip()
        reason = said.splitlines()[-1] if said else type(error).__name__
        raise ConfigurationError(
            f"{where} has a type without a JSON schema ({reason}); use str, int, float, bool, list, dict, Literal, "
            "an enum, a dataclass, a TypedDict or a msgspec.Struct"
        ) from error
    return schema, definitions


def schema_of(kind: Any, where: str) -> dict[str, Any]:
    """The JSON schema of a type that is an object, with the types in it under `$defs`.

    Raises:
        ConfigurationError: *kind* has no schema, or is no object; *where* says what it was for.
    """
    schema, definitions = _components(kind, where)
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    root = {**definitions[name], **schema} if name else schema
    root.pop("$ref", None)
    if root.get("type") != "object":
        raise ConfigurationError(f"{where} must be an object; put the value into a field of a dataclass")
    if name and not _mentions(definitions, f"#/$defs/{name}"):
        del definitions[name]
    if definitions:
        root["$defs"] = definitions
    return _typed_enums(root)  # type: ignore[no-any-return]


def _mentions(node: Any, reference: str) -> bool:
    if isinstance(node, dict):
        return node.get("$ref") == reference or any(_mentions(value, reference) for value in node.values())
    return isinstance(node, list) and any(_mentions(value, reference) for value in node)


def _typed_enums(node: Any) -> Any:
    """The schema with a `type` beside each `enum`, which some providers insist on."""
    if isinstance(node, list):
        return [_typed_enums(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _typed_enums(value) for key, value in node.items()}
    values = node.get("enum")
    if isinstance(values, list) and "type" not in node:
        for kind, word in ((str, "string"), (bool, "boolean"), (int, "integer")):
            if all(type(value) is kind for value in values):
                return {"type": word, **node}
    return node


def strict_form(schema: dict[str, Any], where: str, spare: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The schema as OpenAI's structured outputs want it: every property required, and no others.

    The properties *spare* of the object itself may be null instead of missing; fields of the types in it are always
    written.

    Raises:
        ConfigurationError: a part of it is free-form: a dict, anything, a tuple of different types.
    """
    found = _strict({key: value for key, value in schema.items() if key != "$defs"}, where)
    for name in spare:
        inner = found["properties"][name]
        choices = inner["anyOf"] if inner.keys() == {"anyOf"} else [inner]
        found["properties"][name] = {"anyOf": [*choices, {"type": "null"}]}
    if "$defs" in schema:
        found["$defs"] = {name: _strict(inner, f"{where}: {name}") for name, inner in schema["$defs"].items()}
    return found


def _strict(node: dict[str, Any], where: str) -> dict[str, Any]:
    node = {key: value for key, value in node.items() if key not in _UNSAID}
    if "$ref" in node:
        reference = {"$ref": node.pop("$ref")}
        return {**node, "anyOf": [reference]} if node else reference  # a reference stands alone
    if "anyOf" in node:
        return {**node, "anyOf": [_strict(choice, where) for choice in node["anyOf"]]}
    if node.get("type") == "object":
        properties = node.get("properties")
        if properties is None or isinstance(node.get("additionalProperties"), dict):
            raise _free(where, "a dict with keys of any name", "a dataclass")
        properties = {name: _strict(inner, f"{where}: {name}") for name, inner in properties.items()}
        return {**node, "properties": properties, "required": list(properties), "additionalProperties": False}
    if node.get("type") == "array":
        if "prefixItems" in node or not isinstance(node.get("items"), dict):
            raise _free(where, "a list whose items have no one type", "list[...] or a dataclass")
        return {**node, "items": _strict(node["items"], f"{where}: items")}
    if not {"type", "enum", "const"} & node.keys():
        raise _free(where, "of any type", "one that says what it is")
    return node


def _free(where: str, what: str, instead: str) -> ConfigurationError:
    return ConfigurationError(f"{where} is {what}, which strict=True cannot say; use {instead}, or leave strict out")


def documented(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The description in a docstring, and those of the parameters in its `Args:` section (Google's style)."""
    if not docstring:
        return "", {}
    lines = inspect.cleandoc(docstring).splitlines()
    start = next((index for index, line in enumerate(lines) if _SECTION.fullmatch(line)), None)
    if start is None:
        return "\n".join(lines).strip(), {}
    end = next((index for index in range(start + 1, len(lines)) if lines[index][:1].strip()), len(lines))
    found: dict[str, str] = {}
    name, margin = "", 0
    for line in lines[start + 1 : end]:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        margin = margin or (indent if text else 0)
        entry = _ENTRY.fullmatch(text) if indent == margin else None
        if entry:
            name = entry["name"]
            found[name] = entry["text"]
        elif text and name:
            found[name] = f"{found[name]} {text}".strip()
    above, below = "\n".join(lines[:start]).strip(), "\n".join(lines[end:]).strip()
    return "\n\n".join([part for part in (above, below) if part]), found
