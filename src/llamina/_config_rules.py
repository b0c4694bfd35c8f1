"""How the settings of a class are read by their types, with every fault kept at its place.

    class Reader(Rules):
        def build(self, target, given, name): ...        # a table of settings
        def entry(self, kind, value): ...                # a table with a type

cattrs keeps the table of which type is read by what; the rules are stricter than its own: no text becomes a number, no
number a flag. The one surprise: a value that is no plain data (an object, in a mapping that was made by code) is passed
on as it is, for the class itself to judge.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from attrs import define, field

from ._config_secrets import fill_in
from ._config_settings import Imported, flattened
from ._config_values import (
    KINDS,
    FaultsError,
    anything,
    choice,
    could_be,
    error_class,
    is_callable,
    is_list,
    is_mapping,
    is_plain,
    is_table_class,
    joined,
    price_list,
    rank,
    reference,
    refused,
    scalar,
    shown,
    without_none,
    word,
)
from .errors import ConfigurationError
from .policy.prices import PriceBook
from .secret import Secret, mask, names_credential

if TYPE_CHECKING:
    import cattrs

__all__ = ["Rules"]


@define(eq=False)
class Rules:
    """Reads values.

    Attributes:
        environ: where secrets are looked up.
        remarks: (path, text) of what is worth a warning; secrets: what no message may show.
        cause: the last error of a class that refused its settings.
        path: where the reading is, from the top.
    """

    environ: Mapping[str, str]
    remarks: list[tuple[str, str]] = field(factory=list, kw_only=True)
    secrets: list[Secret] = field(factory=list, kw_only=True)
    path: list[str] = field(factory=list, kw_only=True)
    cause: BaseException | None = field(init=False, default=None)
    _rules: cattrs.Converter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rules = self._make_rules()

    def build(self, target: Callable[..., Any], given: Mapping[str, Any], name: str, told: str | None = None) -> Any:
        """Call *target* with the settings that are *given*."""
        raise NotImplementedError

    def entry(self, kind: str, value: Any) -> Any:
        """What a table with a `type` says."""
        raise NotImplementedError

    def safe_cause(self) -> BaseException | None:
        """The error of a class that refused its settings, unless it, or what it drags along, holds a secret."""
        cause = self.cause.__cause__ if isinstance(self.cause, ConfigurationError) else self.cause
        error = cause
        while error is not None:
            if (text := f"{error} {error!r} {error.args}") != self.masked(text):
                return None
            error = error.__cause__ or error.__context__
        return cause

    def masked(self, text: str) -> str:
        """*text* without the secrets that were read."""
        return mask(text, [secret for secret in self.secrets if len(secret.reveal()) > 3])

    def read_secret(self, value: str) -> Secret:
        try:
            secret, parts = fill_in(value, self.environ)
        except ConfigurationError as error:
            raise FaultsError(("", error.message)) from None
        self.secrets += [secret, *parts]
        if not parts:
            path = functools.reduce(joined, self.path, "")
            self.remarks.append((path, 'holds a secret in plain text; write "${NAME}" and export NAME'))
        return secret

    def read(self, value: Any, hint: Any) -> Any:
        """*value* as *hint*; what no rule of ours knows is left to cattrs: enums, dates, types of other packages."""
        if not is_plain(value):
            return value
        try:
            return self._rules.structure(value, hint)
        except FaultsError:
            raise
        except ConfigurationError as error:
            raise FaultsError(("", error.message)) from error
        except Exception as error:
            raise FaultsError(("", f"must be {word(hint)}, got {shown(value)}, which cannot be read as one")) from error

    def _make_rules(self) -> cattrs.Converter:
        import cattrs  # late: only who reads a stack needs it

        rules = cattrs.Converter(detailed_validation=False)
        own: list[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = [
            (is_table_class, self._table),
            (is_list, self._list),
            (is_mapping, self._mapping),
            (lambda hint: get_origin(hint) is Literal, choice),
            (lambda hint: hint in (Any, object), lambda value, _: anything(value)),
            (is_callable, reference),
            (lambda hint: get_origin(hint) is type or hint is type, lambda value, _: error_class(value)),
            (lambda hint: hint in KINDS, lambda value, hint: self.entry(KINDS[hint], value)),
            (lambda hint: hint is PriceBook, lambda value, _: price_list(value)),
            (lambda hint: len(flattened(hint)) > 1, self._either),
        ]
        for applies, read in own:
            rules.register_structure_hook_func(applies, read)
        for kind in (str, int, float, bool, Decimal, Path):  # cattrs would convert: "7" is 7 to it, and 0 is False
            rules.register_structure_hook(kind, scalar)
        rules.register_structure_hook(ContextVar, reference)
        rules.register_structure_hook(Imported, reference)
        rules.register_structure_hook(Secret, self._secret)
        return rules

    def _secret(self, value: Any, hint: Any) -> Secret:
        if not isinstance(value, str):
            raise refused(value, [hint])
        return self.read_secret(value)

    def _either(self, value: Any, hint: Any) -> Any:
        members = flattened(hint)
        if len(without_none(members)) < len(members) and (value is None or (value is False and bool not in members)):
            return None
        able = [member for member in without_none(members) if could_be(value, member)]
        if str in able and Secret in able:  # a text, which its name alone can make a secret
            able.remove(Secret)
        if not able:
            raise refused(value, members)
        first: FaultsError | None = None
        for member in sorted(able, key=lambda member: rank(value, member)):
            try:
                return self.read(value, member)
            except FaultsError as wrong:
                first = first or wrong
        raise first or refused(value, members)

    def _list(self, value: Any, hint: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise refused(value, [hint])
        inner = [one for one in get_args(hint) if one is not Ellipsis]
        kind = get_origin(hint) or hint
        items = self.each(value, lambda item: self.read(item, inner[0] if len(inner) == 1 else Any))
        return kind(items) if kind in (tuple, set, frozenset) else items

    def _mapping(self, value: Any, hint: Any) -> Any:
        if not isinstance(value, Mapping):
            raise refused(value, [hint])
        keys, values = get_args(hint) or (Any, Any)
        problems: list[tuple[str, str]] = []
        built = {}
        for key, item in value.items():
            place = str(key) if str(key).isidentifier() else f"[{str(key)!r}]"
            name = self.gathered(problems, place, partial(self.read, key, keys))
            secret = Secret in flattened(values) and names_credential(str(key)) and isinstance(item, str)
            read = partial(self.read_secret, item) if secret else partial(self.read, item, values)
            built[name] = self.gathered(problems, place, read)
        if problems:
            raise FaultsError(*problems)
        return built

    def _table(self, value: Any, hint: Any) -> Any:
        if not isinstance(value, Mapping):
            raise refused(value, [hint])
        return self.build(hint, value, hint.__name__)

    def each(self, values: Any, read: Callable[[Any], Any]) -> list[Any]:
        problems: list[tuple[str, str]] = []
        items = [self.gathered(problems, f"[{place}]", partial(read, item)) for place, item in enumerate(values)]
        if problems:
            raise FaultsError(*problems)
        return items

    def gathered(self, problems: list[tuple[str, str]], path: str, read: Callable[[], Any]) -> Any:
        self.path.append(path)
        try:
            return read()
        except FaultsError as wrong:
            problems += wrong.below(path)
            self.cause = wrong.__cause__ or self.cause
            return None
        finally:
            self.path.pop()
