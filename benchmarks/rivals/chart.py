"""The picture of the results: three small charts side by side, bars from nought, readable on light and on dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from page import figure

BARS = {
    "llamina": "llamina HTTPTransport, aiohttp, seven layers",
    "llamina on the SDK": "llamina OpenAITransport, seven layers",
    "openai SDK alone": "openai SDK 3",
    "any-llm": "any-llm AnyLLM, kept",
    "pydantic-ai": "pydantic-ai direct",
    "langchain-openai": "langchain-openai ChatOpenAI",
    "litellm": "litellm acompletion",
}
CHARTS = (
    ("A call, 64 in flight", "microseconds of CPU", "calls", "cpu 64"),
    ("A streamed event", "microseconds of CPU", "calls", "event"),
    ("Memory after a first call", "MB", "memory", "rest"),
)
LEFT, WIDTH, GAP, TOP, STEP, BAR = 190, 168, 62, 76, 30, 18
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
NOTE = "Shorter is better. llamina carries seven layers; of each other library the lighter of its ways is shown."
STYLE = """
  .card { fill: #ffffff; stroke: #d8dee4 } .title { font-weight: 600 } text { fill: #1f2328 } .quiet { fill: #59636e }
  .ours { fill: #0f766e } .theirs { fill: #a8b1bb } .reference { fill: #6b7785 } .axis { stroke: #d8dee4 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #30363d } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
    .ours { fill: #2dd4bf } .theirs { fill: #57606a } .reference { fill: #8b949e } .axis { stroke: #30363d }
  }
"""


def kind(label: str) -> str:
    """The class of a bar."""
    if label.startswith("llamina"):
        return "ours"
    return "reference" if label.endswith("alone") else "theirs"


def chart(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """An SVG of the bars; what has no figure has no bar."""
    width = LEFT + len(CHARTS) * (WIDTH + GAP)
    bottom = TOP + len(BARS) * STEP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 40}" role="img" font-size="13" {FONT}>',
        "<title>llamina beside other libraries: CPU of a call, CPU of a streamed event, memory</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{bottom + 39}" rx="8"/>',
    ]
    for place, label in enumerate(BARS):
        weight = ' class="title"' if kind(label) == "ours" else ""
        middle = TOP + place * STEP + BAR / 2 + 4.5
        lines.append(f'<text{weight} x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(label)}</text>')
    for number, (title, unit, section, column) in enumerate(CHARTS):
        x = LEFT + number * (WIDTH + GAP)
        found = results.get(section, {})
        values = {label: found.get(name, {}).get(column) for label, name in BARS.items()}
        most = max((value for value in values.values() if value), default=1.0)
        lines += [
            f'<text class="title" x="{x}" y="32">{escape(title)}</text>',
            f'<text class="quiet" x="{x}" y="51" font-size="12">{escape(unit)}</text>',
            f'<line class="axis" x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom - 4}"/>',
        ]
        for place, (label, value) in enumerate(values.items()):
            if value is None:
                continue
            y, long = TOP + place * STEP, max(1.5, value / most * WIDTH)
            lines += [
                f'<rect class="{kind(label)}" x="{x}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2"/>',
                f'<text x="{x + long + 6:.1f}" y="{y + BAR / 2 + 4.5}" font-size="12">{figure(value)}</text>',
            ]
    lines += [
        f'<text class="quiet" x="{LEFT}" y="{bottom + 20}" font-size="12">{NOTE}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
