"""Small drawings for a terminal: bars of several parts, columns over time, a strip of states.

    bar([(12, "cyan"), (3, "yellow")], scale=20, width=30, glyphs=UNICODE)
    columns([0, 1, 4, 2], rows=1, style="green", glyphs=UNICODE)

Colours are the sixteen of the terminal, so that they fit its theme, dark or light; nothing is told by colour alone.

The one surprise: a terminal that cannot show block letters gets ASCII, and the same drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen
from rich.text import Text

__all__ = ["ASCII", "UNICODE", "Glyphs", "bar", "clip", "columns", "strip"]


@frozen
class Glyphs:
    """What drawings are made of; levels begin with nothing and end with a full block."""

    levels: str
    line: str
    held: str
    rest: str
    states: dict[str, str]
    ellipsis: str
    point: str


UNICODE = Glyphs(" ▁▂▃▄▅▆▇█", "━", "╍", "─", {"closed": "━", "half-open": "╌", "open": "╳"}, "…", "●")  # noqa: RUF001
ASCII = Glyphs(" .:-=+*##", "=", "~", "-", {"closed": "-", "half-open": "?", "open": "X"}, ">", "*")


def bar(
    parts: Iterable[tuple[float, str]], *, scale: float, width: int, glyphs: Glyphs, rest: str | None = "dim"
) -> Text:
    """Parts side by side, where *scale* fills *width*; a part that is not 0 shows, as long as there is room."""
    drawn = Text()
    total = 0.0
    for number, (amount, style) in enumerate(parts):
        total += amount
        end = min(width, round(width * total / scale)) if scale else 0
        if amount and end == len(drawn) and end < width:
            end += 1
        drawn.append((glyphs.held if number == 2 else glyphs.line) * (end - len(drawn)), style)
    if rest is None:
        drawn.append(" " * (width - len(drawn)))
    else:
        drawn.append(glyphs.rest * (width - len(drawn)), rest)
    return drawn


def columns(values: Sequence[float], *, rows: int, style: str, glyphs: Glyphs, peak: float) -> list[Text]:
    """*values* as columns of *rows* lines, the highest line first; *peak* is as high as can be."""
    steps = len(glyphs.levels) - 1
    lines = []
    for row in reversed(range(rows)):
        line = ""
        for value in values:
            height = 0 if not value else max(1, round(min(1.0, value / peak) * rows * steps))
            line += glyphs.levels[min(steps, max(0, height - row * steps))]
        lines.append(Text(line, style))
    return lines


def strip(states: Sequence[str], styles: dict[str, str], glyphs: Glyphs) -> Text:
    """One letter for each moment, drawn for its state; "" is a moment to come."""
    drawn = Text()
    for state in states:
        drawn.append(glyphs.states.get(state, " "), styles.get(state, ""))
    return drawn


def clip(text: str, width: int, glyphs: Glyphs) -> str:
    """*text*, cut to *width* letters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + glyphs.ellipsis
