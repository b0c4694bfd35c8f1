"""Sends the planned calls of a scenario through a stack, and keeps what became of each.

    traffic = Traffic(scenario, stack, tell=print)
    await traffic.run()
    traffic.count("answered"), traffic.attempts

Four ends are told apart: answered, left early (the reader of a stream went away), refused (by a layer, before the
provider was asked: budget, circuit) and failed.

The one surprise: a call that nobody planned for, an error that is no `LLMError`, is not an end: it stops the demo.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from attrs import define, field, frozen

from llamina.call import Attempt, Call
from llamina.errors import BudgetExceededError, CircuitOpenError, LLMError
from llamina.protocol import Request
from llamina.stack import Stack

from .scenario import PlannedCall, Scenario

__all__ = ["ENDS", "Finished", "Traffic"]

ENDS = ("answered", "left early", "refused", "failed")
_REFUSALS = (BudgetExceededError, CircuitOpenError)


@frozen(eq=False)
class Finished:
    """A call that has ended.

    Attributes:
        end: one of `ENDS`; error: why it was refused or failed.
        at: seconds after the start; latency and first: seconds to the end and to the first piece.
    """

    planned: PlannedCall
    end: str
    at: float
    latency: float
    first: float | None
    call: Call
    error: LLMError | None = None

    @property
    def source(self) -> str:
        """Who gave the answer: "cache", "joined" (another's flight) or "provider"."""
        return "cache" if self.call.cached else "joined" if self.call.joined else "provider"


@define(eq=False)
class Traffic:
    """The callers of the demo.

    Attributes:
        finished: every call that has ended, in that order; started: calls that were sent.
        speaking: what a stream that is being read says at the moment, as (user, text).
    """

    scenario: Scenario
    stack: Stack
    tell: Callable[[Finished], None]
    finished: list[Finished] = field(init=False, factory=list)
    started: int = field(init=False, default=0)
    speaking: tuple[str, str] = field(init=False, default=("", ""))
    _ends: Counter[str] = field(init=False, factory=Counter)
    _began: float = field(init=False, default=0.0)
    _speaker: PlannedCall | None = field(init=False, default=None)

    @property
    def now(self) -> float:
        """Seconds since the start; 0 before it."""
        return asyncio.get_running_loop().time() - self._began if self._began else 0.0

    @property
    def in_flight(self) -> int:
        """Calls that were sent and have not ended."""
        return self.started - len(self.finished)

    def count(self, end: str) -> int:
        """Calls that ended so."""
        return self._ends[end]

    @property
    def attempts(self) -> list[Attempt]:
        """The ledgers of all calls that have ended, as one list."""
        return [attempt for finished in self.finished for attempt in finished.call.attempts]

    async def run(self) -> None:
        """Send every call at its moment, and wait until all have ended."""
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        async with asyncio.TaskGroup() as group:
            for planned in self.scenario.calls:
                await asyncio.sleep(max(0.0, planned.at - self.now))
                self.started += 1
                group.create_task(self._send(planned))

    async def _send(self, planned: PlannedCall) -> None:
        question = planned.question
        request = Request.chat(
            question.model,
            question.prompt,
            tags={"user": planned.user, "project": planned.project},
            max_tokens=question.max_tokens,
        )
        sent = self.now
        end, first, error = "answered", None, None
        try:
            if planned.streams:
                async with self.stack.stream(request) as stream:
                    call, pieces = stream.call, 0
                    async for event in stream:
                        if first is None:
                            first = self.now - sent
                        pieces += 1
                        self._overhear(planned, event.text, first=pieces == 1)
                        if pieces == planned.leaves_after:
                            end = "left early"
                            break
            else:
                call = (await self.stack(request)).call
        except LLMError as failure:
            call, error = _call_of(failure), failure
            end = "refused" if isinstance(failure, _REFUSALS) else "failed"
        finished = Finished(planned, end, self.now, self.now - sent, first, call, error)
        if self._speaker is planned:
            self._speaker = None
        self.finished.append(finished)
        self._ends[end] += 1
        self.tell(finished)

    def _overhear(self, planned: PlannedCall, text: str, *, first: bool) -> None:
        """Follow one stream at a time, from its first piece to its end."""
        if self._speaker is None and first:
            self._speaker = planned
            self.speaking = (planned.user, "")
        if self._speaker is planned:
            user, said = self.speaking
            self.speaking = (user, said + text)


def _call_of(error: LLMError) -> Call:
    call = error.call
    assert isinstance(call, Call)  # a stack sets it on every error that leaves it
    return call
