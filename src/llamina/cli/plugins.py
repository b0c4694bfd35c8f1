"""What installed packages bring, on the screen: `llamina plugins`.

    list_plugins(check=True, as_json=False)      # 0; 1 if one of them is broken

Each is imported, to see whether it can be. With `check` the conformance kit is run on what can be built without
settings.

The one surprise: a check runs without a network and in an empty folder, and what plugins print goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

from attrs import field, frozen

from llamina._config_read import is_ready
from llamina.errors import ConfigurationError
from llamina.plugins import Plugin, plugins

__all__ = ["Verdict", "list_plugins"]

_WRONG = ("broken", "hidden", "breaks", "not checked")
_HOMES = ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_COLUMNS = ("kind", "name", "package", "version", "target", "status")


@frozen
class Verdict:
    """What was found out about one plugin.

    Attributes:
        status: "works" (it can be imported), "conforms", "breaks" (clauses of the protocol), "broken" (it cannot be
            imported or built), "hidden" (it cannot be found by its name), "needs settings" or "not checked".
        reason: why; "" where there is nothing to say.
        clauses: the names of those that held, if it conforms; of those that did not, if it breaks some.
    """

    status: str
    reason: str = ""
    clauses: list[str] = field(factory=list)

    @property
    def wrong(self) -> bool:
        """Whether the package has to be mended, or the check that was asked for could not be made."""
        return self.status in _WRONG

    def __str__(self) -> str:
        if not self.clauses:
            return self.status
        return f"{self.status} ({len(self.clauses)} clause{'s' if len(self.clauses) > 1 else ''})"


def list_plugins(*, check: bool, as_json: bool) -> int:
    """Print what is installed; with *check* run the conformance kit. 1 if anything is to be mended or was not checked."""
    with contextlib.redirect_stdout(sys.stderr):
        found = [(plugin, _verdict(plugin, check=check)) for plugin in plugins()]
    if as_json:
        print(json.dumps([_plain(plugin, verdict) for plugin, verdict in found], indent=2, ensure_ascii=False))
    elif found:
        _print(found)
    else:
        print("No installed package brings a layer, a transport, a store or a backoff.")
        print("Begin one of your own: llamina new layer rate-limit")
    return int(any([verdict.wrong for _, verdict in found]))


def _print(found: list[tuple[Plugin, Verdict]]) -> None:
    rows = [_COLUMNS, *[(*_facts(plugin), str(verdict)) for plugin, verdict in found]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip())
    for plugin, verdict in found:
        if verdict.reason:
            print(f"\n{plugin.name}: {verdict.reason}")


def _facts(plugin: Plugin) -> tuple[str, ...]:
    return (plugin.kind, plugin.name, plugin.package, plugin.version or "-", plugin.target or "-")


def _plain(plugin: Plugin, verdict: Verdict) -> dict[str, Any]:
    return {
        **{name: getattr(plugin, name) for name in _COLUMNS[:-1]},
        "status": verdict.status,
        "reason": verdict.reason,
        "clauses": verdict.clauses,
    }


def _verdict(plugin: Plugin, *, check: bool) -> Verdict:
    try:
        factory = plugin.load()
    except ConfigurationError as error:
        return Verdict("broken", error.message)
    if plugin.problem:
        return Verdict("hidden", plugin.problem)
    if not check:
        return Verdict("works")
    return _checked(plugin.kind, factory)


def _checked(kind: str, target: Callable[..., Any]) -> Verdict:
    if find_spec("freezegun") is None:
        return Verdict("not checked", "the kit simulates time with freezegun: pip install 'llamina[testing]'")
    from llamina.testing.conformance import ConformanceError, needs

    factory = (lambda: target) if is_ready(kind, target) else target
    needed = needs(factory)
    if needed:
        return Verdict("needs settings", f"it is not built without {', '.join(needed)}; its own tests can check it")
    # A stranger's code may raise anything, and the others are to be listed.
    with _apart():
        try:
            factory()
        except ConfigurationError as error:
            return Verdict("needs settings", error.message)
        except Exception as error:  # noqa: BLE001
            return Verdict("broken", f"it cannot be built: {type(error).__name__}: {error}")
        try:
            return Verdict("conforms", clauses=_run_kit(kind, factory))
        except ConformanceError as error:
            return Verdict("breaks", str(error), [one.clause for one in error.broken])
        except Exception as error:  # noqa: BLE001
            return Verdict("broken", f"it cannot be checked: {type(error).__name__}: {error}")


def _run_kit(kind: str, factory: Callable[[], Any]) -> list[str]:
    from llamina import testing

    if kind == "layer":
        return testing.check_middleware(factory)
    if kind == "transport":
        return testing.check_handler(factory())
    if kind == "store":
        return testing.check_store(factory)
    return testing.check_backoff(factory)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """No connection, no look-up of a name, and an empty folder to be at home in: to be listed must cost nobody anything.

    A store that is checked is emptied, and so must not be the one that somebody works with.
    """
    from unittest.mock import patch

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("llamina plugins --check lets nothing reach a network")

    guarded: list[tuple[Any, str]] = [(socket, "getaddrinfo"), (socket, "create_connection"), (socket.socket, "sendto")]
    if hasattr(socket, "AF_UNIX"):  # elsewhere an event loop is made by connecting to itself
        guarded += [(socket.socket, "connect"), (socket.socket, "connect_ex")]
    with contextlib.ExitStack() as guards:
        folder = guards.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        guards.enter_context(contextlib.chdir(folder))
        guards.enter_context(patch.dict(os.environ, dict.fromkeys(_HOMES, folder)))
        for owner, name in guarded:
            guards.enter_context(patch.object(owner, name, refuse))
        yield
