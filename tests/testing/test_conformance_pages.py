"""The pages of the protocol and of the kit say the same as the code, clause by clause."""

from __future__ import annotations

import re
from pathlib import Path

from llamina.testing._bench import Clause
from llamina.testing._handler_clauses import HANDLER
from llamina.testing._middleware_clauses import MIDDLEWARE
from llamina.testing._store_clauses import STORE, STORE_TIMED
from llamina.testing.backoff_contract import BACKOFF

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PROTOCOL = (REFERENCE / "protocol.md").read_text()
PAGE = (REFERENCE / "conformance.md").read_text()
SPEC: dict[str, str] = dict(
    re.findall(r"^\*\*(\d+\.\d+)\*\*(.*?)(?=\n\*\*\d|\n## )", PROTOCOL, re.DOTALL | re.MULTILINE)
)
KIT: dict[str, list[Clause]] = {
    "Layers": MIDDLEWARE.entries,
    "Handlers": HANDLER.entries,
    "Stores": [*STORE.entries, *STORE_TIMED.entries],
    "Backoffs": BACKOFF.entries,
}
ALL = [clause for entries in KIT.values() for clause in entries]


def rows(section: str) -> list[list[str]]:
    """The cells of the table in a section of the page of the kit, without its head."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_every_clause_as_the_kit_has_it() -> None:
    """Names, sentences and numbers, in order; and how many there are."""
    for section, entries in KIT.items():
        listed = [(name.strip("`"), says, cites) for name, says, cites in rows(section)]

        assert listed == [(each.name, each.says, ", ".join(each.cites)) for each in entries]
        assert f"{len(entries)} clauses" in PAGE.split(f"## {section}\n")[1].split("\n|")[0]
    assert f"{len(ALL)} clauses" in PAGE.splitlines()[2]


def test_every_number_that_a_clause_cites_is_in_the_protocol() -> None:
    """And every clause cites one."""
    assert [each.name for each in ALL if not each.cites] == []
    assert {number for each in ALL for number in each.cites} - set(SPEC) == set()


def test_the_page_lists_every_must_that_no_check_covers() -> None:
    """What is not checked is said, not passed over."""
    cited = {number for each in ALL for number in each.cites}

    uncovered = [number for number, text in SPEC.items() if "MUST" in text and number not in cited]

    assert [row[0] for row in rows("What no check covers")] == uncovered


def test_every_clause_of_the_protocol_says_how_it_binds() -> None:
    """MUST, SHOULD or MAY; only the words at the beginning bind nobody."""
    silent = [number for number, text in SPEC.items() if not re.search(r"\b(MUST|SHOULD|MAY)\b", text)]

    assert silent == ["1.1", "1.2", "1.3", "1.4", "1.5"]


def test_names_of_clauses_are_unique_in_each_kit() -> None:
    """A report cites them."""
    for entries in KIT.values():
        names = [each.name for each in entries]

        assert len(set(names)) == len(names)
    assert len(ALL) >= 40


def test_the_page_about_publishing_shows_as_many_clauses_as_there_are() -> None:
    """It is what an author compares his own screen with."""
    page = (REFERENCE.parent / "how-to" / "publish-a-layer.md").read_text()

    assert f"conforms ({len(MIDDLEWARE.entries)} clauses)" in page
