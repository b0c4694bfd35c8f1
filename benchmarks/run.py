"""The benchmarks: `python benchmarks/run.py [section ...] [--markdown FILE]`.

Sections: calls, streams, startup, memory, http, sdks, blocking, doors. Every figure stands beside a baseline that ran in
turns with it.
The tables of the sections that did not run stay in FILE as they are.
"""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

from measure import Table, machine, run

MODULES = {
    "calls": "calls",
    "streams": "streams",
    "startup": "startup",
    "memory": "memory",
    "http": "over_http",
    "sdks": "over_sdks",
    "blocking": "blocking",
    "doors": "doors",
}

RIVALS = re.compile(r"The same work.*?<!-- rivals:end -->", re.DOTALL)
"""What `benchmarks/rivals/run.py` writes to the page."""


def page(tables: list[Table], before: str = "", *, keep: bool = False) -> str:
    """The page with *tables* on it; to *keep* the others, each in its place on the page *before*, else at the end."""
    parts = {part.partition("\n")[0]: f"## {part.strip()}\n" for part in before.split("\n## ")[1:]} if keep else {}
    parts |= {table.title: table.markdown() for table in tables}
    rivals = RIVALS.search(before)
    head = (
        f"# Benchmarks\n\nWritten by `python benchmarks/run.py --markdown docs/benchmarks.md`.\nSeen on {machine()}.\n"
    ) + (f"\n{rivals.group()}\n" if rivals else "")
    return "\n".join([head, *parts.values()])


def main() -> None:
    """Run the sections that were asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(MODULES))
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    chosen = parser.parse_args()
    for name in chosen.sections:
        if name not in MODULES:
            parser.error(f"there is no section {name!r}; choose from {', '.join(MODULES)}")
    print(machine())
    tables = []
    for name in chosen.sections or MODULES:
        for section in importlib.import_module(MODULES[name]).SECTIONS:
            table = run(section)
            print(table.text(), flush=True)
            tables.append(table)
    if chosen.markdown:
        before = chosen.markdown.read_text() if chosen.markdown.exists() else ""
        chosen.markdown.write_text(page(tables, before, keep=bool(chosen.sections)))


if __name__ == "__main__":
    main()
