"""Where everything in the picture of a stack stands, as shapes and lines of text, in units that are pixels of an SVG.

    picture = lay_out(stack)         # picture.width, picture.height, picture.shapes

Colours are roles ("ink", "fill-again"); `COLOURS` says what they are in light and in dark.

The one surprise: nothing overlaps because nothing grows after it was placed. What is too long for its box is wrapped,
and after two lines it ends in an ellipsis.
"""

from __future__ import annotations

import unicodedata
from typing import Any, NamedTuple

from llamina.draw import FAMILIES, Box, boxes_of, settings_of
from llamina.explain import at_worst_in_words, look, name_of, one_line, sentences
from llamina.stack import Stack

__all__ = ["COLOURS", "Arrow", "Dot", "Label", "Panel", "Picture", "lay_out", "width_of", "wrapped"]

COLOURS = {
    "paper": ("#ffffff", "#12161b"),
    "ink": ("#1b242d", "#e8edf2"),
    "muted": ("#5b6875", "#9dabb8"),
    "rail": ("#8795a3", "#7d8b99"),
    "frame": ("#b5c0ca", "#46525e"),
    "caller": ("#f3f5f7", "#1d242b"),
    "transport": ("#26313c", "#e3e9ef"),
    "on-transport": ("#ffffff", "#12161b"),
    "on-transport-muted": ("#c6d0d9", "#4a5662"),
    "wrong": ("#c92a2a", "#ff6b6b"),
    "on-wrong": ("#ffffff", "#12161b"),
    "fill-answers": ("#e9f6ee", "#16281f"),
    "line-answers": ("#1f7547", "#5fc792"),
    "fill-again": ("#fdf3e1", "#2c2415"),
    "line-again": ("#8c5604", "#e5ab4f"),
    "fill-money": ("#f2ecfc", "#231d33"),
    "line-money": ("#7348c2", "#b394f0"),
    "fill-guards": ("#e8f1fc", "#172433"),
    "line-guards": ("#2566b0", "#6cabf0"),
    "fill-rewrites": ("#e4f5f5", "#142828"),
    "line-rewrites": ("#166c72", "#58c4cb"),
    "fill-faults": ("#fcebf3", "#301826"),
    "line-faults": ("#b02a6c", "#f083b5"),
    "fill-observes": ("#f3f5f7", "#1d242b"),
    "line-observes": ("#5f6c79", "#95a3b1"),
    "fill-other": ("#f3f5f7", "#1d242b"),
    "line-other": ("#5f6c79", "#95a3b1"),
}
"""Each role in light and in dark."""

_WIDTH = 760.0
_MARGIN = 28.0
_INSET = 14.0
_GAP = 30.0
_PAD = 14.0
_NAME, _TEXT, _SMALL = 16.0, 13.0, 11.0


class Panel(NamedTuple):
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str | None
    line: str | None
    dashed: bool = False
    thickness: float = 1.0


class Arrow(NamedTuple):
    """An upright arrow from one height to another; its head is at the second."""

    x: float
    start: float
    end: float
    colour: str


class Dot(NamedTuple):
    """A full circle."""

    x: float
    y: float
    radius: float
    colour: str


class Label(NamedTuple):
    """A line of text; *y* is its base line, *anchor* what stands at *x*: its start, middle or end."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    anchor: str = "start"


class Picture(NamedTuple):
    """What is to be drawn, in this order, and in words."""

    width: float
    height: float
    shapes: list[Panel | Arrow | Dot | Label]
    title: str
    description: str


def lay_out(stack: Stack) -> Picture:
    """The picture of *stack*."""
    shapes: list[Panel | Arrow | Dot | Label] = []
    boxes = boxes_of(stack)
    top = _lines(shapes, at_worst_in_words(stack), _MARGIN, _MARGIN, _WIDTH - 2 * _MARGIN, "muted", most=3)
    top += 10
    shapes += [
        Panel(_MARGIN, top, _WIDTH - 2 * _MARGIN, 34, 17, "caller", "frame"),
        Label(_WIDTH / 2, top + 22, "your code", 14, "ink", bold=True, anchor="middle"),
    ]
    top += 34
    depth = 0
    frames: list[tuple[int, float]] = []
    for number, box in enumerate(boxes):
        _arrows(shapes, top, named=number == 0)
        top += _GAP
        while depth < box.depth:
            depth += 1
            frames.append((len(shapes), top))
            inset = _MARGIN + (depth - 1) * _INSET
            shapes.append(Label(inset + _INSET, top + 18, "Stack", _SMALL, "muted", bold=True))
            top += 28
        top = _box(shapes, box, _MARGIN + depth * _INSET, top)
    for level in range(depth, 0, -1):
        place, began = frames[level - 1]
        top += _INSET
        inset = _MARGIN + (level - 1) * _INSET
        shapes.insert(place, Panel(inset, began, _WIDTH - 2 * inset, top - began, 12, None, "frame", dashed=True))
    top = _findings(shapes, stack, top)
    names = ", then ".join([name_of(box.part) for box in boxes])
    title = f"A stack: {' > '.join([name_of(box.part) for box in boxes])}"
    described = f"A request goes from your code down through {names}; the response comes back up the same way."
    return Picture(_WIDTH, top + _MARGIN, shapes, title, described)


def _arrows(shapes: list[Any], top: float, *, named: bool) -> None:
    """The request on its way down and the response on its way up, between two boxes."""
    down, up = _WIDTH / 2 - 60, _WIDTH / 2 + 60
    shapes += [Arrow(down, top + 5, top + _GAP - 5, "rail"), Arrow(up, top + _GAP - 5, top + 5, "rail")]
    if named:
        shapes.append(Label(down - 12, top + 19, "Request", _SMALL, "muted", anchor="end"))
        shapes.append(Label(up + 12, top + 19, "Response", _SMALL, "muted"))


def _box(shapes: list[Any], box: Box, left: float, top: float) -> float:
    """A layer with its name, settings and what it does; returns where it ends."""
    width = _WIDTH - 2 * left
    part, family = box.part, box.family
    if box.is_transport:
        fill, line, ink, muted, says = "transport", "transport", "on-transport", "on-transport-muted", "transport"
    else:
        fill, line, ink, muted, says = f"fill-{family}", f"line-{family}", "ink", "muted", FAMILIES[family].says
    place = len(shapes)
    text_left = left + _PAD + 8
    text_width = width - 2 * _PAD - 8
    accent = muted if box.is_transport else line
    badge = width_of(says, _SMALL) + 18 if says else 0.0
    marks = 24.0 * len(box.wrong)
    name = wrapped(name_of(part), _NAME, text_width - badge - marks - 16, 1)[0]
    shapes.append(Label(text_left, top + _PAD + 13, name, _NAME, ink, bold=True))
    badge_left = left + width - _PAD - badge
    if says:
        shapes.append(Panel(badge_left, top + _PAD - 2, badge, 20, 10, None, accent))
        shapes.append(Label(badge_left + badge / 2, top + _PAD + 12, says, _SMALL, accent, anchor="middle"))
    for place_of_mark, number in enumerate(reversed(box.wrong)):
        _mark(shapes, badge_left - 16 - 24 * place_of_mark, top + _PAD + 8, number)
    bottom = top + _PAD + 20
    settings = settings_of(part)
    if settings:
        bottom = _lines(shapes, settings, text_left, bottom + 3, text_width, muted, most=2)
    said = sentences(part)
    if said:
        bottom = _lines(shapes, said[0], text_left, bottom + 3, text_width, ink, most=2)
    bottom += _PAD - 4
    outline, thick = ("wrong", 2.0) if box.wrong else (line, 1.0)
    shapes[place:place] = [
        Panel(left, top, width, bottom - top, 10, fill, outline, thickness=thick),
        Panel(left + 8, top + 12, 4, bottom - top - 24, 2, accent, None),
    ]
    return bottom


def _findings(shapes: list[Any], stack: Stack, top: float) -> float:
    """What is wrong, by its number."""
    wrong = [finding for finding in look(stack)[0] if finding.severity == "wrong"]
    for number, finding in enumerate(wrong, 1):
        top += 22 if number == 1 else 10
        _mark(shapes, _MARGIN + 10, top + 10, number)
        text = f"{finding.inner.partition(' (')[0]} inside {finding.outer.partition(' (')[0]}: {finding.says}; {finding.mend}."
        top = _lines(shapes, one_line(text), _MARGIN + 30, top, _WIDTH - 2 * _MARGIN - 30, "ink", most=4)
    return top


def _mark(shapes: list[Any], x: float, y: float, number: int) -> None:
    shapes.append(Dot(x, y, 9.5, "wrong"))
    shapes.append(Label(x, y + 4, str(number), _SMALL, "on-wrong", bold=True, anchor="middle"))


def _lines(shapes: list[Any], text: str, left: float, top: float, width: float, colour: str, *, most: int) -> float:
    """A paragraph of at most *most* lines; returns where it ends."""
    for line in wrapped(text, _TEXT, width, most):
        top += 18
        shapes.append(Label(left, top - 4, line, _TEXT, colour))
    return top


def wrapped(text: str, size: float, width: float, most: int) -> list[str]:
    """*text* in lines that are no wider than *width*; the last of *most* ends in an ellipsis if more would follow."""
    lines = [""]
    for word in text.split():
        for piece in _pieces(word, size, width):
            longer = f"{lines[-1]} {piece}".lstrip()
            if width_of(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    if len(lines) > most:
        last = lines[most - 1]
        while last and width_of(f"{last}…", size) > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()}…"]
    return lines


def _pieces(word: str, size: float, width: float) -> list[str]:
    """*word* in pieces that fit in a line; mostly one."""
    pieces = [""]
    for character in word:
        if pieces[-1] and width_of(pieces[-1] + character, size) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


_NARROW = {
    **dict.fromkeys("ijl'|", 0.23),
    **dict.fromkeys("ft.,:;!/\\ I[]", 0.28),
    **dict.fromkeys('r-()"{}', 0.35),
    **dict.fromkeys("cksvxyzJ", 0.5),
    **dict.fromkeys("mMW%@…", 0.95),
    **dict.fromkeys("wGOQCDHNRU", 0.75),
}
"""Widths in ems of the usual sans-serif faces; all others are about 0.6."""


def width_of(text: str, size: float) -> float:
    """About how wide a line is, rather a little more, in any of the faces that an SVG may be shown in."""
    ems = sum(
        [
            _NARROW.get(each)
            or (1.0 if unicodedata.east_asian_width(each) in "WF" else 0.68 if each.isupper() else 0.57)
            for each in text
        ]
    )
    return 1.04 * size * ems
