"""What is generated of the docs is what the code and the pages say now."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """The generator, from its folder beside the package."""
    sys.path.insert(0, str(ROOT / "tools"))
    return importlib.import_module("generate_docs")


def test_the_reference_and_the_map_for_models_are_current(tools: ModuleType) -> None:
    """A signature, a docstring, the navigation or an opening has changed, and the generated files with it."""
    stale = {
        str(path): text
        for path, text in tools.generated().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    }
    lines = [
        line
        for path, text in stale.items()
        for line in difflib.unified_diff(
            (ROOT / path).read_text(encoding="utf-8").splitlines() if (ROOT / path).exists() else [],
            text.splitlines(),
            path,
            path,
            n=0,
            lineterm="",
        )
    ]

    assert not stale, f"run `{tools.COMMAND}`; it would change\n" + "\n".join(lines[:60])


def test_no_page_of_the_reference_is_left_over(tools: ModuleType) -> None:
    """Every page in the folder of the reference is made by the generator."""
    there = {page.relative_to(ROOT) for page in (ROOT / "docs/reference/api").glob("*.md")}

    assert there <= set(tools.generated())


def test_every_public_name_has_an_entry(tools: ModuleType) -> None:
    """What the package exports is a heading of exactly one page of the reference."""
    import llamina

    headings = re.findall(r"^##+ `(\w+)` \{ #llamina\.\w+ \}$", "\n".join(tools.generated().values()), re.MULTILINE)

    assert sorted(headings) == sorted(set(llamina.__all__) - {"__version__"})


def test_the_map_lists_every_page_of_the_navigation(tools: ModuleType) -> None:
    """`llms.txt` has a title, a summary, and a note for each page."""
    text = tools.generated()[Path("docs/llms.txt")]
    paths = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)

    notes = re.findall(r"^- \[[^\]]+\]\([^)]+\): \S.*$", text, re.MULTILINE)

    assert text.startswith("# llamina\n\n> ")
    assert len(notes) == len(paths)


def test_a_docstring_becomes_markdown(tools: ModuleType) -> None:
    """Sections become lists, indented code a fenced block, and a tree of plain text stays plain text."""
    doc = "What it does.\n\n    make(1)\n\nArgs:\n    one, two: a thing\n        that goes on.\n\n    a root\n    +-- a leaf"

    lines = sys.modules["docstrings"].as_markdown(doc)

    assert lines == [
        "What it does.", "", "```py", "make(1)", "```", "", "**Args**", "", "- `one`, `two`: a thing that goes on.",
        "", "```text", "a root", "+-- a leaf", "```",
    ]  # fmt: skip
