"""A stack from a file, from a mapping, or from the environment, and back.

    stack = load_stack("stack.toml")
    stack = load_stack({"transport": {"type": "echo"}, "layers": [{"type": "retry", "attempts": 4}]})
    stack = load_stack()                                     # LLM_PROVIDER, LLM_DAILY_BUDGET ... and no file

    # stack.toml
    transport = { type = "http", provider = "openai", api_key = "${OPENAI_API_KEY}" }

    [[layers]]
    type = "retry"
    attempts = 4
    backoff = { type = "fibonacci", base = 0.5, cap = 20 }

A table is a layer, a transport, a store or a backoff: `type` is its name, the rest its settings, as its class has them.
Durations are seconds. Where a setting may be None, `false` says so. What is wrong is told all at once, each fault with its
place in the file, the value, and the nearest right name.

The one surprise: a file may name code (`type = "my_package.layers:Limit"`), which is imported: trust a stack file as you
trust a Python file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ._config_files import read_table
from .errors import ConfigurationError
from .stack import Stack

__all__ = ["load_stack", "schema", "to_config"]


def load_stack(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    check: Literal["warn", "error", "off"] | None = None,
) -> Stack:
    """Build the stack that *source* says.

    Args:
        source: the path of a TOML file, or what such a file says as a mapping (nothing of it is changed), or None for the
            stack that the variables `LLM_*` describe.
        environ: where variables are looked up, instead of `os.environ`.
        check: what to do about a wrong order of layers, as `build_stack` takes it; None: what the source says, else "warn".

    Raises:
        ConfigurationError: the source cannot be read, or something in it is wrong; every fault is named.
    """
    from ._config_read import Reader
    from ._config_values import FaultsError

    variables = os.environ if environ is None else environ
    folder = Path()
    files: tuple[Path, ...] = ()
    if source is None:
        from ._config_environment import table_of

        table, name = table_of(variables), "the environment"
    elif isinstance(source, Mapping):
        table, name = dict(source), "the stack"
    elif isinstance(source, str) and "\n" in source:
        raise ConfigurationError(
            "load_stack takes the path of a TOML file, got its text; write tomllib.loads(text) round it"
        )
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        table, name, folder, files = read_table(path), path.name, path.parent, (path.resolve(),)
    else:
        raise ConfigurationError(
            f"load_stack takes the path of a TOML file, a mapping, or nothing, got {type(source).__name__}"
        )
    reader = Reader(variables, folder, files)
    problems: tuple[tuple[str, str], ...] = ()
    try:
        stack = reader.stack(table)
    except FaultsError as wrong:
        problems = wrong.problems
    except RecursionError:
        problems = (("", "nests too deeply to be read; a stack needs a few levels"),)
    if problems:  # outside of the except block: what the error drags along could show a secret
        raise ConfigurationError(reader.masked(_report(name, problems))) from reader.safe_cause()
    for place, text in reader.remarks:
        warnings.warn(f"{name}: {place} {text}", stacklevel=2)
    _enforce(stack, check or stack.check)
    return stack


def _report(name: str, problems: tuple[tuple[str, str], ...]) -> str:
    lines = [f"{place}: {text}" if place else text for place, text in problems]
    if len(lines) == 1:
        return f"{name}: {lines[0]}"
    return "\n  - ".join([f"{name} has {len(lines)} faults:", *lines])


def _enforce(stack: Stack, check: str) -> None:
    if check not in ("warn", "error", "off"):
        raise ConfigurationError(f"load_stack.check must be 'warn', 'error' or 'off', got {check!r}")
    if check != "off":
        from .order import enforce

        enforce(stack, refuse=check == "error", stacklevel=4)


def to_config(stack: Stack) -> dict[str, Any]:
    """*stack* as plain data, as `load_stack` takes it: only what differs from the defaults.

    Secrets that came from the environment are named by their variable, others are left out.

    Raises:
        ConfigurationError: a part cannot be said in plain data (a lambda, a client object); names which, and the remedy.
    """
    from ._config_write import written

    return written(stack)


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of stack files, for editors; plugins that are installed are in it by name."""
    from ._config_schema import schema as of_files

    return of_files()
