"""From plain data to a stack: tables become layers, and every fault is told at once, each at its place.

    reader = Reader(environ=os.environ)
    stack = reader.stack({"transport": {"type": "echo"}, "layers": [{"type": "retry", "attempts": 4}]})

The one surprise: a class is only called when all of its settings could be read, so its own complaints come last.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import attrs
from attrs import define, field

from ._config_files import read_table
from ._config_rules import Rules
from ._config_secrets import Said
from ._config_settings import REQUIRED, Setting, flattened, own_name, settings_of
from ._config_values import (
    FaultsError,
    is_plain,
    shown,
    unknown,
)
from .errors import ConfigurationError
from .plugins import BUILT_IN, normalised, resolve
from .secret import Secret
from .stack import Stack, build_stack

__all__ = ["TOP", "Reader", "is_ready"]

VERSION = 1
TOP: Mapping[str, Any] = {
    "llamina": int,
    "transport": Mapping[str, Any],
    "layers": list[Any],
    "check": Literal["warn", "error", "off"],
    "hold_streams": bool,
    "stream_buffer": int,
}
"""What a stack file may say at its top."""


@define(eq=False)
class Reader(Rules):
    """Reads one source.

    Attributes:
        folder: what the files of nested stacks are relative to.
        open_files: files that are being read, so that none is read within itself.
        said: what each part was read from.
    """

    folder: Path = field(factory=Path)
    open_files: tuple[Path, ...] = ()
    said: Said = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.said = Said(self.secrets)

    # --- the stack -----------------------------------------------------------------------------------------------------

    def stack(self, table: Mapping[str, Any]) -> Stack:
        """The stack that *table* says; its order is not checked yet.

        Raises:
            FaultsError: with every fault that was found.
        """
        if table.get("llamina", VERSION) != VERSION:
            says = f"must be {VERSION}, the version of stack files that is read here, got {shown(table['llamina'])}"
            raise FaultsError(("llamina", says))
        problems = [("", unknown(name, TOP, "a stack")) for name in table if name not in TOP]
        layers = self.gathered(problems, "layers", partial(self._layers, table.get("layers", ())))
        transport = self.gathered(problems, "transport", partial(self._transport, table.get("transport")))
        said = {
            name: self.gathered(problems, name, partial(self.read, table[name], TOP[name]))
            for name in ("check", "hold_streams", "stream_buffer")
            if name in table
        }
        if problems:
            raise FaultsError(*problems)
        check = said.pop("check", "warn")
        try:
            stack = build_stack(layers, transport, check="off", **said)
        except ConfigurationError as error:
            raise FaultsError(("", error.message)) from error
        stack.check = check
        stack.__dict__["_said"] = self.said
        return stack

    def _layers(self, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise FaultsError(("", f"must be a list of tables, got {shown(value)}; write [[layers]] above each"))
        return self.each(value, partial(self.entry, "layer"))

    def _transport(self, value: Any) -> Any:
        if value is None:
            raise FaultsError(("", 'is missing; write transport = { type = "echo" }, or one that calls a provider'))
        return self.entry("transport", value)

    def _from_file(self, settings: Mapping[str, Any]) -> Stack:
        if others := [name for name in settings if name != "file"]:
            raise FaultsError((others[0], "the file says all of that stack; leave it out"))
        try:
            name = self.read(settings["file"], Path)
        except FaultsError as wrong:
            raise FaultsError(*wrong.below("file")) from None
        try:
            path = (self.folder / name).resolve()
            if path in self.open_files:
                raise ConfigurationError(f"{path.name} stands within itself; end it with another transport")
            table = read_table(path)
        except ConfigurationError as error:
            raise FaultsError(("file", error.message)) from error
        try:
            return self._nested(table, folder=path.parent, open_files=(*self.open_files, path))
        except FaultsError as wrong:
            raise FaultsError(
                *[(f"file({path.name})", f"{place}: {text}") for place, text in wrong.problems]
            ) from wrong.__cause__

    def _nested(self, table: Mapping[str, Any], **place: Any) -> Stack:
        reader = attrs.evolve(self, **place)
        try:
            return reader.stack(table)
        finally:
            self.cause = reader.cause or self.cause

    # --- an entry: a table with a type ---------------------------------------------------------------------------------

    def entry(self, kind: str, value: Any) -> Any:
        """What a table with a `type` says: a layer, a transport, a store or a backoff. A text is its type."""
        if not is_plain(value):
            return value
        table = {"type": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping):
            raise FaultsError(
                ("", f"must be a {kind}, a table with a type, got {shown(value)}; write {{ type = ... }}")
            )
        name = table.get("type")
        if not isinstance(name, str) or not name:
            got = shown(table) if name is None else shown(name)
            for key, said in table.items():  # the name stands there, under another key
                if name is None and said in tuple(BUILT_IN[kind]):
                    raise FaultsError((str(key), f"names a {kind}; did you mean type = {said!r}?"))
            raise FaultsError(("type", f"must name a {kind}, got {got}; write type = {next(iter(BUILT_IN[kind]))!r}"))
        settings = {key: setting for key, setting in table.items() if key != "type"}
        if kind == "transport" and name == "stack":
            return self._from_file(settings) if "file" in settings else self._nested(settings)
        try:
            target = resolve(kind, name)
        except ConfigurationError as error:
            raise FaultsError(("type", error.message)) from error
        if not is_ready(kind, target):
            name = name if ":" in name else normalised(name)
            return self.build(target, settings, name, name)
        if settings:
            raise FaultsError((str(next(iter(settings))), f"{name} is a {kind} as it stands and has no settings"))
        self.said.keep(target, {"type": name})
        return target

    def build(self, target: Callable[..., Any], given: Mapping[str, Any], name: str, told: str | None = None) -> Any:
        """Call *target* with the settings that are *given*, each read by its type."""
        settings, open_ended = settings_of(target)
        problems: list[tuple[str, str]] = []
        built: dict[str, Any] = {}
        for key, value in given.items():
            setting = settings.get(key) or (Setting(key, key, Any, REQUIRED) if open_ended else None)
            if setting is None:
                problems.append(("", unknown(key, settings, name)))
            else:
                built[key] = self.gathered(problems, key, partial(self._setting, setting, value))
        for key, setting in settings.items():
            if setting.default is REQUIRED and key not in given:
                problems.append((key, f"is missing; {name} needs it"))
        if problems:
            raise FaultsError(*problems)
        try:
            made = target(**built)
        except (Exception, SystemExit) as error:  # strangers' classes refuse their settings in their own ways
            raise _refusal(error, own_name(target), settings) from error
        # A secret that is written out is not remembered: what is remembered may be written again.
        hidden = [key for key, one in settings.items() if one.secret and "${" not in str(given.get(key))]
        told_as = {} if told is None else {"type": told}
        self.said.keep(made, {**told_as, **{key: value for key, value in given.items() if key not in hidden}})
        return made

    def _setting(self, setting: Setting, value: Any) -> Any:
        if setting.secret and isinstance(value, str):
            secret = self.read_secret(value)
            if setting.name == "api_key" and secret.reveal().lower().startswith("bearer "):
                raise FaultsError(("", "must be the key alone; leave out 'Bearer ', it is added where it belongs"))
            return secret if Secret in flattened(setting.hint) else secret.reveal()
        optional = (value is None or value is False) and NoneType in flattened(setting.hint)
        if setting.secret and is_plain(value) and not optional:
            raise FaultsError(("", f'must be text, got {type(value).__name__}; write "${{NAME}}" and export NAME'))
        if setting.converter is not None and Decimal not in flattened(setting.hint):
            return self.read(value, setting.hint | setting.converter)
        return self.read(value, setting.hint)


def _refusal(error: BaseException, owner: str, settings: Mapping[str, Any]) -> FaultsError:
    """What a class said when it was built, at the setting that it names."""
    text = str(getattr(error, "message", "") or error) or "no reason is given"
    text = text if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {text}"
    named = re.match(rf"(?:{re.escape(owner)}\.)?(\w+)", text)
    return FaultsError((named[1] if named and named[1] in settings else "", text))


def is_ready(kind: str, target: Any) -> bool:
    """Whether *target* is a layer or a transport itself, not what makes one."""
    if kind not in ("layer", "transport") or isinstance(target, type | functools.partial):
        return False
    if not inspect.isroutine(target):  # an object that was made in its module
        return True
    if kind == "transport":
        return inspect.iscoroutinefunction(target)
    return next(iter(settings_of(target)[0]), "") in ("call_next", "handler", "next_handler")
