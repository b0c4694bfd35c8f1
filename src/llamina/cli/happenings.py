"""What happens in the demo, in words: the last events, and the last lines of the log.

    happenings = Happenings()
    happenings.note("circuit opens", "bad")
    happenings.last(5)

Only what is worth a glance becomes an event; what is the same as the line before is counted on it.

The one surprise: the Logger's own records go to a ring in memory, `log.lines`, and to no console: the display owns that.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from llamina.errors import BudgetExceededError, CircuitOpenError

if TYPE_CHECKING:
    from llamina.call import Call
    from llamina.policy.accounts import BudgetBalance

    from .traffic import Finished

__all__ = ["Event", "Happenings", "Ring"]


@define(eq=False)
class Event:
    """One line: seconds after the start, what happened, and its tone: "good", "bad", "wait" or "plain".

    Events of one *kind* that follow each other are one line, the last of them, with their number.
    """

    at: float
    text: str
    tone: str
    kind: str = ""
    times: int = 1


class Ring(logging.Handler):
    """Keeps the last records, as the lines that a file would show, without the ids of the calls."""

    def __init__(self, size: int = 50) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*."""
        text = record.getMessage()
        self.lines.append(f"{record.levelname} {text[text.find('model=') :] if text.startswith('id=') else text}")


@define(eq=False)
class Happenings:
    """The events of a demo, newest last.

    Attributes:
        listener: is told each event that begins a line of its own.
        circuit: the states of the circuit, as (seconds after the start, state).
        log: the last lines of the log.
    """

    clock: Callable[[], float] = field(default=lambda: 0.0)
    listener: Callable[[Event], None] | None = None
    circuit: list[tuple[float, str]] = field(init=False, factory=lambda: [(0.0, "closed")])
    log: Ring = field(init=False, factory=Ring)
    _events: deque[Event] = field(init=False, factory=lambda: deque(maxlen=200))

    def last(self, number: int) -> list[Event]:
        """The last events, oldest first."""
        return list(self._events)[-number:] if number > 0 else []

    def note(self, text: str, tone: str = "plain", kind: str = "") -> None:
        """Something happened."""
        if kind and self._events and self._events[-1].kind == kind:
            event = self._events[-1]
            event.at, event.text, event.times = self.clock(), text, event.times + 1
        else:
            event = Event(self.clock(), text, tone, kind)
            self._events.append(event)
            if self.listener is not None:
                self.listener(event)

    def circuit_changes(self, _name: str, _old: str, new: str) -> None:
        """A listener for the circuit breaker."""
        self.circuit.append((self.clock(), new))
        text, tone = _CIRCUIT[new]
        self.note(text, tone)

    def budget_warns(self, balance: BudgetBalance) -> None:
        """A listener for the cost meter."""
        share = int(100 * balance.spent / balance.limit)
        self.note(f"{balance.account} has spent {share} % of the budget", "wait")

    def ended(self, finished: Finished) -> None:
        """A call has ended: say so if it was out of the ordinary."""
        told = _tell(finished)
        if told is not None:
            self.note(*told)


_CIRCUIT = {
    "open": ("the circuit opens: calls are refused without asking the provider", "bad"),
    "half-open": ("the circuit is half open: probes ask whether the provider is back", "wait"),
    "closed": ("the circuit closes: the provider is back", "good"),
}
_CAUSES = {
    "server_error": "server error",
    "rate_limited": "429",
    "network_error": "cut off",
    "malformed": "garbage",
    "timeout": "timed out",
    "cancelled": "left",
}


def _tell(finished: Finished) -> tuple[str, str, str] | None:
    """Text, tone and kind of what is worth a glance."""
    user, call = finished.planned.user, finished.call
    if finished.end == "left early":
        return f"{user} left a stream after {finished.planned.leaves_after} pieces: {_charged(call)}", "wait", "left"
    if finished.error is not None:
        return _tell_failure(finished)
    if len(call.attempts) > 1:
        return f"{user}: {_tries(call)}, answered", "good", ""
    if call.joined:
        return "joined another's call for the same question", "plain", "joined"
    return None


def _tell_failure(finished: Finished) -> tuple[str, str, str]:
    user, error = finished.planned.user, finished.error
    if isinstance(error, CircuitOpenError):
        return "refused at once: the circuit is open", "bad", "circuit"
    if isinstance(error, BudgetExceededError):
        why = "calls in flight hold what is left of" if error.busy else "it would go beyond"
        return f"{user} refused: {why} the budget", "bad", "budget"
    if finished.first is not None:
        return f"{user}'s stream broke off: not repeated, nothing is said twice", "bad", "broken"
    return f"{user}'s call failed: {_tries(finished.call)}", "bad", ""


def _charged(call: Call) -> str:
    return "charged for what came" if call.attempts else "it cost nothing"


def _tries(call: Call) -> str:
    """The failed tries and the waits between them."""
    steps = []
    for attempt in call.attempts:
        if attempt.outcome == "ok":
            continue
        cause = _CAUSES.get(attempt.outcome, attempt.outcome)
        if attempt.outcome == "server_error" and attempt.status:
            cause = str(attempt.status)
        wait = f", waited {attempt.backoff:.2f} s" if attempt.backoff is not None else ""
        steps.append(f"{cause}{wait}")
    return ", ".join(steps) or "no try"
