"""The conformance kit on the command line: `llamina conformance my_package:RateLimit`.

    report("my_package:RateLimit", kind="layer", as_json=False)      # 0; 1 if a clause is broken

What is named builds a fresh layer without arguments (a class, a function), is a layer itself, or is a plugin's name.
Modules of the current folder are found.

The one surprise: what needs settings is checked by a function of yours that gives them: `my_package:make_layer`.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llamina._config_read import is_ready
from llamina.errors import ConfigurationError
from llamina.plugins import import_object, resolve
from llamina.protocol import PROTOCOL_VERSION

if TYPE_CHECKING:
    from llamina.testing._report import Report

__all__ = ["report"]

_KINDS = ("layer", "handler", "store", "backoff")
_ALSO = {"transport": "handler", "stack": "handler", "middleware": "layer"}


def report(target: str, *, kind: str, as_json: bool) -> int:
    """Run the kit on *target* and print each clause: 0 if all of them hold, else 1.

    Raises:
        ConfigurationError: there is no such kind, module, attribute or plugin, or it cannot be built without arguments.
    """
    kind = _ALSO.get(kind, kind)
    if kind not in _KINDS:
        raise ConfigurationError(f"--kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    if find_spec("freezegun") is None:
        raise ConfigurationError("the kit simulates time with freezegun: pip install 'llamina[testing]'")
    # What a stranger's module prints when it is imported or used must not end up in the report.
    with contextlib.redirect_stdout(sys.stderr):
        found = _examine(kind, _factory(kind, target))
    print(json.dumps(_plain(target, kind, found), indent=2, ensure_ascii=False) if as_json else _text(target, found))
    return int(bool(found.broken))


def _factory(kind: str, target: str) -> Callable[[], Any]:
    here = str(os.getcwd())  # noqa: PTH109 - as `python -m` puts it there
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    plugin_kind = "transport" if kind == "handler" else kind
    thing = import_object(target, f"the {kind} to check") if ":" in target else resolve(plugin_kind, target)
    if not callable(thing):
        raise ConfigurationError(f"{target!r} is of the type {type(thing).__name__}, nothing that builds a {kind}")
    if _is_built(kind, plugin_kind, thing):
        return lambda: thing
    from llamina.testing.conformance import needs

    needed = needs(thing)
    if needed:
        raise ConfigurationError(
            f"{target!r} needs {', '.join(needed)}; write a function without arguments that builds it, "
            f"def make_{kind}(), and name that: module:make_{kind}"
        )
    factory: Callable[[], Any] = thing
    return factory


def _is_built(kind: str, plugin_kind: str, thing: Any) -> bool:
    """Whether *thing* is what is to be checked, and not what builds it."""
    if isinstance(thing, type):
        return False
    if kind == "handler" and (inspect.iscoroutinefunction(thing) or getattr(thing, "records_attempts", False)):
        return True
    from llamina.testing.conformance import is_layer_itself

    return is_ready(plugin_kind, thing) or (kind == "layer" and is_layer_itself(thing))


def _examine(kind: str, factory: Callable[[], Any]) -> Report:
    from llamina.testing import backoff_contract, conformance, store_contract

    if kind == "layer":
        return conformance.examine_layer(factory)
    if kind == "handler":
        return conformance.examine_handler(conformance.build_once("llamina conformance", factory))
    if kind == "store":
        return store_contract.examine_store(factory)
    return backoff_contract.examine_backoff(factory)


def _plain(target: str, kind: str, found: Report) -> dict[str, Any]:
    return {
        "target": target,
        "kind": kind,
        "subject": found.subject,
        "protocol": PROTOCOL_VERSION,
        "conforms": not found.broken,
        "clauses": [
            {"name": one.clause, "says": one.says, "cites": list(one.cites), "held": one.held, "seen": one.seen}
            for one in found.verdicts
        ],
        "skipped": list(found.skipped),
    }


def _text(target: str, found: Report) -> str:
    from llamina.testing._report import advice

    held, broke = _marks()
    lines = [f"{found.subject} ({target}) and {found.of}, version {PROTOCOL_VERSION}", ""]
    width = max([len(one.clause) for one in found.verdicts])
    for one in found.verdicts:
        lines.append(f"{held if one.held else broke} {one.clause:{width}}  {one.says}  [{', '.join(one.cites)}]")
        if not one.held:
            first, *rest = one.seen.splitlines()
            lines += [f"{' ' * (width + 4)}seen: {first}", *[f"{' ' * (width + 10)}{line.strip()}" for line in rest]]
    good = len(found.verdicts) - len(found.broken)
    count = f"{good} of {len(found.verdicts)} clauses hold"
    skipped = f", {len(found.skipped)} were not played" if found.skipped else ""
    return "\n".join([*lines, "", f"{count}{skipped}.", *advice(found.broken)])


def _marks() -> tuple[str, str]:
    """A tick and a cross, where the terminal can show them."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "ok", "--"
    return "✓", "✗"
