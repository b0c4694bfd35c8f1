"""A stack as a Mermaid flowchart, for a page, a notebook or an issue.

    print(stack.draw())

Boxes from the caller down to the transport, one for each layer; a stack within a stack is a box of its own round its
layers. The colour says what kind of layer it is, by its effects; a red border that it stands where it should not.
`llamina.pictures` draws the same as SVG and PNG.

The one surprise: names are quoted character by character. Nothing that a layer calls itself can add to the chart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .explain import effects_of, look, name_of, one_line, picture_of
from .stack import Stack

__all__ = ["FAMILIES", "Box", "Family", "boxes_of", "family_of", "mermaid", "settings_of"]


class Family(NamedTuple):
    """A kind of layer: its colours, and the effects by which a layer belongs to it."""

    says: str
    fill: str
    line: str
    effects: frozenset[str]


FAMILIES = {
    "answers": Family(
        "may spare a call", "#e3f4ea", "#2f8f5b", frozenset({"short-circuits", "stores", "shares", "records"})
    ),
    "again": Family(
        "may ask again",
        "#fdf0d9",
        "#b7791f",
        frozenset({"replays", "needs-commit-point", "branches", "falls-back", "re-asks"}),
    ),
    "money": Family(
        "counts and admits", "#efe7fb", "#7a4fc4", frozenset({"meters", "budgets", "limits-rate", "limits-concurrency"})
    ),
    "guards": Family("guards", "#e2eefb", "#2b6cb0", frozenset({"judges", "bounds-time", "watches-stream", "refuses"})),
    "rewrites": Family(
        "rewrites", "#e0f3f4", "#23838a", frozenset({"rewrites-request", "rewrites-answer", "stamps", "sets-tags"})
    ),
    "faults": Family("fails on purpose", "#fbe6ef", "#b83272", frozenset({"injects-faults"})),
    "observes": Family("watches", "#f1f3f5", "#6b7785", frozenset({"observes"})),
    "other": Family("", "#f1f3f5", "#6b7785", frozenset()),
}
"""Kinds of layers by name; the first whose effects a layer has is its own, the last is for all others."""

_STYLES = {
    **{name: f"fill:{family.fill},stroke:{family.line},color:#1f2933" for name, family in FAMILIES.items()},
    "transport": "fill:#2d3748,stroke:#2d3748,color:#ffffff",
    "caller": "fill:#ffffff,stroke:#2d3748,color:#2d3748",
    "nested": "fill:none,stroke:#8795a3,stroke-dasharray:5 4",
}
_WRONG = "stroke:#c53030,stroke-width:3px,stroke-dasharray:6 3"
_LONGEST = 60
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.()[]=_-/'")


class Box(NamedTuple):
    """One layer or the transport: where it stands, as findings say it, in how many stacks, and what is wrong with it."""

    part: Any
    place: str
    depth: int
    is_transport: bool
    wrong: tuple[int, ...]

    @property
    def family(self) -> str:
        """The name of its family, or "transport"."""
        return "transport" if self.is_transport else family_of(self.part)


def boxes_of(stack: Stack) -> list[Box]:
    """The layers of *stack* and of the stacks in it, outermost first, and the transport."""
    wrong: dict[str, list[int]] = {}
    found, _ = look(stack)
    for number, finding in enumerate([each for each in found if each.severity == "wrong"], 1):
        for name in (finding.outer, finding.inner):
            wrong.setdefault(name.rpartition("(")[2].rstrip(")"), []).append(number)
    return [
        Box(part, place, depth, is_transport, tuple(wrong.get(place, ())))
        for part, place, depth, is_transport in _places(stack)
    ]


def _places(stack: Stack, path: str = "", depth: int = 0) -> Iterator[tuple[Any, str, int, bool]]:
    for number, layer in enumerate(stack.layers):
        yield layer, f"{path}layers[{number}]", depth, False
    if isinstance(stack.transport, Stack):
        yield from _places(stack.transport, f"{path}transport.", depth + 1)
    else:
        yield stack.transport, f"{path}transport", depth, True


def mermaid(stack: Stack) -> str:
    """*stack* as the text of a Mermaid flowchart."""
    lines = ["flowchart TB", '    caller(["your code"])']
    kinds: dict[str, list[str]] = {"caller": ["caller"]}
    depth = 0
    boxes = boxes_of(stack)
    for number, box in enumerate(boxes):
        while depth < box.depth:  # a stack in a stack is its transport, so it is the last in it
            depth += 1
            lines.append(f'{"    " * depth}subgraph stack{depth}["Stack"]')
            kinds.setdefault("nested", []).append(f"stack{depth}")
        settings = _short(settings_of(box.part))
        label = _quoted(name_of(box.part)) + (f"<br/>{_quoted(settings)}" if settings else "")
        shaped = f'[["{label}"]]' if box.is_transport else f'["{label}"]'
        lines.append(f"{'    ' * (depth + 1)}part{number}{shaped}")
        kinds.setdefault(box.family, []).append(f"part{number}")
    lines += [f"{'    ' * level}end" for level in range(depth, 0, -1)]
    lines.append('    caller <-->|"Request ↓ ↑ Response"| part0')
    lines += [f"    part{number} <--> part{number + 1}" for number in range(len(boxes) - 1)]
    lines += [f"    classDef {kind} {_STYLES[kind]}" for kind in _STYLES if kind in kinds]
    lines += [f"    class {','.join(names)} {kind}" for kind, names in kinds.items()]
    wrong = [f"part{number}" for number, box in enumerate(boxes) if box.wrong]
    if wrong:  # the last class of a box has the last word
        lines += [f"    classDef wrong {_WRONG}", f"    class {','.join(wrong)} wrong"]
    return "\n".join(lines)


def family_of(part: Any) -> str:
    """The name of the family that *part* belongs to."""
    effects = effects_of(part)
    return next((name for name, family in FAMILIES.items() if family.effects & effects), "other")


def settings_of(part: Any) -> str:
    """The settings of *part* that are not the usual ones, without its name; "" for none."""
    picture, name = picture_of(part), name_of(part)
    if picture.startswith(f"{name}(") and picture.endswith(")"):
        return picture[len(name) + 1 : -1]
    return "" if picture == name else picture


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def _quoted(text: str) -> str:
    """*text* for a label in quotes: what could mean something there is written by its number."""
    return "".join([each if each in _PLAIN or ord(each) > 127 else f"#{ord(each)};" for each in one_line(text)])
