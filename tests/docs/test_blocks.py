"""Every Python block of README and docs runs as it stands; the blocks of one page share a namespace."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python(?P<flags>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_every_block_of_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The blocks of a page, run one after the other, raise nothing."""
    text = page.read_text()
    for module in re.findall(r"<!-- needs: (\w+) -->", text):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for match in BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 2
        code = compile("\n" * (line - 1) + match["code"], str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, namespace)


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach is not documentation."""
    navigation = (ROOT / "mkdocs.yml").read_text()

    missing = [str(page.relative_to(ROOT / "docs")) for page in PAGES[1:] if page.name not in navigation]

    assert not missing


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links of README and docs point at files that exist."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert not broken
