"""A docstring of this project as Markdown: paragraphs as they are, indented examples fenced, sections as lists."""

from __future__ import annotations

import ast
import re
import textwrap

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields)\b[^:]*:$")
ITEM = re.compile(r"^(?P<names>[\w*.\[\]]+(?:, [\w*.]+)*): (?P<text>.*)$", re.DOTALL)


def as_markdown(doc: str) -> list[str]:
    """The lines of the page for one docstring."""
    lines: list[str] = []
    for block in blocks(doc):
        if lines:
            lines.append("")
        lines += block
    return lines


def blocks(doc: str) -> list[list[str]]:
    """Paragraphs, examples and sections, each as lines of Markdown."""
    found: list[list[str]] = []
    for paragraph in paragraphs(doc):
        lines = paragraph.splitlines()
        if SECTION.match(lines[0]) and len(lines) > 1:
            found.append([f"**{lines[0].rstrip(':')}**"])
            found.append(items(textwrap.dedent("\n".join(lines[1:]))))
        elif is_example(paragraph):
            found.append(example(textwrap.dedent(paragraph)))
        else:
            found.append([line.replace("|", r"\|") if line.startswith("|") else line for line in lines])
    return found


def paragraphs(doc: str) -> list[str]:
    """What blank lines part; an example keeps its own."""
    parts: list[str] = []
    for part in re.split(r"\n\s*\n", doc.strip("\n")):
        if parts and is_example(part) and is_example(parts[-1]):
            parts[-1] += "\n\n" + part
        elif part.strip():
            parts.append(part)
    return parts


def is_example(part: str) -> bool:
    """Whether a paragraph is code: indented, or what the formatter left of it in a docstring without further text."""
    return part.startswith(("    ", "from llamina", "body = ", "response = "))


def items(text: str) -> list[str]:
    """The entries of a section, a bullet each; a line that is indented goes on with the entry above."""
    entries: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    return [f"- {item(entry)}" for entry in entries]


def item(entry: str) -> str:
    """`name: what it is`, with the name as code."""
    match = ITEM.match(entry)
    if match is None:
        return entry
    names = ", ".join(f"`{name}`" for name in match["names"].split(", "))
    return f"{names}: {match['text']}"


def example(code: str) -> list[str]:
    """A fenced block: Python where it is Python, else plain text."""
    try:
        compile(code, "example", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        language = "py"
    except SyntaxError:
        language = "text"
    return [f"```{language}", *code.rstrip().splitlines(), "```"]


def first_sentence(doc: str) -> str:
    """What a docstring opens with, on one line."""
    opening = " ".join(doc.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", opening, maxsplit=1)[0]
