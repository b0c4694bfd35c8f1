"""The figures of the demo: what each layer let through, stopped and added, read from what the stack counts itself.

    for stage in stages(stack.stats(), requests=len(provider.requests)):
        print(stage.name, stage.entered, stage.stopped, stage.words)

Calls go through the layers as through a row of gates: what leaves one is what enters the next, only Retry adds some.

The one surprise: everything here is a view. The same functions draw the live display and prove the sums at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from llamina.call import Attempt

__all__ = ["Stage", "percentile", "stages"]

_CAUSES = {
    "ok": "answered",
    "server_error": "server errors",
    "overloaded": "overloaded",
    "rate_limited": "rate limited",
    "network_error": "cut off",
    "timeout": "timed out",
    "malformed": "garbage",
    "cancelled": "left early",
}


@frozen
class Stage:
    """One gate.

    Attributes:
        entered: calls or tries that came in; stopped: those that went no further; added: tries that came on top.
        words: what the layer did; troubled: whether that is bad news.
    """

    name: str
    entered: int
    stopped: int
    added: int
    words: str
    troubled: bool = False


def stages(stats: Mapping[str, Any], *, requests: int, attempts: Iterable[Attempt] = ()) -> list[Stage]:
    """The gates in the order in which a call meets them, the provider last."""
    get: Any = Counter(stats).__getitem__  # what has not happened yet is 0
    calls = get("logger.records")
    hits = get("cache.hits")
    misses = get("cache.misses")
    asked = hits + misses
    gave_up = sum([get(f"retry.{reason}") for reason in ("exhausted", "budget", "deadline", "committed")])
    cost = stats["cost.total"]
    let_through = get("circuit.requests.total") - get("circuit.requests.rejected")
    return [
        Stage("Logger", asked, 0, 0, f"{calls} calls on record"),
        Stage("Cache", asked, hits, 0, f"{hits} answered from memory{_share(hits, asked)}"),
        Stage(
            "Dedup",
            misses,
            get("dedup.joined"),
            0,
            f"{get('dedup.joined')} joined another's call, {get('dedup.in_flight')} in the air",
        ),
        Stage(
            "Retry",
            get("retry.calls"),
            0,
            get("retry.retries"),
            f"{get('retry.retries')} tries more, waited {get('retry.delay'):.1f} s; "
            f"{get('retry.recovered')} saved, {gave_up} gave up",
        ),
        Stage(
            "CostMeter",
            get("retry.attempts"),
            get("cost.refused"),
            0,
            f"{cost:.4f} USD, {get('cost.refused')} refused",
            troubled=get("cost.refused") > 0,
        ),
        Stage(
            "CircuitBreaker",
            get("circuit.requests.total"),
            get("circuit.requests.rejected"),
            0,
            f"{stats['circuit.state']}; opened {get('circuit.opened')}x, {get('circuit.requests.rejected')} refused",
            troubled=stats["circuit.state"] != "closed",
        ),
        Stage("Timeout", let_through, 0, 0, f"{get('timeout.fired')} cut off"),
        Stage("the provider", requests, 0, 0, outcomes(attempts)),
    ]


def outcomes(attempts: Iterable[Attempt]) -> str:
    """How attempts ended, in words: "120 answered, 22 server errors"."""
    ends = Counter([attempt.outcome for attempt in attempts if attempt.outcome])
    ordered = sorted(ends.items(), key=lambda item: (item[0] != "ok", -item[1]))
    return ", ".join([f"{count} {_CAUSES.get(end, end)}" for end, count in ordered])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _share(part: int, whole: int) -> str:
    return f" ({100 * part // whole} %)" if whole else ""
