"""The traffic of the demo as data: who asks what and when, and how the provider answers it.

    scenario = plan(calls=300, seed=7, seconds=9)
    scenario.calls[0].question.prompt, scenario.outage, scenario.budget

Made from one seeded generator: the same seed, the same traffic. Everything that happens to it afterwards (attempts,
waits, hits) is the layers' doing, on a real clock.

The one surprise: faults belong to the question. Its first tries meet them one by one, whoever asks; an outage is a span
of time in which every question meets a 503.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from decimal import Decimal

from attrs import field, frozen

from llamina.messages import Usage
from llamina.policy.estimate import estimate_input, estimate_tokens
from llamina.policy.prices import MappingPrices

__all__ = ["PRICES", "USERS", "Act", "PlannedCall", "Question", "Scenario", "plan"]

PRICES: Mapping[str, Mapping[str, str]] = {
    "sim-mini": {"input": "1.50", "output": "6"},
    "sim-large": {"input": "5", "output": "20"},
}
"""USD per million tokens; the budget, the meter and the bill use the same."""
USERS = ("ada", "grace", "linus", "mallory")
SPENDER = "mallory"
PROJECTS = ("search", "support", "reports")
USUAL_SECONDS = 9.0


@frozen
class Question:
    """A prompt, and the answer that the provider has for it.

    Attributes:
        words: the pieces in which it streams; latency: seconds before the first; pace: seconds between two.
        faults: what its first tries meet: "429", "500", "garbage", "hang up", "stall", "cut" (in mid-stream).
    """

    prompt: str
    words: tuple[str, ...]
    latency: float
    pace: float
    model: str = "sim-mini"
    faults: tuple[str, ...] = ()

    @property
    def max_tokens(self) -> int:
        """The limit that the request states: a little more than the answer has."""
        return estimate_tokens("".join(self.words)) + 16

    @property
    def cost(self) -> int:
        """What an answered try costs, in pico-dollars."""
        price = _BOOK.price(self.model, None)
        assert price is not None
        return price.cost(Usage(estimate_input([self.prompt]), estimate_tokens("".join(self.words))))


@frozen
class PlannedCall:
    """One call: *at* seconds after the start; a stream that is left early has read *leaves_after* pieces."""

    at: float
    user: str
    project: str
    question: Question
    streams: bool = False
    leaves_after: int | None = None


@frozen
class Act:
    """A part of the traffic, with the sentence that the display shows while it lasts."""

    name: str
    title: str
    since: float
    until: float


@frozen
class Scenario:
    """What will happen; times are seconds after the start.

    Attributes:
        budget: USD that each user may spend; enough for all but one.
        unit: how much longer than usual everything takes: latencies, waits and limits grow with the length.
    """

    seed: int
    seconds: float
    unit: float
    acts: tuple[Act, ...]
    outage: tuple[float, float]
    budget: Decimal
    calls: tuple[PlannedCall, ...] = field(repr=False)

    def act_at(self, moment: float) -> Act:
        """The act that is on."""
        return next((act for act in self.acts if moment < act.until), self.acts[-1])


# name, what is to be seen, share of the time, share of the calls
_ACTS = (
    ("questions", "new questions; some tries fail and are repeated", 0.20, 0.20),
    ("repeats", "the same again: joined at once, cached later", 0.15, 0.26),
    ("spender", "mallory's long answers use up her budget", 0.14, 0.14),
    ("outage", "the provider is down; the circuit opens", 0.16, 0.18),
    ("recovery", "probes; streams left early, stuck or cut", 0.35, 0.22),
)


def plan(*, calls: int = 300, seed: int = 7, seconds: float = USUAL_SECONDS) -> Scenario:
    """The traffic of *calls* calls over *seconds* seconds."""
    writer = _Writer(random.Random(seed), seconds / USUAL_SECONDS)
    acts: list[Act] = []
    planned: list[PlannedCall] = []
    since = 0.0
    for place, (name, title, time_share, call_share) in enumerate(_ACTS):
        until = since + time_share * seconds
        acts.append(Act(name, title, since, until))
        number = calls - len(planned) if place == len(_ACTS) - 1 else round(calls * call_share)
        planned += writer.act(name, number, since, until)
        since = until
    outage = next(act for act in acts if act.name == "outage")
    unit = seconds / USUAL_SECONDS
    return Scenario(
        seed=seed,
        seconds=seconds,
        unit=unit,
        acts=tuple(acts),
        outage=(outage.since, outage.until),
        budget=_budget(planned),
        calls=tuple(sorted(planned, key=lambda call: call.at)),
    )


def _budget(planned: list[PlannedCall]) -> Decimal:
    """Half of what the spender would spend, in whole hundredths of a cent."""
    wanted = sum([call.question.cost for call in planned if call.user == SPENDER])
    return Decimal(wanted // 2 // 10**8) / 10**4


class _Writer:
    """Makes the calls of each act."""

    def __init__(self, rng: random.Random, unit: float) -> None:
        self._rng = rng
        self._unit = unit
        self._asked: list[Question] = []
        self._number = 0

    def act(self, name: str, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        make = {
            "questions": self._questions,
            "repeats": self._repeats,
            "spender": self._spender,
            "outage": self._outage,
            "recovery": self._recovery,
        }[name]
        yield from make(number, since, until)

    def _questions(self, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        every = max(5, number // 12)  # a dozen at most: many failures in a row would open the circuit too early
        for place, at in enumerate(self._moments(number, since, until)):
            faults = _FAULTS[place // every % len(_FAULTS)] if place % every == 3 else ()
            yield self._call(at, self._new(faults=faults), streams=self._chance(0.5))

    def _repeats(self, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        bursts = 3
        crowd = max(2, number // (2 * bursts))
        length = (until - since) / bursts
        for burst in range(bursts):
            question = self._new(sentences=3)
            for place in range(crowd):
                # Half of a crowd streams: those join a flight of their own kind or of the other alike.
                yield self._call(since + burst * length + 0.002 * place, question, streams=place % 2 == 0)
        for at in self._moments(number - bursts * crowd, since, until):
            yield self._call(at, self._rng.choice(self._asked), streams=self._chance(0.3))

    def _spender(self, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        for place, at in enumerate(self._moments(number, since, until)):
            if place % 4 < 3:
                yield self._call(at, self._new(sentences=4, model="sim-large", pace=0.002), user=SPENDER)
            else:
                yield self._call(at, self._new())

    def _outage(self, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        for place, at in enumerate(self._moments(number, since, until)):
            question = self._rng.choice(self._asked) if place % 4 == 1 else self._new()
            yield self._call(at, question, streams=self._chance(0.4))

    def _recovery(self, number: int, since: float, until: float) -> Iterator[PlannedCall]:
        length = until - since
        mishaps = min(24, number // 3)
        for at in self._moments(number - mishaps, since, since + 0.85 * length):
            question = self._rng.choice(self._asked) if self._chance(0.2) else self._new()
            yield self._call(at, question, streams=self._chance(0.5))
        # They come when the probes are done: a stream that breaks off would open the circuit again.
        for place, at in enumerate(self._moments(mishaps, since + 0.45 * length, since + 0.8 * length)):
            if place % 3 == 2:
                question = self._new(faults=("stall",) if place % 6 == 2 else ("cut",))
                yield self._call(at, question, streams=True)
            else:
                question = self._new(sentences=4, pace=0.05)
                yield self._call(at, question, streams=True, leaves_after=self._rng.randint(3, 7))

    def _moments(self, number: int, since: float, until: float) -> list[float]:
        """Evenly spread, with a shake, so that the traffic neither stops nor marches."""
        step = (until - since) / max(1, number)
        return [since + step * (place + self._rng.random()) for place in range(number)]

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _call(
        self,
        at: float,
        question: Question,
        *,
        user: str | None = None,
        streams: bool = False,
        leaves_after: int | None = None,
    ) -> PlannedCall:
        user = user or self._rng.choice(USERS[:-1])
        return PlannedCall(at, user, self._rng.choice(PROJECTS), question, streams, leaves_after)

    def _new(
        self, *, sentences: int = 0, model: str = "sim-mini", pace: float = 0.012, faults: tuple[str, ...] = ()
    ) -> Question:
        rng = self._rng
        self._number += 1
        subject = rng.choice(_SUBJECTS)
        prompt = f"Question {self._number}: what should I know about {subject}?"
        told = rng.sample(_SENTENCES, sentences or rng.randint(1, 2))
        words = " ".join([f"About {subject}:", *told]).split(" ")
        question = Question(
            prompt=prompt,
            words=tuple([word if place == 0 else f" {word}" for place, word in enumerate(words)]),
            latency=rng.uniform(0.06, 0.28) * self._unit,
            pace=pace * self._unit,
            model=model,
            faults=faults,
        )
        if not faults:
            self._asked.append(question)
        return question


_FAULTS = (("429",), ("500",), ("429", "500"), ("garbage",), ("hang up",))
_BOOK = MappingPrices(PRICES)
_SUBJECTS = (
    "llamas",
    "wool",
    "high mountains",
    "queues",
    "patience",
    "retries",
    "caches",
    "budgets",
    "streams",
    "circuit breakers",
    "deadlines",
    "night trains",
)
_SENTENCES = (
    "A llama that is asked too often lies down and waits.",
    "What was answered once need not be asked again.",
    "Two who ask the same thing at the same time can share one answer.",
    "A wait that grows leaves room for the others.",
    "Nobody is helped by a hundred calls to a house that burns.",
    "An answer in pieces is still one answer.",
    "Money that is held cannot be spent twice.",
    "Whoever leaves early still pays for what was said.",
    "A limit of time is kindest when it is known before.",
    "What is not counted is not free, only unknown.",
    "The herd arrives together if nobody shakes the dice.",
    "One careful probe tells more than a crowd at the door.",
)
