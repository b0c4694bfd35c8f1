"""`llms.txt`: the map of the site for language models (llmstxt.org), made of the navigation and each page's opening.

The one surprise: links are addresses of the site (`tutorials/first-stack/`), relative to where the file lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ENTRY = re.compile(r"^(?P<indent> *)- \"?(?P<title>[^\"]+?)\"?:(?: (?P<path>\S+\.md))?$")
WHOLE = "All pages as Markdown in one file: [llms-full.txt](llms-full.txt)."
NOTE = 200  # characters after which a note gets no further sentence
SETTING = re.compile(r"^site_(name|description): (.+)$", re.MULTILINE)


def llms_txt(root: Path, fresh: Mapping[Path, str]) -> str:
    """The text of the file; *fresh* holds pages that may not be written yet."""
    settings = dict(SETTING.findall((root / "mkdocs.yml").read_text(encoding="utf-8")))
    lines = [f"# {settings['name']}", "", f"> {settings['description'].strip(chr(34))}", "", WHOLE]
    previous = ""
    for section, title, path in navigation(root):
        if section != previous:
            lines += ["", f"## {section}", ""]
            previous = section
        page = Path("docs") / path
        text = fresh.get(page) or (root / page).read_text(encoding="utf-8")
        lines.append(f"- [{title}]({address(path)}): {opening(text)}")
    return "\n".join(lines) + "\n"


def llms_full(root: Path) -> str:
    """Every page of the navigation, one after the other, each under its address."""
    pages = [
        f"<!-- {address(path)} -->\n{(root / 'docs' / path).read_text(encoding='utf-8').strip()}\n"
        for _, _, path in navigation(root)
    ]
    return "\n".join(pages)


def navigation(root: Path) -> Iterator[tuple[str, str, str]]:
    """Section, title and path of each page; a page that stands alone is a section."""
    text = (root / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("\n\n")[0]
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = ENTRY.match(line)
        if match is None:
            raise SystemExit(f"a line of the navigation in mkdocs.yml is not understood: {line!r}")
        depth = len(match["indent"])
        above = [one for one in above if one[0] < depth]
        if match["path"] is None:
            above.append((depth, match["title"]))
        else:
            yield (
                above[0][1] if above else match["title"],
                ": ".join([*[name for _, name in above[1:]], match["title"]]),
                match["path"],
            )


def address(path: str) -> str:
    """Where a page is on the site."""
    if path == "index.md":
        return "./"
    return path.removesuffix("/index.md").removesuffix(".md") + "/"


def opening(text: str) -> str:
    """The first sentences of a page, on one line, without links and marks; nothing where there are none."""
    body = re.sub(r"^(<!--.*?-->|```.*?^```|# [^\n]*)$", "", text, flags=re.MULTILINE | re.DOTALL).strip()
    paragraph = " ".join(body.split("\n\n")[0].split())
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", paragraph).replace("**", "")
    first, *others = re.split(r"(?<=[.!?:])\s", plain)
    for sentence in others:
        if len(first) + len(sentence) > NOTE:
            break
        first += " " + sentence
    return first
