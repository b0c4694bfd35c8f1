"""What every backoff must do, as a check that runs over yours.

    def test_my_backoff_keeps_the_contract():
        check_backoff(lambda: Patient(base=0.5, cap=30))

A backoff is any object with `delay(attempt, error, previous)`. Each clause gets new ones and asks them as `Retry` does.

The one surprise: an object serves many calls at once. A backoff that counts tries by itself, in place of looking at
*attempt*, waits too long for all of them; that is found by asking in another order.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llamina.errors import NetworkError, RateLimitError, ServerError
from llamina.policy.backoff import Backoff

from ._bench import Clause, Clauses, Seen, expect
from ._report import Report, judge
from .conformance import build_once

__all__ = ["check_backoff", "examine_backoff"]

BACKOFF = Clauses()
_clause = BACKOFF.clause

_ERRORS = (ServerError("down"), RateLimitError("slow down", retry_after=7), NetworkError("reset"), LookupError("a bug"))
_A_DAY = 86_400.0
_MANY = 100_000


def check_backoff(factory: Callable[[], Backoff], *, only: Iterable[str] | None = None) -> list[str]:
    """Run every clause over backoffs that *factory* builds; the names of the clauses that held.

    Args:
        factory: builds a fresh backoff. Where it has an attribute `rng`, a `random.Random`, that is seeded.
        only: names of clauses, to play these alone.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
        ConfigurationError: *factory* cannot be called, or *only* names a clause that there is not.
    """
    return examine_backoff(factory, only=only).names()


def examine_backoff(factory: Callable[[], Backoff], *, only: Iterable[str] | None = None) -> Report:
    """As `check_backoff`, with a verdict on each clause in place of an error."""
    subject = build_once("check_backoff", factory)

    def play(clause: Clause) -> None:
        state = random.getstate()
        try:
            clause.check(factory)
        finally:
            random.setstate(state)

    of = "the contract of backoffs"
    return judge(type(subject).__name__, BACKOFF.entries, play, only=only, of=of, first_is_basic=True)


def _seeded(factory: Callable[[], Backoff], seed: int = 7) -> Any:
    """A fresh backoff, whatever it draws from seeded."""
    policy: Any = factory()
    random.seed(seed)
    own = getattr(policy, "rng", None)
    if isinstance(own, random.Random):
        own.seed(seed)
    return policy


def _delays(policy: Any, attempts: Sequence[int]) -> list[float]:
    """What a call waits that asks so: each wait is told to the next question."""
    found: list[float] = []
    previous: float | None = None
    for attempt in attempts:
        previous = policy.delay(attempt, _ERRORS[0], previous)
        found.append(previous)
    return found


def _check_length(value: Any, asked: str) -> None:
    _check_number(value, asked)
    expect(math.isfinite(value), f"{asked} gave {value!r}")
    expect(value >= 0, f"{asked} gave {value!r}: a wait is never negative")


def _check_number(value: Any, asked: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    hint = "; is it a coroutine? `delay` only computes, Retry waits" if inspect.isawaitable(value) else ""
    if inspect.iscoroutine(value):
        value.close()
    expect(number, f"{asked} gave {value!r}, not a number of seconds{hint}")


@_clause(
    "answers", "it can be asked as Retry does, `delay(attempt, error, previous)`, and with *attempt* alone", "13.1"
)
def _answers(factory: Callable[[], Any]) -> None:
    policy = factory()
    expect(callable(getattr(policy, "delay", None)), f"a {type(policy).__name__} has no method `delay`")
    for arguments in ((1,), (1, _ERRORS[0], None), (2, _ERRORS[0], 0.5)):
        asked = f"delay({', '.join([repr(each) for each in arguments])})"
        try:
            value = policy.delay(*arguments)
        except TypeError as error:
            raise Seen(f"{asked} raised {error}") from error
        _check_number(value, asked)


@_clause("delays-are-seconds", "each delay is a finite number of seconds of at least 0, after any error", "13.2")
def _delays_are_seconds(factory: Callable[[], Any]) -> None:
    for error in (None, *_ERRORS):
        policy = _seeded(factory)
        previous: float | None = None
        for attempt in range(1, 60):
            previous = policy.delay(attempt, error, previous)
            _check_length(previous, f"delay({attempt}, {error!r})")
        for before in (0.0, 1e-9, 1e9):
            _check_length(policy.delay(2, error, before), f"delay(2, {error!r}, {before!r})")


@_clause("many-tries", "after any number of tries there is an answer, and at once", "13.2")
def _many_tries(factory: Callable[[], Any]) -> None:
    policy = _seeded(factory)
    for attempt in (1_000, 10_000, _MANY):
        try:
            value = policy.delay(attempt, _ERRORS[0], 1.0)
        except ArithmeticError as error:
            raise Seen(f"delay({attempt}) raised {error!r}; bound the power before it is computed") from error
        _check_length(value, f"delay({attempt})")


@_clause("capped", "no delay is above its `cap`; without one, none is longer than a day", "13.3")
def _capped(factory: Callable[[], Any]) -> None:
    own = getattr(factory(), "cap", None)
    cap = float(own) if isinstance(own, int | float) else _A_DAY
    for seed in range(20):
        policy = _seeded(factory, seed)
        for attempt in (*range(1, 40), 1_000, _MANY):
            found = policy.delay(attempt, _ERRORS[0], cap)
            expect(
                found <= cap, f"delay({attempt}) gave {found:g} s, the cap is {cap:g} s; cap it after the jitter too"
            )


@_clause("reproducible", "with its source of chance seeded, it gives the same delays again", "13.4")
def _reproducible(factory: Callable[[], Any]) -> None:
    tries = range(1, 12)
    one, other = _delays(_seeded(factory), tries), _delays(_seeded(factory), tries)
    hint = "draw from an attribute `rng`, a `random.Random` that can be given"
    expect(one == other, f"seeded alike, two gave {one[:3]} and {other[:3]}; {hint}")


@_clause("counts-nothing", "a delay follows from what is asked, not from how often it was asked", "13.5")
def _counts_nothing(factory: Callable[[], Any]) -> None:
    policy = _seeded(factory)
    for attempt in (9, 1, 30, 4):
        policy.delay(attempt, _ERRORS[0], None)
    random.seed(7)
    own = getattr(policy, "rng", None)
    if isinstance(own, random.Random):
        own.seed(7)
    tries = range(1, 8)
    used, fresh = _delays(policy, tries), _delays(_seeded(factory), tries)
    expect(used == fresh, f"after other calls had asked, the delays of a call were {used[:3]}, not {fresh[:3]}")


@_clause("shares-nothing", "two that were built apart do not change each other", "13.5")
def _shares_nothing(factory: Callable[[], Any]) -> None:
    tries = range(1, 8)
    before = _delays(_seeded(factory), tries)
    busy = _seeded(factory)
    _delays(busy, range(1, 40))
    _teach(busy, failures=200)
    after = _delays(_seeded(factory), tries)
    expect(before == after, f"after another had been used, a fresh one gave {after[:3]}, not {before[:3]}")


@_clause("learns-within-bounds", "what it learns keeps delays within the cap, and admission waits finite", "13.6")
def _learns_within_bounds(factory: Callable[[], Any]) -> None:
    policy = _seeded(factory)
    own = getattr(policy, "cap", None)
    cap = float(own) if isinstance(own, int | float) else _A_DAY
    now = _teach(policy, failures=500)
    found = policy.delay(3, _ERRORS[0], None)
    _check_length(found, "after 500 failures, delay(3)")
    expect(found <= cap, f"after 500 failures, delay(3) gave {found:g} s, the cap is {cap:g} s")
    if callable(getattr(policy, "admission_delay", None)):
        _check_length(policy.admission_delay(now), "after 500 failures, admission_delay(now)")


def _teach(policy: Any, *, failures: int) -> float:
    """Tell a policy that learns of failures, a second apart; the moment after the last."""
    now = 1000.0
    for name in range(failures):
        now += 1.0
        if callable(getattr(policy, "observe_error", None)):
            policy.observe_error(_ERRORS[name % len(_ERRORS)], now)
    if callable(getattr(policy, "observe_success", None)):
        policy.observe_success(now + 1.0)
    return now + 2.0
