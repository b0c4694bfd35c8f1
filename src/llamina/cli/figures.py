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

_SHORT = {
    "ok": "ok",
    "server_error": "5xx",
    "overloaded": "529",
    "rate_limited": "429",
    "network_error": "cut",
    "timeout": "late",
    "malformed": "bad",
    "cancelled": "left",
}
_GAVE_UP = ("exhausted", "budget", "deadline", "committed", "retry_after_max", "side_effects")


@frozen
class Stage:
    """One gate.

    Attributes:
        entered: calls or tries that came in; stopped: those that went no further; added: tries that came on top.
        words: what the layer did, in some forty letters.
        parts: how its bar is made, as (count, tone): "pass", "saved" (answered here), "refused", "added", "failed".
    """

    name: str
    entered: int
    stopped: int
    added: int
    words: str
    parts: tuple[tuple[int, str], ...]


def stages(stats: Mapping[str, Any], *, requests: int, attempts: Iterable[Attempt] = ()) -> list[Stage]:
    """The gates in the order in which a call meets them, the provider last."""
    get: Any = Counter(stats).__getitem__  # what has not happened yet is 0
    hits, joined, refused = get("cache.hits"), get("dedup.joined"), get("cost.refused")
    asked = hits + get("cache.misses")
    rejected = get("circuit.requests.rejected")
    let_through = get("circuit.requests.total") - rejected
    retries, waited = get("retry.retries"), get("retry.delay")
    gave_up = sum([get(f"retry.{reason}") for reason in _GAVE_UP])
    ends = Counter([attempt.outcome for attempt in attempts if attempt.outcome])
    failed = ends.total() - ends["ok"]
    return [
        _gate("Logger", asked, 0, "saved", f"{get('logger.records')} calls on record"),
        _gate("Cache", asked, hits, "saved", f"{hits} from memory{_share(hits, asked)}"),
        _gate("Dedup", get("cache.misses"), joined, "saved", f"{joined} joined another's call"),
        Stage(
            "Retry",
            get("retry.calls"),
            0,
            retries,
            f"+{retries} tries ({waited:.1f} s wait), {get('retry.recovered')} saved, {gave_up} lost",
            ((get("retry.calls"), "pass"), (retries, "added")),
        ),
        _gate(
            "CostMeter", get("retry.attempts"), refused, "refused", f"{stats['cost.total']:.4f} USD, {refused} refused"
        ),
        _gate(
            "CircuitBreaker",
            get("circuit.requests.total"),
            rejected,
            "refused",
            f"{stats['circuit.state']}, opened {get('circuit.opened')}x, {rejected} refused",
        ),
        _gate("Timeout", let_through, get("timeout.fired"), "failed", f"{get('timeout.fired')} cut off"),
        Stage(
            "the provider",
            requests,
            0,
            0,
            ", ".join([f"{count} {_SHORT.get(end, end)}" for end, count in ends.most_common()]),
            ((requests - failed, "pass"), (failed, "failed")),
        ),
    ]


def _gate(name: str, entered: int, stopped: int, tone: str, words: str) -> Stage:
    # What Timeout cuts off has gone on to the provider: it is coloured, but not taken off.
    return Stage(
        name, entered, 0 if tone == "failed" else stopped, 0, words, ((entered - stopped, "pass"), (stopped, tone))
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _share(part: int, whole: int) -> str:
    return f" ({100 * part // whole} %)" if whole else ""
