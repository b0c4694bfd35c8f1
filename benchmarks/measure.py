"""Measure several variants in turns, so that a noisy machine is noisy for all of them alike."""

from __future__ import annotations

import asyncio
import gc
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Variant = Callable[[int], Awaitable[Any]]


@dataclass
class Row:
    """One figure, beside its baseline of the same run."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    budget: str = ""


@dataclass
class Table:
    """The rows of one section."""

    title: str
    note: str
    rows: list[Row] = field(default_factory=list)

    def text(self) -> str:
        """For a terminal."""
        lines = [f"\n{self.title}", f"  {self.note}"]
        for row in self.rows:
            ratio = "" if row.ratio is None else f"{row.ratio:8.2f} x"
            lines.append(f"  {row.name:<66}{row.value:>10.2f} {row.unit:<9}{ratio:>11}  {row.budget}")
        return "\n".join(lines)

    def markdown(self) -> str:
        """For the docs."""
        lines = [
            f"## {self.title}",
            "",
            self.note,
            "",
            "| what | figure | beside its baseline | budget |",
            "|---|---|---|---|",
        ]
        for row in self.rows:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
            lines.append(f"| {row.name} | {row.value:.2f} {row.unit} | {ratio} | {row.budget} |")
        return "\n".join([*lines, ""])


async def in_turns(variants: dict[str, Variant], *, calls: int, rounds: int = 15) -> dict[str, float]:
    """Microseconds of CPU per call of each variant: the best of *rounds*, the variants taking turns."""
    best = dict.fromkeys(variants, float("inf"))
    for variant in variants.values():
        await variant(max(1, calls // 10))
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, variant in variants.items():
                started = time.process_time()
                await variant(calls)
                best[name] = min(best[name], (time.process_time() - started) / calls * 1e6)
                gc.collect(0)
    finally:
        gc.enable()
    return best


def run(section: Callable[[], Awaitable[Table]]) -> Table:
    """Run one section in a loop of its own."""
    return asyncio.run(section())


def machine() -> str:
    """What the figures were seen on."""
    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.implementation.name}"
