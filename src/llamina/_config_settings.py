"""The settings that a class or a function takes: their names, types and defaults, from its signature.

    settings, open_ended = settings_of(Retry)
    settings["attempts"].hint, settings["attempts"].default         # int, 3

The types are those of the fields, where it is an attrs class, and those of the annotations elsewhere. The one surprise:
an annotation that cannot be read (a name that only a type checker imports) is no fault: the setting takes what is written.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs
from attrs import frozen

from .secret import Secret

__all__ = ["REQUIRED", "Imported", "Setting", "flattened", "names_secret", "own_name", "path_of", "settings_of"]

REQUIRED = object()
"""The default of a setting that has none."""

_SECRET_NAME = re.compile(
    r"(^|_)((api|access|secret|private|signing|encryption)_?key|auth(orization)?|bearer|token|secret|password|passwd"
    r"|passphrase|credentials?)$",
    re.IGNORECASE,
)


def names_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret, whatever its type."""
    return bool(_SECRET_NAME.search(name))


@frozen
class Setting:
    """One setting.

    Attributes:
        name: as it is written; attribute: as the object keeps it.
        hint: its type; what cannot be read is `Any`.
        default: `REQUIRED` where there is none, an `attrs.Factory` where it is made.
        converter: the type that the class converts from, where that is said.
    """

    name: str
    attribute: str
    hint: Any
    default: Any
    converter: Any = None

    @property
    def secret(self) -> bool:
        """Whether it holds a secret, by its type or its name."""
        parts = flattened(self.hint)
        return Secret in parts or ((str in parts or Any in parts) and names_secret(self.name))


class Imported:
    """The type of a setting that is any object, written as `module:attribute`."""


_SAYS_TOO_LITTLE: Mapping[tuple[str | None, str], Any] = {
    ("llamina.layers.circuit_breaker:CircuitBreaker", "listeners"): tuple[Imported, ...],
    ("llamina.layers.circuit_breaker:CircuitBreaker", "storage"): Imported | None,
    ("llamina.layers.retry:Retry", "retry_on"): Callable[..., Any]
    | tuple[type[BaseException], ...]
    | type[BaseException],
}
"""Settings whose annotation is wider or narrower than what can be written in a file."""


def settings_of(target: Callable[..., Any]) -> tuple[dict[str, Setting], bool]:
    """The settings of *target* by the name that is written, and whether it takes any others besides."""
    maker: Any = target
    fields: dict[str, Any] = {}
    if isinstance(target, type) and attrs.has(target):
        maker = target.__init__
        fields = {one.alias or one.name: one for one in attrs.fields(target) if one.init}
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):  # written in C, or an object that hides what it takes
        return {}, True
    own: dict[str, Setting] = {}
    open_ended = False
    for number, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            continue
        if number == 0 and maker is not target:  # self
            continue
        field = fields.get(name)
        if field is not None:
            hint = _field_type(target, field)
            default = REQUIRED if field.default is attrs.NOTHING else field.default
            own[name] = Setting(name, field.name, hint, default, _converted_from(field.converter))
        else:
            default = REQUIRED if parameter.default is parameter.empty else parameter.default
            own[name] = Setting(name, name, _parameter_type(target, parameter), default)
    return own, open_ended


def _field_type(owner: Any, field: Any) -> Any:
    for base in owner.__mro__:
        if (path_of(base), field.name) in _SAYS_TOO_LITTLE:
            return _SAYS_TOO_LITTLE[path_of(base), field.name]
    if not isinstance(field.type, str):
        return Any if field.type is None else field.type
    for base in owner.__mro__:  # a name means what it means where the field was written
        hint = _read(field.type, _names_in(base.__module__), vars(base))
        if hint is not Any:
            return hint
    return Any


def _converted_from(converter: Any) -> Any:
    """What a converter says that it takes; None if it does not say."""
    if not inspect.isfunction(converter):
        return None
    parameters = list(inspect.signature(converter).parameters.values())
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        return None
    hint = _read(parameters[0].annotation, converter.__globals__, {})
    return None if hint in (Any, object) else hint


def _parameter_type(target: Any, parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    of_class = isinstance(target, type)
    function = target.__init__ if of_class else inspect.unwrap(target)
    # A dataclass has its __init__ made elsewhere; an object is called through its class.
    names = getattr(function, "__globals__", {})
    module = target.__module__ if of_class else getattr(target, "__module__", None) or type(target).__module__
    return _read(parameter.annotation, {**names, **_names_in(module)}, {})


def _names_in(module: str) -> Mapping[str, Any]:
    found = sys.modules.get(module)
    return {} if found is None else vars(found)


def _read(annotation: Any, names: Mapping[str, Any], local: Mapping[str, Any]) -> Any:
    """The type that *annotation* means; `Any` for one that means nothing at run time."""

    def holder() -> None:
        """Nothing but what carries the annotation."""

    holder.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(holder, dict(names), dict(local))["it"]
    except Exception:  # noqa: BLE001 - whatever a stranger has annotated
        return Any


def flattened(hint: Any) -> tuple[Any, ...]:
    """The members of a union, those of its unions included; a type that is none is its own only member."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(dict.fromkeys([part for member in get_args(hint) for part in flattened(member)]))
    return (NoneType if hint is None else hint,)


def path_of(thing: Any) -> str | None:
    """`module:attribute`, where importing that gives back the very same thing; else None."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module not in sys.modules or "<" in name:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is thing else None


def own_name(thing: Any) -> str:
    """What an error calls it."""
    return str(getattr(thing, "__name__", None) or type(thing).__name__)
