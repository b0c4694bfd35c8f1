"""The sums of the demo: what the layers counted beside what the callers got and what the provider saw and billed.

    summary = Summary.of(traffic, stack, meter, provider)
    summary.adds_up, summary.checks, summary.as_dict()

Each check is two numbers that come from two places. The money that the provider counted must agree to the token; the
money of tries that it did not count (cut off, left early, failed) is an estimate, and is shown beside the bill.

The one surprise: every exact count is looked for on the bill, one by one: two errors that cancel out are two errors.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from attrs import frozen

from llamina.call import Attempt
from llamina.layers.cost import CostMeter
from llamina.policy.totals import Totals
from llamina.stack import Stack

from .bill import Bill
from .figures import Stage, percentile, stages
from .traffic import ENDS, Finished, Traffic

__all__ = ["Check", "Money", "Summary"]


@frozen
class Check:
    """Two numbers that must be equal."""

    name: str
    left: int | Decimal
    right: int | Decimal

    @property
    def holds(self) -> bool:
        """Whether they are."""
        return self.left == self.right


@frozen
class Money:
    """What some attempts cost by the meter and by the bill, in USD."""

    attempts: int
    meter: Decimal
    bill: Decimal


@frozen
class Summary:
    """How the demo went; `checks` must all hold."""

    calls: int
    seed: int
    seconds: float
    ends: dict[str, int]
    sources: dict[str, int]
    reasons: dict[str, int]
    stages: list[Stage]
    latency: dict[str, float]
    counted: Money
    estimated: Money
    refused: int
    uncounted: dict[str, int]
    by_project: dict[str, Totals]
    circuit: dict[str, int]
    aborted: int
    checks: list[Check]
    stats: dict[str, Any]

    @property
    def adds_up(self) -> bool:
        """Whether all checks hold."""
        return all([check.holds for check in self.checks])

    @classmethod
    def of(cls, traffic: Traffic, stack: Stack, meter: CostMeter, provider: Any, *, seconds: float) -> Summary:
        """Add up what happened, after everything has ended."""
        stats = stack.stats()
        finished = traffic.finished
        attempts = traffic.attempts
        exact = [attempt for attempt in attempts if attempt.usage_source == "exact"]
        rest = [attempt for attempt in attempts if attempt.usage_source != "exact"]
        bill = Bill.of(provider)
        found = bill.find(exact)
        counted = Money(found, _cost(exact), bill.cost_of(exact))
        estimated = Money(len(rest), _cost(rest), bill.total - counted.bill)
        answered = [each for each in finished if each.end == "answered"]
        return cls(
            calls=len(traffic.scenario.calls),
            seed=traffic.scenario.seed,
            seconds=seconds,
            ends={end: traffic.count(end) for end in ENDS},
            sources=dict(Counter([each.source for each in answered])),
            reasons=dict(Counter([each.error.outcome for each in finished if each.error is not None])),
            stages=stages(stats, requests=len(provider.requests), attempts=attempts),
            latency=_latency(answered),
            counted=counted,
            estimated=estimated,
            refused=bill.free(exact),
            uncounted=dict(Counter([attempt.outcome for attempt in rest])),
            by_project=meter.by("project"),
            circuit={name: stats[f"circuit.{name}"] for name in ("opened", "half_opened")},
            aborted=provider.aborted,
            checks=_checks(traffic, stats, meter, provider, counted, estimated, len(exact) - bill.free(exact)),
            stats=stats,
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data; money is text, so that no digit is lost."""
        return {
            "ok": self.adds_up,
            "calls": {
                "planned": self.calls,
                **self.ends,
                "answered_by": self.sources,
                "refused_or_failed_by": self.reasons,
            },
            "stages": [
                {"name": stage.name, "entered": stage.entered, "stopped": stage.stopped, "added": stage.added}
                for stage in self.stages
            ],
            "money": {
                "counted": _plain(self.counted),
                "refused_before_any_work": {"attempts": self.refused},
                "estimated": {**_plain(self.estimated), "by_outcome": self.uncounted},
                "by_project": {name: _number(row.cost) for name, row in sorted(self.by_project.items())},
            },
            "latency": self.latency,
            "circuit": self.circuit,
            "streams_left_at_the_provider": self.aborted,
            "checks": [
                {"name": check.name, "left": _number(check.left), "right": _number(check.right), "ok": check.holds}
                for check in self.checks
            ],
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
        }


def _cost(attempts: list[Attempt]) -> Decimal:
    return sum([attempt.cost or Decimal(0) for attempt in attempts], Decimal(0))


def _latency(answered: list[Finished]) -> dict[str, float]:
    """Seconds; those of the provider's answers apart from those of the cache."""
    asked = [each.latency for each in answered if each.source == "provider"]
    firsts = [each.first for each in answered if each.first is not None and each.source == "provider"]
    hits = [each.latency for each in answered if each.source == "cache"]
    figures = {
        "p50": percentile(asked, 0.5),
        "p95": percentile(asked, 0.95),
        "first_event_p50": percentile(firsts, 0.5),
        "cache_p50": percentile(hits, 0.5),
    }
    return {name: round(value, 6) for name, value in figures.items()}


def _checks(
    traffic: Traffic,
    stats: dict[str, Any],
    meter: CostMeter,
    provider: Any,
    counted: Money,
    estimated: Money,
    exact: int,
) -> list[Check]:
    totals = meter.totals()
    overdrawn = [balance for balance in meter.balances() if balance.spent + balance.held > balance.limit]
    get: Any = Counter(stats).__getitem__
    attempts = traffic.attempts
    let_through = get("circuit.requests.total") - get("circuit.requests.rejected")
    busy = [get(name) for name in ("dedup.in_flight", "cost.in_flight", "circuit.probes", "timeout.left_behind")]
    return [
        Check("calls planned = answered + left early + refused + failed", len(traffic.scenario.calls), _ended(traffic)),
        Check("calls = Logger's records", traffic.started, get("logger.records")),
        Check("calls = Cache's hits + misses", traffic.started, get("cache.hits") + get("cache.misses")),
        Check("calls that a cache answered = Cache's hits", _hits(traffic), get("cache.hits")),
        Check(
            "Cache's misses = Dedup's flights + joined", get("cache.misses"), get("dedup.flights") + get("dedup.joined")
        ),
        Check("Dedup's flights = calls that Retry saw", get("dedup.flights"), get("retry.calls")),
        Check(
            "Retry's tries = refused by a budget + asked of CircuitBreaker",
            get("retry.attempts"),
            get("cost.refused") + get("circuit.requests.total"),
        ),
        Check("let through by CircuitBreaker = watched by Timeout", let_through, get("timeout.calls")),
        Check("watched by Timeout = attempts in the ledgers", get("timeout.calls"), len(attempts)),
        Check("attempts in the ledgers = requests the provider saw", len(attempts), len(provider.requests)),
        Check("attempts in the ledgers = attempts CostMeter charged", len(attempts), totals.attempts),
        Check("USD in the ledgers = CostMeter's total", _cost(attempts), totals.cost),
        Check("exact counts = entries on the provider's bill", exact, counted.attempts),
        Check("USD of exact counts = the provider's bill for them", counted.meter, counted.bill),
        Check("USD exact + estimated = CostMeter's total", counted.meter + estimated.meter, totals.cost),
        Check("users beyond their budget", len(overdrawn), 0),
        Check("nothing left: flights, holds, probes, requests", sum(busy) + provider.in_flight, 0),
    ]


def _ended(traffic: Traffic) -> int:
    return sum([traffic.count(end) for end in ENDS])


def _hits(traffic: Traffic) -> int:
    return sum([finished.call.hits for finished in traffic.finished])


def _plain(money: Money) -> dict[str, Any]:
    return {"attempts": money.attempts, "meter_usd": _number(money.meter), "bill_usd": _number(money.bill)}


def _number(value: int | Decimal) -> int | str:
    """An amount of money as text, without zeros at its end, so that equal amounts are equal texts."""
    return value if isinstance(value, int) else f"{value.normalize():f}"
