"""The rules of order, as a table: which layer inside of which other does harm, and what harm.

    RULES["cache-inside-retry"].says     # "a hit is looked for again at each try, ..."

A rule is about two layers of a stack, known by the words of their `effects`. Most say that the inner one of the two
belongs outside: they are a line of a table. The others look at more than two words, and are written out below.

The one surprise: "wrong" is only what is a mistake for everybody who wrote it; what some may want is a "note".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["RULES", "Part", "Rule"]


class Part(NamedTuple):
    """One layer of a stack: its name with its place, and the words that it has declared; None: it declares nothing."""

    name: str
    layer: Any
    effects: frozenset[str] | None

    def has(self, *words: str) -> bool:
        """Whether it declares one of *words*."""
        return self.effects is not None and not self.effects.isdisjoint(words)


class Rule(NamedTuple):
    """One order that does harm.

    Attributes:
        name: stable, in kebab-case.
        severity: "wrong" for everybody, or a "note" of what somebody may want.
        outer, inner: the words; a layer that declares one of *outer* stands outside of one that declares one of *inner*.
        says: what goes wrong.
        mend: what to do about it.
        when: `parts, place of the outer, place of the inner -> bool`: what else must be so.
    """

    name: str
    severity: Literal["wrong", "note"]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    says: str
    mend: str = "put {inner} outside of {outer}"
    when: Callable[[Sequence[Part], int, int], bool] | None = None


_WORDS = {
    "breaker": "judges",
    "budget": "budgets",
    "cache": "stores",
    "concurrency-limit": "limits-concurrency",
    "dedup": "shares",
    "fallback": "falls-back",
    "faults": "injects-faults",
    "guard": "refuses",
    "hedge": "branches",
    "logger": "observes",
    "meter": "meters",
    "rate-limit": "limits-rate",
    "reask": "re-asks",
    "recorder": "records",
    "retry": "replays",
    "rewrite": "rewrites-request",
    "stamp": "stamps",
    "tags": "sets-tags",
    "timeout": "bounds-time",
}

# The outer layer, then each layer that does harm inside of it.
_WRONG = {
    "retry": {
        "cache": "a hit is looked for again at each try, and refills the retry budget as if the provider had answered",
        "dedup": "when a flight fails, everyone who joined it tries again for himself, at a moment of his own",
        "reask": "when a round fails, the rounds before it are asked and paid once more",
    },
    "budget": {
        "cache": "a hit, which costs nothing, is refused when the money is spent",
        "dedup": "everyone who joins a flight holds the money for a call of his own, or is refused for want of it",
        "fallback": "money is held for the model that was asked, and spent on the substitute as well: beyond the limit",
        "hedge": "money is held for one try and spent on several at once: beyond the limit",
        "reask": "money is held for one round and spent on several: beyond the limit",
        "retry": "money is held for one try and spent on several: beyond the limit",
    },
    "meter": {
        "tags": "costs are entered before it is said whose they are: nobody's total has them",
    },
    "breaker": {
        "cache": "while the circuit is open hits are refused too, and a hit counts as a success of a service not asked",
        "dedup": "one failure counts once for everyone who joined the flight, and may open the circuit by itself",
    },
    "rate-limit": {
        "cache": "a hit takes a turn, and waits for it, though nothing is sent",
        "dedup": "everyone who joins a flight takes a turn, though one request is sent",
        "hedge": "several branches go out for one turn: more is sent than the limit allows",
        "retry": "only the first try takes a turn: more is sent than the limit allows",
    },
    "hedge": {
        "dedup": "the second branch joins the flight of the first, so there is no second chance",
        "retry": "the wait between two tries looks like slowness, and a provider that fails gets the tries of each branch",
    },
    "reask": {
        "cache": "answers that did not pass the check are stored, and given again as if they had",
    },
    "cache": {
        "tags": "answers are looked up before it is said whose they are: one tenant gets what was said to another",
    },
    "dedup": {
        "tags": "flights are joined before it is said whose they are: one tenant gets what is said to another",
    },
    "stamp": {
        "cache": "no request is like another any more, so nothing is ever found",
        "dedup": "no request is like another any more, so nobody ever joins",
        "recorder": "no request is like another any more, so none is found to be played back",
    },
}
_NOTES = {
    "retry": {
        "fallback": "the substitute answers before the first choice was tried a second time",
        "logger": "each try looks like a call of its own",
    },
    "breaker": {
        "fallback": "the substitute hides that the first choice fails: its circuit never opens, each call asks it in vain",
        "retry": "the circuit gets one verdict for all tries of a call, and opens later by as many",
    },
    "budget": {
        "rewrite": "money is held for what was asked, not for what is sent",
    },
    "rate-limit": {
        "breaker": "calls that the open circuit refuses take turns that others wait for",
    },
    "concurrency-limit": {
        "cache": "a hit waits until a slow call has ended",
        "dedup": "who waits for a slot cannot join the flight of who has it, and asks again later",
        "retry": "a call that waits for its next try keeps its slot from others",
    },
    "cache": {
        "guard": "a hit goes past the guard, also when it has become stricter since",
        "logger": "hits are not logged",
        "rewrite": "requests that would be sent in different words share one answer",
    },
    "dedup": {
        "cache": "who asks for a new answer (`no_cache`) joins the flight of one who takes a stored one",
        "logger": "who joins a flight is not logged",
        "rewrite": "requests that would be sent in different words share one flight",
    },
    "faults": {
        "breaker": "the circuit does not see the faults, so they do not test it",
        "retry": "the faults are not tried again, so they do not test the retries",
        "timeout": "the delays are not cut, so they do not test the limit",
    },
    "recorder": {
        "faults": "the faults are written down as if the provider had made them",
        "retry": "a call of several tries is recorded as one, so what is played back needs no second",
    },
}


def _seconds(part: Part) -> float:
    """Its limit; not a number where it has none that can be read: then nothing compares."""
    seconds = getattr(part.layer, "seconds", None)
    return float(seconds) if isinstance(seconds, int | float) else float("nan")


def _is_shorter_outside(parts: Sequence[Part], outer: int, inner: int) -> bool:
    between = parts[outer + 1 : inner]
    # A flight takes no limit from above, so a longer one below is right.
    again = any([part.has("replays") for part in between]) and not any([part.has("shares") for part in between])
    return again and _seconds(parts[outer]) <= _seconds(parts[inner])


# What may use up more time than the inner of two limits: the outer one has its own use then.
_TAKES_LONGER = ("replays", "re-asks", "falls-back", "branches", "shares", "limits-rate", "limits-concurrency")


def _is_longer_for_one_try(parts: Sequence[Part], outer: int, inner: int) -> bool:
    # Of a layer that declares nothing it is not known whether it tries again.
    idle = all([part.effects is not None and not part.has(*_TAKES_LONGER) for part in parts[outer + 1 : inner]])
    tried_again = any([part.has("replays") for part in parts[:outer]])
    return idle and tried_again and _seconds(parts[outer]) > _seconds(parts[inner])


def _has_no_limit_below(parts: Sequence[Part], _outer: int, inner: int) -> bool:
    return not any([part.has("bounds-time", "watches-stream") for part in parts[inner + 1 :]])


def _is_flight_without_limit(parts: Sequence[Part], outer: int, _inner: int) -> bool:
    limited = [place for place, part in enumerate(parts) if part.has("bounds-time")]
    return bool(limited) and max(limited) < outer


def _is_limit_of_one_try(parts: Sequence[Part], outer: int, _inner: int) -> bool:
    tried_again = any([part.has("replays") for part in parts[:outer]])
    # With a limit of its own further in, the try is not what the outer one is for.
    return tried_again and not any([part.has("bounds-time", "replays") for part in parts[outer + 1 :]])


def _judges_slowness(parts: Sequence[Part], outer: int, _inner: int) -> bool:
    return getattr(parts[outer].layer, "slow_call", None) is not None


def _is_one_object(parts: Sequence[Part], outer: int, inner: int) -> bool:
    return parts[outer].layer is parts[inner].layer


_WITH_STATE = (
    "judges",
    "limits-concurrency",
    "limits-rate",
    "meters",
    "observes",
    "records",
    "replays",
    "shares",
    "stores",
)

_SPECIAL = [
    Rule(
        "retry-inside-retry",
        "wrong",
        ("replays",),
        ("replays",),
        "tries multiply: three in each are nine requests for one call",
        "keep one owner of tries, and leave the other out",
    ),
    Rule(
        "retry-inside-unlimited-flight",
        "wrong",
        ("shares",),
        ("replays",),
        "a flight takes no limit from above, so the tries in it know of none: they wait longer than any caller does",
        "put a Timeout between {outer} and {inner}",
        _is_flight_without_limit,
    ),
    Rule(
        "retry-inside-stream-timeout",
        "note",
        ("watches-stream",),
        ("replays",),
        "a late first event ends the call, and not the try: there is no second one",
        "put {outer} inside of {inner}",
    ),
    Rule(
        "retry-without-attempt-timeout",
        "note",
        ("bounds-time",),
        ("replays",),
        "one slow try uses up all the time, and nothing is left for a second",
        "put a shorter Timeout inside of {inner}",
        _has_no_limit_below,
    ),
    Rule(
        "timeout-inside-shorter-timeout",
        "wrong",
        ("bounds-time",),
        ("bounds-time",),
        "the inner limit is never reached, so one slow try uses up all the time and there is no second",
        "make the inner limit the shorter one",
        _is_shorter_outside,
    ),
    Rule(
        "total-timeout-inside-retry",
        "wrong",
        ("bounds-time",),
        ("bounds-time",),
        "both limit one try, so the longer is never reached, and all tries together have no limit",
        "put the longer one outside of what tries again",
        _is_longer_for_one_try,
    ),
    Rule(
        "queue-inside-attempt-timeout",
        "wrong",
        ("bounds-time",),
        ("limits-rate", "limits-concurrency"),
        "time in the queue counts as the provider's: a call that only waited is cut, and loses its place",
        when=_is_limit_of_one_try,
    ),
    Rule(
        "queue-inside-slow-breaker",
        "wrong",
        ("judges",),
        ("limits-rate", "limits-concurrency"),
        "time in the queue counts as slowness of the service, and opens the circuit of one that is well",
        when=_judges_slowness,
    ),
    Rule(
        "same-layer-twice",
        "wrong",
        _WITH_STATE,
        _WITH_STATE,
        "it is one object at two places: whatever it counts, it counts twice for each call",
        "keep one of them, or make a second object",
        _is_one_object,
    ),
]


def _pairs(severity: Literal["wrong", "note"], table: dict[str, dict[str, str]]) -> list[Rule]:
    return [
        Rule(f"{inner}-inside-{outer}", severity, (_WORDS[outer],), (_WORDS[inner],), says)
        for outer, inners in table.items()
        for inner, says in inners.items()
    ]


_ALL = [*_pairs("wrong", _WRONG), *_SPECIAL, *_pairs("note", _NOTES)]

RULES: dict[str, Rule] = {rule.name: rule for rule in sorted(_ALL, key=lambda rule: rule.severity == "note")}
"""Every rule by its name; those of what is wrong come first."""
