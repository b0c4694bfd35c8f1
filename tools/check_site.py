"""Look at the built site as a reader's browser would: each page is there and can be found.

    zensical build --strict --clean
    python tools/generate_docs.py --full site/llms-full.txt
    python tools/check_site.py

Checked: a page for each entry of the navigation, its headings and code; a search box on it; an index in which each page
and a few words of different pages are found; `llms.txt`, whose links lead to pages.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from llms_txt import address, navigation  # noqa: E402 - its folder is found here

FINDABLE = {
    "retry_after_max": "layers/retry/",
    "divergence": "explanation/design/",
    "stop_after_attempt": "how-to/migrate/tenacity/",
    "CircuitBreaker": "reference/api/layers/",
}
"""Words with a page on which a search must find them."""


def faults(site: Path) -> list[str]:
    """What is wrong with the site, a sentence each."""
    found: list[str] = []
    pages = {path: site / address(path) / "index.html" for _, _, path in navigation(ROOT)}
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    for path, page in pages.items():
        if not page.exists():
            found.append(f"{path} has no page on the site")
            continue
        html = page.read_text(encoding="utf-8")
        source = (ROOT / "docs" / path).read_text(encoding="utf-8")
        if 'data-md-component="search"' not in html:
            found.append(f"{path} has no search box")
        if len(re.findall(r"<h1[ >]", html)) != 1:
            found.append(f"{path} does not have exactly one title")
        blocks = len(re.findall(r"^```\w", source, re.MULTILINE))
        if html.count('<div class="highlight">') + html.count('class="mermaid"') < blocks:
            found.append(f"{path} does not show all of its {blocks} blocks of code")
        if not any(item["location"].split("#")[0] == address(path).removeprefix("./") for item in index):
            found.append(f"{path} cannot be found by the search")
    for word, where in FINDABLE.items():
        if not any(item["location"].startswith(where) and word in item["title"] + item["text"] for item in index):
            found.append(f"the search does not find {word!r} on {where}")
    map_of_site = site / "llms.txt"
    links = re.findall(r"\]\(([^)]*)\)", map_of_site.read_text(encoding="utf-8")) if map_of_site.exists() else []
    there = [(site / link / "index.html").exists() or (site / link).is_file() for link in links]
    found += [f"llms.txt leads to {link}, which is not there" for link, ok in zip(links, there, strict=True) if not ok]
    return found if links else [*found, "llms.txt is not at the root of the site, or has no links"]


def main() -> int:
    """Print the faults; 1 if there are any."""
    wrong = faults(ROOT / "site" if len(sys.argv) < 2 else Path(sys.argv[1]))
    print("\n".join(wrong) or "the site is whole: every page can be read and found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
