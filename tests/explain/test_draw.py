"""A stack as a Mermaid flowchart."""

from __future__ import annotations

import re
from typing import Any

import pytest

from llamina import Cache, CostMeter, Handler, Retry, Timeout, build_stack
from llamina.draw import FAMILIES, family_of
from llamina.order import EFFECTS
from llamina.transports import EchoTransport

LINE = re.compile(
    r"flowchart TB|end|subgraph stack\d+\[\"Stack\"\]"
    r"|caller\(\[\"your code\"\]\)"
    r"|part\d+\[{1,2}\"[^\"]*\"\]{1,2}"
    r"|(caller|part\d+) <-->(\|\"[^\"]*\"\|)? part\d+"
    r"|classDef \w+ [\w:#,\- ]+"
    r"|class [\w,]+ \w+"
)


def named(name: str) -> Any:
    """A layer whose repr is *name*."""

    class Layer:
        def __call__(self, call_next: Handler) -> Handler:
            return call_next

        def __repr__(self) -> str:
            return name

    layer = Layer()
    layer.__name__ = name  # type: ignore[attr-defined]
    return layer


def test_boxes_are_joined_from_the_caller_to_the_transport() -> None:
    """In the order of the stack."""
    chart = build_stack([Retry(5), Timeout(30)], EchoTransport()).draw().splitlines()

    assert chart[:5] == [
        "flowchart TB",
        '    caller(["your code"])',
        '    part0["Retry<br/>attempts=5"]',
        '    part1["Timeout<br/>seconds=30"]',
        '    part2[["EchoTransport"]]',
    ]
    joins = [line.strip() for line in chart if "<-->" in line]
    assert joins == ['caller <-->|"Request ↓ ↑ Response"| part0', "part0 <--> part1", "part1 <--> part2"]


def test_a_stack_in_a_stack_is_a_subgraph() -> None:
    """Also one in that."""
    inner = build_stack([Timeout(5)], build_stack([], EchoTransport()))

    chart = build_stack([Retry()], inner).draw()

    assert chart.count("subgraph") == chart.count("end\n") == 2
    assert chart.index("part0") < chart.index("subgraph stack1") < chart.index("part1") < chart.index("subgraph stack2")


def test_a_wrong_order_has_a_border_of_its_own() -> None:
    """Given last, so that it is seen."""
    chart = build_stack([Retry(), Cache()], EchoTransport(), check="off").draw().splitlines()

    assert chart[-1] == "    class part0,part1 wrong"
    assert "wrong" not in build_stack([Cache(), Retry()], EchoTransport()).draw()


def test_layers_are_coloured_by_their_effects() -> None:
    """One class for each kind of layer."""
    chart = build_stack([Cache(), CostMeter({}), named("Mine")], EchoTransport()).draw()

    assert "    class part0 answers" in chart
    assert "    class part1 money" in chart
    assert "    class part2 other" in chart


def test_every_effect_has_a_family() -> None:
    """A word that is added to the table must be drawn too."""
    drawn = [effect for family in FAMILIES.values() for effect in family.effects]

    assert sorted(drawn) == sorted(EFFECTS)
    assert family_of(object()) == "other"


@pytest.mark.parametrize(
    "name",
    [
        '"] --> evil["',
        "end",
        "%%{init: {'theme': 'x'}}%%",
        "a;b\nclick part0 href",
        "<script>alert(1)</script>",
        "1. `markdown`",
        "#quot;",
        "style x: #35;",
        "ﬁrst 汉 \ud800",
        "",
    ],
)
def test_a_name_adds_nothing_to_the_chart(name: str) -> None:
    """Every line is still one of those that are drawn."""
    chart = build_stack([named(name), Timeout(3)], EchoTransport()).draw()

    assert [line for line in chart.splitlines() if not LINE.fullmatch(line.strip())] == []
    assert chart.count("-->") == 3
    assert "<script" not in chart


def test_long_settings_are_cut() -> None:
    """A box stays a box."""
    chart = build_stack(
        [Cache(scope=[f"a tag of many words {number}" for number in range(20)])], EchoTransport()
    ).draw()

    (box,) = [line for line in chart.splitlines() if "part0[" in line]
    assert len(box) < 120
    assert "…" in box
