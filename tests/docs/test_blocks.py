"""Every Python block of README and docs runs as it stands; the blocks of one page share a namespace.

A ```text block right after a Python block is what it prints, where `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^```python(?P<flags>[^\n]*)\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<prints>.*?)^```)?", re.MULTILINE | re.DOTALL
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def squeezed(text: str) -> str:
    """The text without the white space that makes no difference to a reader."""
    return "\n".join([" ".join(line.split()) for line in text.splitlines() if line.strip()])


def looks_like(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed."""
    pattern = ".*".join([re.escape(piece) for piece in squeezed(shown).split("...")])
    return re.fullmatch(pattern, squeezed(printed), re.DOTALL) is not None


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, run one after the other, raise nothing and print what the page shows."""
    text = page.read_text()
    for module in re.findall(r"<!-- needs: (\w+) -->", text):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for match in BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 2
        code = compile("\n" * (line - 1) + match["code"], str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if match["prints"] is not None:
            assert looks_like(match["prints"], printed.getvalue()), f"{page}:{line} prints\n{printed.getvalue()}"


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach is not documentation."""
    navigation = (ROOT / "mkdocs.yml").read_text()

    missing = [
        path for page in PAGES[1:] if (path := page.relative_to(ROOT / "docs").as_posix()) and path not in navigation
    ]

    assert not missing


def test_every_entry_of_the_navigation_is_a_page() -> None:
    """The site builder would refuse a page that is not there."""
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

    assert [path for path in listed if not (ROOT / "docs" / path).exists()] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links of README and docs point at files that exist, and at headings that are there."""
    broken = []
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
            file = page.parent / target if target else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")

    assert not broken


def anchors(page: Path) -> set[str]:
    """The addresses of the headings of a page: their own, where one is given, else made of the title."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    given = {match[1] for title in titles if (match := re.search(r"\{ #(\S+) \}$", title))}
    return given | {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
