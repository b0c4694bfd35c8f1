"""The tables of the results, and the place between two marks of a page that they are written to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN, END = "<!-- rivals:begin -->", "<!-- rivals:end -->"

Rows = Mapping[str, Mapping[str, Any]]
Results = Mapping[str, Rows]

OURS = "llamina HTTPTransport, aiohttp, seven layers"
SDK = "openai SDK 3"
LOADS = (1, 64, 512)
REFERENCES = ("openai SDK 3", "openai SDK 2", "Python alone")
CONCERNS = {
    "retry": ("Retry, nothing fails", "added"),
    "hit": ("A cache hit", "whole"),
    "fallback": ("Fallback, the first fails", "added"),
    "crowd": ("100 callers who want the same at once, together", "whole"),
}


def replaced(text: str, block: str) -> str:
    """*text* with *block* between its marks.

    Raises:
        ValueError: the marks are not there, once each and in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the page needs {BEGIN} and then {END}, once each")
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"


def figure(value: float | None) -> str:
    """Three digits that count; what is below the noise is nought."""
    if value is None:
        return "-"
    if value < 0.005:
        return "0"
    if value >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head: list[str], rows: list[list[str]], *, words: int = 1) -> str:
    """A table of Markdown, the first *words* columns of which are no figures."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rows_of(found: Rows, columns: list[str]) -> list[list[str]]:
    """A row for each library; who failed has its reason where the figures end."""
    rows = []
    for name, values in found.items():
        cells = [figure(values.get(column)) for column in columns]
        if "failed" in values:
            cells = ["" if cell == "-" else cell for cell in cells]
            place = cells.index("") if "" in cells else -1
            cells[place] = f"failed: {values['failed']}".replace("|", "/")
        rows.append([name, *cells])
    return rows


# The summary.


def compared(title: str, unit: str, found: Rows, key: str, ours: str, *, most: bool = False) -> list[str]:
    """A row of the summary: ours, the best rival's, their ratio, the SDK's alone."""
    figures = {name: values[key] for name, values in found.items() if key in values}
    rivals = {name: value for name, value in figures.items() if "llamina" not in name and name not in REFERENCES}
    if ours not in figures or not rivals:
        return [title, "failed" if ours not in figures else figure(figures[ours]), "", "", ""]
    best = (max if most else min)(rivals, key=lambda name: rivals[name])
    name = best.partition(": ")[2] or best
    ratio = f"{figure(figures[ours] / rivals[best])} x" if rivals[best] > 0 else "-"
    sdk = figure(figures.get(SDK))
    return [f"{title}, {unit}", figure(figures[ours]), f"{figure(rivals[best])} ({name})", ratio, sdk]


def summary(results: Results) -> str:
    """Ours beside the best rival of each row."""
    rows = []
    for concern, (title, key) in CONCERNS.items():
        group = {name: values for name, values in results.get("concerns", {}).items() if name.startswith(concern)}
        ours = next((name for name in group if "llamina" in name), "")
        rows.append(compared(title, "us", group, key, ours))
    calls, memory, imports = (results.get(name, {}) for name in ("calls", "memory", "imports"))
    clients = {name: values for name, values in imports.items() if name not in ("tenacity", "stamina", "aiocache")}
    rows += [compared(f"A call, {load} in flight", "us CPU", calls, f"cpu {load}", OURS) for load in LOADS]
    rows += [compared(f"Calls, {load} in flight", "1/s", calls, f"rate {load}", OURS, most=True) for load in LOADS]
    rows += [
        compared("A streamed event", "us CPU", calls, "event", OURS),
        compared("Memory after a first call", "MB", memory, "rest", OURS),
        compared("Memory of an open stream, of 512", "KB", memory, "stream", OURS),
        compared("Import", "ms CPU", clients, "ms", "llamina, seven layers and HTTPTransport"),
    ]
    return table(["what", "llamina", "best rival", "ratio", "openai SDK alone"], rows)


# The details.


def concern_table(found: Rows) -> str:
    """The libraries of each concern, the best of the others as the measure."""
    rows = []
    for concern, (title, key) in CONCERNS.items():
        group = {name.partition(": ")[2]: values for name, values in found.items() if name.startswith(concern)}
        rivals = [values[key] for name, values in group.items() if key in values and "llamina" not in name]
        for place, (name, values) in enumerate(group.items()):
            cells = ["", "", "", ""]
            if "failed" in values:
                cells[0] = f"failed: {values['failed']}".replace("|", "/")
            else:
                ratio = f"{figure(values[key] / min(rivals))} x" if rivals and min(rivals) > 0 else "-"
                cells = [
                    figure(values["whole"]),
                    figure(values[key]) if key == "added" else "-",
                    figure(values["made"]),
                    ratio,
                ]
            rows.append(["" if place else title, name, *cells])
    head = ["concern", "library", "a call, us", "of it added, us", "calls made below", "beside the best rival"]
    return table(head, rows, words=2)


FACT_HEAD = {
    "default": "a 429 for ever, as it comes",
    "two_retries": "two retries asked for",
    "quota": "quota used up",
    "crowd": "5 alike at once",
    "shared": "one answer for two",
    "aborted": "stream that is left: recorded of billed",
}


def fact_table(found: Rows) -> str:
    """A row for each library; a dash where it has no such thing."""
    rows = []
    for name, values in found.items():
        if "failed" in values:
            rows.append([name, f"failed: {values['failed']}", *[""] * (len(FACT_HEAD) - 1)])
            continue
        cells = ["-" if values.get(key) is None else str(values[key]).replace("|", "/") for key in FACT_HEAD]
        rows.append([name, *cells])
    return table(["library", *FACT_HEAD.values()], rows, words=len(FACT_HEAD) + 1)


def details(results: Results, versions: Mapping[str, Mapping[str, str]], machine: str) -> str:
    """All tables."""
    parts = [f"Seen on {machine}.", ""]
    for environment, packages in versions.items():
        held = ", ".join(f"{name} {version}" for name, version in packages.items())
        parts.append(f"- environment `{environment}`: {held}")
    calls = results.get("calls", {})
    parts += [
        "\n### Calls and streams\n",
        table(
            ["library", *[f"us CPU, {load}" for load in LOADS], *[f"calls/s, {load}" for load in LOADS], "us an event"],
            rows_of(calls, [*[f"cpu {load}" for load in LOADS], *[f"rate {load}" for load in LOADS], "event"]),
        ),
        "\n### One concern at a time\n",
        concern_table(results.get("concerns", {})),
        "\n### Memory\n",
        table(
            ["library", "MB after a first call", "KB for each open stream", "streams held, of 513"],
            rows_of(results.get("memory", {}), ["rest", "stream", "held"]),
        ),
        "\n### Import\n",
        table(["library", "ms CPU", "MB held then"], rows_of(results.get("imports", {}), ["ms", "MB"])),
        "\n### What they do\n",
        fact_table(results.get("facts", {})),
    ]
    return "\n".join(parts)
