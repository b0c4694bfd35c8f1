"""The reference pages say what the code says: names, verdicts, clauses and statistics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llamina
import llamina.stores
import llamina.testing
import llamina.transports
from llamina import errors
from llamina.layer import Layer
from llamina.policy.classify import classify
from llamina.transports import EchoTransport

PAGES = Path(__file__).parents[2] / "docs"
REFERENCE = PAGES / "reference"


def rows(page: str) -> list[list[str]]:
    """The cells of all table rows of a page, without the marks of code."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.mark.parametrize(
    "module", [llamina, llamina.testing, llamina.transports, llamina.stores], ids=lambda module: module.__name__
)
def test_every_public_name_is_listed(module: object) -> None:
    """What a package exports is on the page of all names."""
    text = (REFERENCE / "names.md").read_text()

    missing = [name for name in module.__all__ if not re.search(rf"\b{re.escape(name)}\b", text)]

    assert not missing


@pytest.mark.parametrize("name", errors.__all__)
def test_the_table_of_errors_is_what_the_classifier_says(name: str) -> None:
    """Outcome, retry, breaker, key, fallback and billing of each class are those of the code."""
    error = getattr(errors, name)("it failed")
    verdict = classify(error)

    origin, treatment = [row for row in rows("errors.md") if row[0] == name and len(row) in (3, 6)]

    assert origin[1] == error.outcome
    assert treatment[1:] == [
        "yes" if verdict.retry else "no",
        verdict.breaker,
        verdict.key,
        verdict.fallback,
        "maybe" if error.processed else "no",
    ]


def test_the_tree_of_errors_is_the_tree() -> None:
    """Each class is drawn below its base, as deep as it is."""
    tree = (REFERENCE / "errors.md").read_text().split("```text\n")[1].split("```")[0]
    drawn = {re.search(r"\w+", line)[0]: re.search(r"\w", line).start() // 3 for line in tree.splitlines()}

    depth = {name: getattr(errors, name).__mro__.index(errors.LLMError) for name in errors.__all__}

    assert drawn == depth


def test_every_statistic_is_listed() -> None:
    """What seven layers count is on the page of statistics."""
    text = (REFERENCE / "stats.md").read_text()
    layers: list[Layer] = [
        llamina.Logger(),
        llamina.Cache(),
        llamina.Dedup(),
        llamina.Retry(),
        llamina.CostMeter(prices={}),
        llamina.CircuitBreaker(),
        llamina.Timeout(1),
    ]

    counted = llamina.build_stack(layers, EchoTransport()).stats()

    assert not [name for name in counted if f"`{name}`" not in text]


@pytest.mark.parametrize("page", sorted([*PAGES.rglob("*.md"), PAGES.parent / "README.md"]), ids=lambda page: page.stem)
def test_no_page_is_too_long(page: Path) -> None:
    """A page that takes more than 250 lines is two pages; what is generated is as long as what it tells of."""
    generated = page.name == "benchmarks.md" or page.parent.name == "api"

    assert len(page.read_text().splitlines()) <= 250 or generated
