"""llamina beside other libraries: `python benchmarks/rivals/run.py [--quick] [--only SECTION ...]`.

    python benchmarks/rivals/run.py                    # everything, some five minutes; writes pages and picture
    python benchmarks/rivals/run.py --quick            # does it all run? prints, writes nothing
    python benchmarks/rivals/run.py --only facts       # one section; the others stay as they were
    python benchmarks/rivals/run.py --only             # no section: the pages again from results.json

Any Python from 3.11 runs it; the environments of the libraries are built beside this file when they are first needed
(`environments.py`). Each library measures in a process of its own and they take turns (`conductor.py`, `worker.py`), so
no figure stands alone; CPU is that of the library's process. Nobody talks to anything but loopback.

It writes `docs/benchmarks.md` and `docs/benchmarks-rivals.md` between their marks, `docs/images/rivals.svg`, and
`results.json`, from which the sections that did not run are taken.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from chart import chart  # noqa: E402
from environments import Environments  # noqa: E402
from page import details, replaced, summary  # noqa: E402
from sections import SECTIONS  # noqa: E402

from measure import machine  # noqa: E402

RESULTS = HERE / "results.json"


def write(found: dict[str, Any]) -> None:
    """The pages and the picture."""
    results = found["sections"]
    for path, block in (
        (ROOT / "docs/benchmarks.md", summary(results)),
        (ROOT / "docs/benchmarks-rivals.md", details(results, found["versions"], found["machine"])),
    ):
        path.write_text(replaced(path.read_text(), block))
    picture = ROOT / "docs/images/rivals.svg"
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(chart(results))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round of everything; writes nothing")
    parser.add_argument("--only", nargs="*", choices=[*SECTIONS], help="these sections: " + ", ".join(SECTIONS))
    chosen = parser.parse_args()
    environments = Environments()
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"sections": {}}
    if chosen.only != []:
        found |= {"versions": environments.versions(), "machine": machine()}
    for name in SECTIONS if chosen.only is None else chosen.only:
        started = time.perf_counter()
        found["sections"][name] = SECTIONS[name](environments, quick=chosen.quick)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(summary(found["sections"]))
    print(details(found["sections"], found["versions"], found["machine"]))
    if not chosen.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        write(found)


if __name__ == "__main__":
    main()
