"""What `benchmarks/rivals` writes to the pages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parents[2] / "benchmarks" / "rivals"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that writes tables, found as a script finds it."""
    monkeypatch.syspath_prepend(str(HERE))
    yield importlib.import_module("page")
    for name in ("page", "chart"):
        sys.modules.pop(name, None)


CALLS: dict[str, Any] = {
    "llamina HTTPTransport, aiohttp, seven layers": {"cpu 64": 200.0, "event": 12.0},
    "openai SDK 3": {"cpu 64": 1400.0},
    "pydantic-ai direct": {"cpu 64": 1600.0},
    "litellm acompletion": {"failed": "TypeError: a | b"},
}


def test_what_stands_between_the_marks_is_replaced(page: ModuleType) -> None:
    """The text around the marks is the author's and stays, and so do the marks."""
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"

    once = page.replaced(text, "new")

    assert once == f"before\n{page.BEGIN}\n\nnew\n\n{page.END}\nafter\n"
    assert page.replaced(once, "new") == once


@pytest.mark.parametrize("marks", ["", "{begin}", "{end} {begin}", "{begin} {end} {begin} {end}"])
def test_a_page_without_its_marks_is_left_alone(page: ModuleType, marks: str) -> None:
    """Nothing is written where the place is not certain."""
    text = marks.format(begin=page.BEGIN, end=page.END)

    with pytest.raises(ValueError, match="once each"):
        page.replaced(text, "new")


def test_ours_stands_beside_the_best_rival(page: ModuleType) -> None:
    """The bare SDK is a reference and no rival, and who failed is none either."""
    row = page.compared("A call", "us", CALLS, "cpu 64", page.OURS)

    assert row == ["A call, us", "200", "1,600 (pydantic-ai direct)", "0.12 x", "1,400"]


def test_who_failed_has_a_row_that_says_why(page: ModuleType) -> None:
    """A bar in the reason does not break the table."""
    rows = page.rows_of(CALLS, ["cpu 64", "event"])

    assert rows[-1] == ["litellm acompletion", "failed: TypeError: a / b", ""]
    assert rows[1] == ["openai SDK 3", "1,400", "-"]


def test_sections_that_did_not_run_do_no_harm(page: ModuleType) -> None:
    """Pages can be written with a part of the results."""
    assert "A call, 64 in flight" in page.summary({"calls": CALLS})
    assert "1,400" in page.details({"calls": CALLS}, {"current": {"openai": "3.0"}}, "a machine")


def test_the_picture_has_a_bar_for_each_figure(page: ModuleType) -> None:
    """It is XML, and what has no figure has no bar."""
    root = ET.fromstring(importlib.import_module("chart").chart({"calls": CALLS}))

    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") != "card"]
    assert [each.get("class") for each in bars] == ["ours", "reference", "theirs", "ours"]


def test_both_pages_have_their_marks(page: ModuleType) -> None:
    """The command finds where to write."""
    for name in ("benchmarks.md", "benchmarks-rivals.md"):
        text = (HERE.parents[1] / "docs" / name).read_text()

        assert page.BEGIN in page.replaced(text, "new")
