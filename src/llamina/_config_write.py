"""From a stack to plain data: each part with its type and the settings that differ from the defaults.

    written(build_stack([Retry(attempts=5)], EchoTransport()))
    # {"transport": {"type": "echo"}, "layers": [{"type": "retry", "attempts": 5}]}

A part is asked in this order: its own `to_config()`, its attributes where it is an attrs class or a dataclass, and last
what it was read from. The one surprise: a source of chance (`random.Random`) is no setting; a seed is not written.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from . import errors
from ._config_prices import BOOKS, written_prices
from ._config_read import is_ready
from ._config_secrets import FromEnvironment, Said, escaped
from ._config_settings import REQUIRED, Setting, names_secret, own_name, path_of, settings_of
from .errors import ConfigurationError
from .plugins import BUILT_IN, KINDS, Plugin, plugins
from .policy.genai import GenAIPrices
from .secret import Secret, names_credential
from .stack import Stack

__all__ = ["written"]

_LEFT_OUT = object()


def written(stack: Stack) -> dict[str, Any]:
    """What a file of *stack* says.

    Raises:
        ConfigurationError: a part cannot be said; names it, and the remedy.
    """
    said = stack.__dict__.get("_said", Said())
    config: dict[str, Any] = {}
    if stack.check != "warn":
        config["check"] = stack.check
    if stack._hold:
        config["hold_streams"] = True
    if stack._buffer != 64:
        config["stream_buffer"] = stack._buffer
    writer = _Writer(said)
    if isinstance(stack.transport, Stack):
        config["transport"] = {"type": "stack", **written(stack.transport)}
    else:
        config["transport"] = writer.part("transport", stack.transport, "transport")
    config["layers"] = [writer.part("layer", layer, f"layers[{place}]") for place, layer in enumerate(stack.layers)]
    return config


class _Writer:
    def __init__(self, said: Said) -> None:
        self._said = said
        self._plugins: dict[str, list[Plugin]] = {}  # found once for a stack, and only if it is needed

    def part(self, kind: str, part: Any, path: str) -> dict[str, Any]:
        """The table of a layer, a transport, a store or a backoff."""
        own = getattr(part, "to_config", None)
        entry = self._said.of(part)
        if callable(own):
            told = _told(own, part, path)
            name = told.pop("type", None) or self._type_of(kind, type(part))
            settings = self._mapping(told, path)
        elif attrs.has(type(part)) or hasattr(type(part), "__dataclass_fields__"):
            name = self._type_of(kind, type(part))
            settings = self.settings(part, path)
        else:
            name = path_of(part) if is_ready(kind, part) else None
            if name is None and entry:
                return dict(self._again(entry, path))
            settings = {}
        if name is None:
            raise ConfigurationError(
                f"{path}: {own_name(part)} cannot be said in a stack file; make it in a module of yours (there by its "
                "name, as type = 'module:name'), or give it a to_config() that returns its type and settings"
            )
        return {"type": name, **settings}

    def settings(self, part: Any, path: str) -> dict[str, Any]:
        """What the attributes of *part* say, where that is not the default."""
        entry = self._said.of(part)
        table: dict[str, Any] = {}
        for name, setting in settings_of(type(part))[0].items():
            place = f"{path}.{name}"
            value = getattr(part, setting.attribute, _LEFT_OUT)
            if value is _LEFT_OUT:
                continue
            try:
                said = self._setting(setting, value, place)
            except ConfigurationError:
                if name not in entry:
                    raise
                said = self._again(entry[name], place, name)
            if setting.secret and said is _LEFT_OUT and name in entry and "${" in str(entry[name]):
                said = entry[name]
            if said is _LEFT_OUT:
                if setting.secret and setting.default is REQUIRED:
                    raise ConfigurationError(
                        f'{place} is a secret that code gave, which is not written; read it from a file as "${{NAME}}"'
                    )
                continue
            if not self._is_default(setting, value, said, part):
                table[name] = said
        return _tidied(part, table)

    def _setting(self, setting: Setting, value: Any, path: str) -> Any:
        if setting.secret and isinstance(value, str):
            return _LEFT_OUT
        if setting.attribute == "rng" or type(value) is random.Random:
            return _LEFT_OUT if type(value) is random.Random else self._plain(value, path)
        if callable(value) and value is setting.default:
            return _LEFT_OUT
        return self._plain(value, path)

    def _is_default(self, setting: Setting, value: Any, said: Any, part: Any) -> bool:
        usual = setting.default
        if usual is REQUIRED:
            return False
        if isinstance(usual, attrs.Factory):  # type: ignore[arg-type]
            usual = usual.factory(part) if usual.takes_self else usual.factory()
        if usual is None:
            empty = isinstance(value, Mapping) and not said
            return value is None or empty or (isinstance(value, GenAIPrices) and said == "genai")
        if type(usual) in (bool, int, float, str, bytes):
            return type(value) is type(usual) and bool(value == usual)
        try:
            return bool(said == self._plain(usual, setting.name))
        except ConfigurationError:
            return False

    def _plain(self, value: Any, path: str) -> Any:
        if value is None:
            return False
        if isinstance(value, Enum):
            return self._plain(value.value, path)
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return _LEFT_OUT if self._said.shows_secret(value) else escaped(value)
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, PurePath):
            return escaped(str(value))
        if isinstance(value, Secret):
            return value.template if isinstance(value, FromEnvironment) else _LEFT_OUT
        if isinstance(value, logging.Logger):
            return escaped(value.name)
        if isinstance(value, BOOKS):
            return written_prices(value, path)
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            said = [self._plain(item, f"{path}[{place}]") for place, item in enumerate(items)]
            return [item for item in said if item is not _LEFT_OUT]
        if isinstance(value, type) and issubclass(value, BaseException):
            name: str = value.__name__
            return name if getattr(errors, name, None) is value else self._named(value, path)
        if callable(value) and (inspect.isroutine(value) or isinstance(value, type)):
            return self._named(value, path)
        return self._object(value, path)

    def _mapping(self, value: Mapping[Any, Any], path: str) -> dict[str, Any]:
        table = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else str(self._plain(key, path))
            said = self._plain(item, f"{path}.{name}")
            if isinstance(item, str) and _hides(name, f"{path}.{name}"):
                said = item if "${" in item else self._said.template_of(item) or _LEFT_OUT
            if said is not _LEFT_OUT:
                table[name] = said
        return table

    def _again(self, value: Any, path: str, name: str = "") -> Any:
        """What was read, to be written again: as it stood there, without the secrets that stood there too."""
        if isinstance(value, Mapping):
            table = {key: self._again(item, f"{path}.{key}", key) for key, item in value.items()}
            return {key: item for key, item in table.items() if item is not _LEFT_OUT}
        if isinstance(value, list | tuple):
            return [self._again(item, f"{path}[{place}]") for place, item in enumerate(value)]
        if isinstance(value, str):
            return _LEFT_OUT if _hides(name, path) and "${" not in value else value
        return value if isinstance(value, bool | int | float) else self._plain(value, path)

    def _object(self, value: Any, path: str) -> Any:
        """A store, a backoff, or an object of a class whose settings are a table."""
        if isinstance(value, Stack):
            return {"type": "stack", **written(value)}
        for kind in KINDS:
            if self._type_of(kind, type(value), announced=True):
                return self.part(kind, value, path)
        for kind, method in (("backoff", "delay"), ("store", "set")):
            if callable(getattr(value, method, None)):
                return self.part(kind, value, path)
        if attrs.has(type(value)) or hasattr(type(value), "__dataclass_fields__"):
            return self.settings(value, path)
        raise ConfigurationError(
            f"{path}: {type(value).__name__} cannot be said in a stack file; leave the setting out, or build this stack "
            "in code"
        )

    def _type_of(self, kind: str, target: Any, *, announced: bool = False) -> str | None:
        """The name under which a file says *target*; None if importing does not lead to it."""
        path = path_of(target)
        for name, own in BUILT_IN[kind].items():
            if own == path:
                return name
        if kind not in self._plugins:
            self._plugins[kind] = [plugin for plugin in plugins(kind) if not plugin.problem]
        for plugin in self._plugins[kind]:
            if plugin.target.replace(" ", "") == path:
                return plugin.name
        return None if announced else path

    def _named(self, value: Any, path: str) -> str:
        name = path_of(value)
        if name is None:
            raise ConfigurationError(
                f"{path}: the function {own_name(value)} cannot be said in a stack file, for importing it is not possible; "
                "define it at the top of a module"
            )
        return name


def _hides(name: str, path: str) -> bool:
    """Whether a text that stands under *name* is a secret."""
    return names_secret(name) or ("headers" in path and names_credential(name))


def _told(own: Any, part: Any, path: str) -> dict[str, Any]:
    """What a part says of itself."""
    try:
        return dict(own())
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from error
    except Exception as error:
        raise ConfigurationError(
            f"{path}: {own_name(part)}.to_config() must return a dict of its settings, and failed: {error!r}"
        ) from error


def _tidied(part: Any, table: dict[str, Any]) -> dict[str, Any]:
    """*table* without what a transport has filled in from its preset."""
    from .transports import HTTPTransport, presets
    from .transports._sdk_terminal import SDKTerminal

    if isinstance(part, HTTPTransport):
        preset = presets().get(part.provider)
        if preset is None and part.base_url is not None:
            from urllib.parse import urlsplit

            if table.get("provider") == urlsplit(part.base_url).hostname:
                del table["provider"]
        elif preset is not None and part.base_url == preset.find_url():
            table.pop("base_url", None)
        if part.wire == (preset.wire if preset is not None else "chat"):
            table.pop("wire", None)
    elif isinstance(part, SDKTerminal) and not part._elsewhere and part.client is None:
        table.pop("base_url", None)
    return table
