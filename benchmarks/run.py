"""The benchmarks: `python benchmarks/run.py [section ...] [--markdown FILE]`.

Sections: calls, streams, startup, memory, http. Every figure stands beside a baseline that ran in turns with it.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from measure import machine, run

NAMES = ["calls", "streams", "startup", "memory", "http"]


def main() -> None:
    """Run the sections that were asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*NAMES, []], default=NAMES, metavar="section")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    chosen = parser.parse_args()
    print(machine())
    tables = []
    for name in chosen.sections or NAMES:
        for section in importlib.import_module(f"bench_{name}" if name == "http" else name).SECTIONS:
            table = run(section)
            print(table.text(), flush=True)
            tables.append(table)
    if chosen.markdown:
        head = f"# Benchmarks\n\nWritten by `python benchmarks/run.py --markdown docs/benchmarks.md`.\nSeen on {machine()}.\n"
        chosen.markdown.write_text("\n".join([head, *[table.markdown() for table in tables]]))


if __name__ == "__main__":
    main()
