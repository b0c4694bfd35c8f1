"""`llamina check`, `llamina explain` and `llamina draw`: what is in a stack file, without a call to anybody.

    check_file(Path("stack.toml"), strict=False)         # 0, or 1 if layers stand in a wrong order

The one surprise: no secret is needed. A key that is not in the environment is replaced by a word, for the stack is built
and never asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from llamina.config import load_stack
from llamina.draw import mermaid
from llamina.errors import ConfigurationError
from llamina.explain import explain, one_line
from llamina.order import findings
from llamina.protocol import Request
from llamina.stack import Stack

__all__ = ["check_file", "draw_file", "explain_file"]

_STAND_IN = "not-needed-to-look"
_STYLES = {"wrong": "bold red", "note": "yellow"}


def check_file(path: Path, *, strict: bool) -> int:
    """Print what is to be said of the order of the layers; 1 if it is wrong, with *strict* for a note too."""
    console = _console()
    stack = _load(path)
    found = findings(stack)
    wrong = len([finding for finding in found if finding.severity == "wrong"])
    for finding in found:
        head = Text.assemble((finding.severity, _STYLES[finding.severity]), f": {finding.inner} inside {finding.outer}")
        _print(console, head)
        _print(console, Text(f"  why:  {one_line(finding.says)}"))
        _print(console, Text(f"  mend: {one_line(finding.mend)}"))
        _print(console, Text(f"  rule: {finding.rule}", style="dim"))
    notes = len(found) - wrong
    told = [
        f"{count} {word}" for count, word in ((wrong, "wrong"), (notes, "note" if notes == 1 else "notes")) if count
    ]
    _print(console, Text(f"{path}: {', '.join(told) or 'the order of the layers is fine'}"))
    return 1 if wrong or (strict and found) else 0


def explain_file(path: Path, *, prompt: str | None, model: str) -> int:
    """Print the stack as a tree; with a *prompt*, what happens to it on its way to *model*."""
    console = _console()
    request = None if prompt is None else Request.chat(model, prompt)
    for line in explain(_load(path), request).splitlines():
        text = Text(line)
        text.highlight_regex(r"^wrong", _STYLES["wrong"])
        text.highlight_regex(r"^note", _STYLES["note"])
        text.highlight_regex(r"(?<=[├└]─ ).+", "bold")
        text.highlight_regex(r"^[ │├└─]+", "dim")
        _print(console, text)
    return 0


def draw_file(path: Path, output: Path | None) -> int:
    """Print the stack as Mermaid, or write a picture of it to *output*: .svg, .png or .mmd.

    Raises:
        ConfigurationError: the ending of *output* is none of them, or it cannot be written.
    """
    stack = _load(path)
    if output is None:
        _print(_console(), Text(mermaid(stack)))
        return 0
    kind = output.suffix.lower()
    if kind not in (".svg", ".png", ".mmd"):
        raise ConfigurationError(f"--output must end in .svg, .png or .mmd, got {str(output)!r}")
    if kind == ".mmd":
        content = f"{mermaid(stack)}\n".encode()
    else:
        from llamina import pictures

        content = pictures.png(stack) if kind == ".png" else pictures.svg(stack).encode()
    try:
        output.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{output} could not be written: {error.strerror or error}") from error
    return 0


class _Environment(Mapping[str, str]):
    """An environment in which every variable is set, and none to a secret that a stranger's layer could show."""

    def __getitem__(self, _name: str) -> str:
        return _STAND_IN

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


@contextmanager
def _keys() -> Iterator[None]:
    """Presets look their keys up by themselves: those that are missing are set meanwhile."""
    from llamina.transports import presets

    missing = [preset.key_names[0] for preset in presets().values() if preset.needs_key and preset.find_key() is None]
    before = {name: os.environ.get(name) for name in missing}
    os.environ.update(dict.fromkeys(missing, _STAND_IN))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _load(path: Path) -> Stack:
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)  # a file may name layers in modules that lie beside it
    with _keys():
        return load_stack(path, environ=_Environment(), check="off")


def _console() -> Console:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a terminal that cannot show a line of the tree shows a question mark
        reconfigure(errors="replace")
    return Console(highlight=False)


def _print(console: Console, text: Text) -> None:
    """One line, however long: the terminal wraps it, a pipe does not."""
    console.print(text, soft_wrap=True)
