"""The summary of the demo as text: the way of the calls through the layers, their ends, the money, the checks.

    print_report(summary)

The one surprise: it is drawn with rich, so it has colours on a terminal and none in a pipe, and is the same text.
"""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .summary import Check, Money, Summary

__all__ = ["print_report", "report"]

_OUTCOMES = {
    "server_error": "server errors",
    "rate_limited": "rate limits",
    "network_error": "cut",
    "malformed": "garbage",
    "timeout": "timeouts",
    "cancelled": "left early",
    "circuit_open": "open circuit",
    "budget_exceeded": "budget used up",
    "cache": "by the cache",
    "joined": "by joining another's call",
    "provider": "by the provider",
}


def print_report(summary: Summary, console: Console | None = None) -> None:
    """Print *summary* to standard output."""
    console = console or Console(highlight=False)
    if console.is_terminal:
        console.print(report(summary))
        return
    with console.capture() as drawn:
        console.print(report(summary))
    console.file.writelines([f"{line.rstrip()}\n" for line in drawn.get().splitlines()])


def report(summary: Summary) -> RenderableType:
    """*summary* as something to print."""
    title = Text.assemble(
        ("llamina demo", "bold"), f"  {summary.calls} calls in {summary.seconds:.1f} s, seed {summary.seed}"
    )
    return Group(title, Text(), _way(summary), Text(), _ends(summary), Text(), _money(summary), _verdict(summary))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in ("", " ", "layer") else "right", no_wrap=column != " ")
    return table


def _way(summary: Summary) -> Table:
    table = _table("layer", "entered", "stopped", "added", " ")
    for stage in summary.stages:
        table.add_row(
            Text(stage.name, "bold"),
            str(stage.entered),
            Text(f"-{stage.stopped}", "yellow") if stage.stopped else "",
            Text(f"+{stage.added}", "cyan") if stage.added else "",
            stage.words,
        )
    return table


def _ends(summary: Summary) -> Group:
    latency = summary.latency
    ends = " + ".join([f"{count} {end}" for end, count in summary.ends.items()])
    lines = [Text.assemble((f"{summary.calls} calls", "bold"), f" = {ends}")]
    lines.append(Text(f"  answered {_counts(summary.sources)}"))
    if summary.reasons:
        lines.append(Text(f"  refused or failed: {_counts(summary.reasons)}"))
    lines.append(
        Text(
            f"  median {latency['p50']:.2f} s (p95 {latency['p95']:.2f} s) from the provider, "
            f"{1000 * latency['cache_p50']:.1f} ms from the cache"
        )
    )
    return Group(*lines)


def _money(summary: Summary) -> Group:
    counted, estimated = summary.counted, summary.estimated
    total = Money(
        counted.attempts + summary.refused + estimated.attempts,
        counted.meter + estimated.meter,
        counted.bill + estimated.bill,
    )
    table = _table("", "attempts", "CostMeter USD", "provider's bill USD", " ")
    table.add_row("counted by the provider", *_row(counted), _mark(counted.meter == counted.bill))
    table.add_row("refused before any work", *_row(Money(summary.refused, Decimal(0), Decimal(0))), "")
    table.add_row("without a count, estimated", *_row(estimated), "")
    table.add_row("together", *_row(total), "")
    why = Text(
        f"Without a count: {_counts(summary.uncounted)}.\n"
        "Unknown is not free: the meter charges the prompt and what came of an answer.",
        "dim",
    )
    return Group(table, why)


def _row(money: Money) -> tuple[str, str, str]:
    return str(money.attempts), f"{money.meter:.6f}", f"{money.bill:.6f}"


def _mark(holds: bool) -> Text:
    return Text("equal", "green") if holds else Text("NOT EQUAL", "bold red")


def _verdict(summary: Summary) -> Group:
    if summary.adds_up:
        return Group(Text(f"All {len(summary.checks)} sums add up.", "bold green"))
    lines = [Text("The sums do not add up:", "bold red")]
    lines += [Text(f"  {check.name}: {_show(check)}", "red") for check in summary.checks if not check.holds]
    return Group(*lines)


def _show(check: Check) -> str:
    return " and ".join(
        [f"{value:f}" if isinstance(value, Decimal) else str(value) for value in (check.left, check.right)]
    )


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join([f"{count} {_OUTCOMES.get(name, name)}" for name, count in ordered]) or "none"
