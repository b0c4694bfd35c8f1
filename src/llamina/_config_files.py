"""Stack files: TOML, read with errors that say which file and which line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .errors import ConfigurationError

__all__ = ["read_table"]


def read_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the TOML file at *path* says.

    Raises:
        ConfigurationError: it cannot be read, or is no TOML.
    """
    import tomllib  # late: only who has a file needs it

    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no stack file {os.fspath(path)!r} (in {Path.cwd()})") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{os.fspath(path)!r} is a folder; name the stack file in it") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{file.name} is not UTF-8 (line {line}); save it as UTF-8, which TOML asks for"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the stack file {os.fspath(path)!r} cannot be read: {error}") from error
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except RecursionError:
        raise ConfigurationError(f"{file.name} nests too deeply to be read; a stack needs a few levels") from None
    except ValueError as error:  # a TOMLDecodeError, or a number that Python does not read
        raise ConfigurationError(f"{file.name} is not TOML: {error}{_hint(text)}") from None


def _hint(text: str) -> str:
    return "; TOML has no null: leave the setting out, or write false" if " null" in text or "= None" in text else ""
