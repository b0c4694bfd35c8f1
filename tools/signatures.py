"""Signatures as one would write them: types as in the source, defaults as they are built, long ones on several lines."""

from __future__ import annotations

import inspect
import types
from typing import Any, ForwardRef

import attrs
import msgspec

WIDTH = 80


def signature(thing: Any, name: str, *, bound: bool = False) -> str:
    """`name(parameters) -> result`, on several lines where it is long."""
    parameters, result = parameters_of(thing)
    if bound:
        parameters = parameters[1:]
    short = f"{name}({', '.join(parameters)}){result}"
    if len(short) <= WIDTH:
        return short
    return f"{name}(\n" + "".join(f"    {one},\n" for one in parameters) + f"){result}"


def parameters_of(thing: Any) -> tuple[list[str], str]:
    """The parameters as they would be written, and ` -> result`."""
    call = thing
    if isinstance(thing, type):
        if issubclass(thing, msgspec.Struct) or issubclass(thing, tuple):
            call = thing
        elif getattr(thing, "_is_protocol", False):
            return [], ""
        elif attrs.has(thing) or "__init__" in vars(thing) or issubclass(thing, BaseException):
            call = thing.__init__  # a class that refuses unknown settings has a __new__ that hides its parameters
        elif thing.__init__ is object.__init__ and thing.__new__ is object.__new__:
            return [], ""
    try:
        told = inspect.signature(call)
    except (TypeError, ValueError):
        return ["..."], ""
    factories = (
        {one.alias: one.default for one in attrs.fields(thing)} if isinstance(thing, type) and attrs.has(thing) else {}
    )
    sources = source_types(thing) if isinstance(thing, type) else {}
    written: list[str] = []
    previous = None
    parameters = list(told.parameters.values())
    if call is not thing:
        parameters = parameters[1:]
    for one in parameters:
        if previous is not None and previous.kind is one.POSITIONAL_ONLY and one.kind is not one.POSITIONAL_ONLY:
            written.append("/")
        if one.kind is one.KEYWORD_ONLY and not any(text.startswith("*") for text in written):
            written.append("*")
        if not one.name.startswith("_") or one.kind is not one.POSITIONAL_OR_KEYWORD:
            source = sources.get(one.name)
            evaluated = call is thing or one.annotation in (Any, "Any")  # the source says it better
            one = one.replace(annotation=source) if source and evaluated else one  # noqa: PLW2901
            written.append(parameter(one, factories.get(one.name)))
        previous = one
    result = annotation(told.return_annotation)
    return written, f" -> {result}" if result and not isinstance(thing, type) else ""


def source_types(kind: type) -> dict[str, str]:
    """The types of the fields of a class, as they stand in its source."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for name, text in vars(base).get("__annotations__", {}).items():
            found[name] = annotation(text)
    return found


def parameter(one: inspect.Parameter, factory: Any) -> str:
    """One parameter with its type and its default."""
    star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = annotation(one.annotation)
    text = f"{star}{one.name}" + (f": {kind}" if kind else "")
    if one.default is one.empty:
        return text
    value = default(factory if factory is not None else one.default)
    return f"{text} = {value}" if kind else f"{text}={value}"


def default(value: Any) -> str:
    """A default as one would write it; "..." for what is made anew each time."""
    if isinstance(value, attrs.Factory):
        return f"{value.factory.__name__}()" if isinstance(value.factory, type) and not value.takes_self else "..."
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return "..." if "._" in value.__module__ else value.__name__
    text = "..." if value is ... else repr(value)
    return "..." if text.startswith("<") or " at 0x" in text or text == "NOTHING" else text


def annotation(kind: Any) -> str:
    """A type as it is written in the source."""
    if kind in (None, inspect.Signature.empty):
        return "" if kind is not None else "None"
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        return kind.strip("'\"")
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
