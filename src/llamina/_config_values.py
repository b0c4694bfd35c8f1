"""How single values are read: what a type takes, and what is said of a value that it does not take.

    scalar("30s", float)        # FaultsError: must be a number, got '30s'; durations are plain seconds, like 30

The one surprise: nothing is converted by guessing. A number is never made of a text, nor a flag of a number.
"""

from __future__ import annotations

import collections.abc
import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs

from . import errors
from ._config_secrets import plain_text
from ._config_settings import Imported
from .errors import ConfigurationError
from .plugins import import_object
from .policy.backoff import Backoff
from .policy.genai import GenAIPrices
from .policy.prices import PriceBook
from .protocol import Handler, Middleware
from .secret import Secret
from .stores.base import Store

__all__ = [
    "KINDS",
    "FaultsError",
    "anything",
    "choice",
    "could_be",
    "error_class",
    "is_callable",
    "is_list",
    "is_mapping",
    "is_plain",
    "is_table_class",
    "joined",
    "price_list",
    "rank",
    "reference",
    "refused",
    "scalar",
    "shown",
    "unknown",
    "without_none",
    "word",
]

KINDS: Mapping[Any, str] = {Backoff: "backoff", Store: "store", Handler: "transport", Middleware: "layer"}
"""The types that are written as a table with a `type`."""

_REFERENCE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_AMOUNT = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+")
_LISTS = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Set,
)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_TIMES = (dt.date, dt.time)
_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Decimal: "an amount as text, like '1.50'",
    Path: "a path",
    Secret: "text",
    Any: "a value",
    PriceBook: "a table of prices",
    Imported: "an object as 'module:name'",
    ContextVar: "a ContextVar as 'module:name'",
}


class FaultsError(Exception):
    """Faults that were found, as pairs: the place below here, what is wrong there."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def below(self, path: str) -> list[tuple[str, str]]:
        """The same, seen from further up."""
        return [(joined(path, place), text) for place, text in self.problems]


def joined(path: str, place: str) -> str:
    """The path of *place* below *path*."""
    return path + place if not path or not place or place.startswith("[") else f"{path}.{place}"


def unknown(name: Any, known: Iterable[str], owner: str) -> str:
    """What is said of a setting that *owner* does not have, with the nearest that it has."""
    names = list(known)
    wanted = str(name)
    near = get_close_matches(wanted.replace("-", "_"), names, 1, cutoff=0.6)
    near = (
        near or [each for each in names if min(len(each), len(wanted)) > 2 and (each in wanted or wanted in each)][:1]
    )
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
    return f"unknown setting {wanted!r} of {owner}; {hint}"


def shown(value: Any) -> str:
    """*value* as an error shows it: short, and in the words of the file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"a table ({', '.join(map(str, value)) or 'empty'})"
    if isinstance(value, _TIMES):
        return f"the {type(value).__name__} {value.isoformat()}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def word(hint: Any) -> str:
    """What *hint* takes, in a word or some."""
    if hint in KINDS:
        return f"a {KINDS[hint]} like {{ type = ... }}"
    if get_origin(hint) is Literal:
        return f"one of {', '.join([repr(one) for one in get_args(hint)])}"
    if is_callable(hint):
        return "a function as 'module:name'"
    if is_list(hint):
        return "a list"
    if is_mapping(hint) or is_table_class(hint):
        return "a table"
    if get_origin(hint) is type:
        return "an error class by its name"
    return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))


# --- which values a type may take --------------------------------------------------------------------------------------


def is_plain(value: Any) -> bool:
    """Whether a file could say it; anything else comes from code and is judged by the class that gets it."""
    return value is None or isinstance(value, str | int | float | list | tuple | Mapping | dt.date | dt.time)


def is_list(hint: Any) -> bool:
    """Whether it is written as a list."""
    return get_origin(hint) in _LISTS or hint in _LISTS


def is_mapping(hint: Any) -> bool:
    """Whether it is written as a table with keys of one's own."""
    return get_origin(hint) in _MAPPINGS or hint in _MAPPINGS


def is_callable(hint: Any) -> bool:
    """Whether it is a function."""
    return hint is Callable or get_origin(hint) is collections.abc.Callable or hint is collections.abc.Callable


def is_table_class(hint: Any) -> bool:
    """Whether it is a class whose settings are a table."""
    return isinstance(hint, type) and (attrs.has(hint) or hasattr(hint, "__dataclass_fields__"))


def could_be(value: Any, hint: Any) -> bool:
    """Whether *hint* takes values of that form, right or wrong."""
    if hint in (Any, object) or (get_origin(hint) is Literal and not isinstance(value, list | Mapping)):
        return True
    if isinstance(value, str):
        texts = hint in (str, Decimal, Path, Secret, PriceBook, PathLike, *KINDS) or get_origin(hint) is PathLike
        return texts or is_callable(hint) or get_origin(hint) is type or _is_other(hint)
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int | float):
        return hint in (float, Decimal) or (hint is int and isinstance(value, int)) or _is_other(hint, Enum)
    if isinstance(value, Mapping):
        return is_mapping(hint) or is_table_class(hint) or hint in KINDS or hint is PriceBook
    if isinstance(value, list | tuple):
        return is_list(hint) or hint is PriceBook
    return _is_other(hint, *_TIMES)


def _is_other(hint: Any, *kinds: type) -> bool:
    """Whether it is a class that only cattrs knows how to read."""
    if not isinstance(hint, type) or hint in (str, int, float, bool, NoneType):
        return False
    return issubclass(hint, kinds) if kinds else not (is_table_class(hint) or is_list(hint) or is_mapping(hint))


def rank(value: Any, hint: Any) -> int:
    """Of several types that take *value*, which to try first: the lowest."""
    if isinstance(value, str):
        if is_callable(hint) or get_origin(hint) is type:
            return 0 if ":" in value or get_origin(hint) is type else 3
        return 2 if hint in (Any, object) else 1
    if isinstance(value, Mapping):
        # Settings are in lower case, names of error classes are not: a table of settings has lost its type.
        settings = "type" in value or all([str(key).islower() and ":" not in str(key) for key in value])
        return 0 if hint in KINDS and settings else 1 if is_mapping(hint) else 2
    return 1 if hint in (Any, object) or (hint is float and isinstance(value, int)) else 0


# --- the reading -------------------------------------------------------------------------------------------------------


def refused(value: Any, members: Iterable[Any]) -> FaultsError:
    """The error for a value of a form that none of *members* takes."""
    kinds = without_none(members)
    words = " or ".join(dict.fromkeys([word(kind) for kind in kinds]))
    off = "; false is for none" if len(list(members)) > len(kinds) and bool not in kinds else ""
    return FaultsError(("", f"must be {words}, got {shown(value)}{_remedy(value, kinds)}{off}"))


def without_none(members: Iterable[Any]) -> list[Any]:
    """The types of a union that are a type."""
    return [member for member in members if member is not NoneType]


def _remedy(value: Any, kinds: list[Any]) -> str:
    if isinstance(value, str) and "${" in value:
        return "; ${NAME} is filled in only where a setting holds a secret"
    if float in kinds or int in kinds:
        if isinstance(value, dt.time):
            seconds = value.hour * 3600 + value.minute * 60 + value.second
            return f"; durations are plain seconds: write {seconds}"
        if isinstance(value, str):
            digits = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds)?\s*", value)
            if digits:
                return f"; write {digits[1]}, without quotes"
            return "; durations are plain seconds, like 30" if re.match(r"\s*\d", value) else ""
    if Decimal in kinds and isinstance(value, float):
        return f"; write '{value!r}', with quotes"
    return ""


def scalar(value: Any, hint: Any) -> Any:
    """A text, a number or a flag, as it is written."""
    if hint is str and isinstance(value, str):
        return _checked(value)
    if hint is Path and isinstance(value, str):
        return Path(_checked(value))
    if hint is bool and isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and hint in (int, float, Decimal):
        return Decimal(value) if hint is Decimal else value
    if hint is float and isinstance(value, float):
        return value
    if hint is Decimal and isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    raise refused(value, [hint])


def _checked(text: str) -> str:
    try:
        return plain_text(text)
    except ConfigurationError as error:
        raise FaultsError(("", error.message)) from None


def choice(value: Any, hint: Any) -> Any:
    """One of the words that a type lists."""
    words = get_args(hint)
    if any([value == one and type(value) is type(one) for one in words]):
        return value
    near = get_close_matches(str(value), [str(one) for one in words], 1)
    raise FaultsError(("", f"must be {word(hint)}, got {shown(value)}{f'; did you mean {near[0]!r}?' if near else ''}"))


def anything(value: Any) -> Any:
    """A value of which no type is known."""
    if isinstance(value, str):
        return _checked(value)
    if isinstance(value, list | tuple):
        return [anything(item) for item in value]
    if isinstance(value, Mapping):
        return {key: anything(item) for key, item in value.items()}
    return value


def reference(value: Any, hint: Any) -> Any:
    """What `module:attribute` names; it must be a function where *hint* is one."""
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise refused(value, [hint])
    found = _imported(value)
    if is_callable(hint) and not callable(found):
        raise FaultsError(("", f"must be a function as 'module:name', but {value!r} is {type(found).__name__}"))
    return found


def _imported(value: str) -> Any:
    try:
        return import_object(value, repr(value))
    except ConfigurationError as error:
        raise FaultsError(("", error.message)) from error


def error_class(value: Any) -> Any:
    """An error class: the name of one of llamina's, or `module:Class`."""
    if isinstance(value, str) and ":" in value:
        return _imported(value)
    if isinstance(value, str) and value in errors.__all__:
        return getattr(errors, value)
    near = get_close_matches(str(value), errors.__all__, 1)
    hint = f"did you mean {near[0]!r}?" if near else "use one of llamina.errors, or 'module:Class'"
    raise FaultsError(("", f"must be an error class by its name, got {shown(value)}; {hint}"))


def price_list(value: Any) -> Any:
    """Prices: a table by model, "genai" for those of the genai-prices package, a list of such in order."""
    if value is None or value is False or value == "genai":
        return GenAIPrices()
    if isinstance(value, str):
        return reference(value, PriceBook)
    if isinstance(value, Mapping):
        return anything(value)
    if isinstance(value, list | tuple):
        return [price_list(item) for item in value]
    raise FaultsError(("", f"must be a table of prices by model, or 'genai', got {shown(value)}"))
