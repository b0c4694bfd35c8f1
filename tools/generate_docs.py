"""Write what is generated of the docs: the API reference and `llms.txt`.

    python tools/generate_docs.py                            # docs/reference/api/*.md and docs/llms.txt
    python tools/generate_docs.py --full site/llms-full.txt  # besides, all pages in one file

Run it after a change of a signature, a docstring, the navigation, or the first paragraph of a page; a test says when.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from api_pages import api_pages  # noqa: E402 - its folder is found here
from llms_txt import llms_full, llms_txt  # noqa: E402

COMMAND = "python tools/generate_docs.py"


def generated() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    pages = {Path("docs/reference/api") / name: text for name, text in api_pages().items()}
    return {**pages, Path("docs/llms.txt"): llms_txt(ROOT, pages)}


def main() -> None:
    """Write what differs, delete pages that are no longer made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", type=Path, help="write all pages into this file, too")
    arguments = parser.parse_args()
    files = generated()
    for old in (ROOT / "docs/reference/api").glob("*.md"):
        if old.relative_to(ROOT) not in files:
            old.unlink()
    for path, text in files.items():
        target = ROOT / path
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print("wrote", path)
    if arguments.full is not None:
        arguments.full.write_text(llms_full(ROOT), encoding="utf-8")
        print("wrote", arguments.full)


if __name__ == "__main__":
    main()
