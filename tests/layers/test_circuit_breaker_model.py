"""Random scripts of calls, ends, cancellations, waits and interventions, against a simple model of a circuit."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import Factory, define
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import CircuitBreaker, CircuitOpenError, RateLimitError, Request, Response, ServerError, build_stack
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("m", "hi")
ENDS = {"success": Response.of("up"), "failure": ServerError("down"), "neutral": RateLimitError("slow down")}
RESET, CAP, LEASE = 60, 200, 45


@define
class Model:
    """A circuit as its documentation describes it, written the plain way: every call carries a number of its era."""

    fail_max: int
    success_threshold: int
    half_open_max: int
    state: str = "closed"
    era: int = 0
    failures: int = 0
    successes: int = 0
    opened_at: float = 0.0
    pause: int = RESET
    next_pause: int = RESET
    calls: dict[int, tuple[int, float]] = Factory(dict)  # in flight: its era, and when it began

    def enter(self, state: str, now: float) -> None:
        """Change the state; a new era begins."""
        self.state = state
        self.era += 1
        self.failures = self.successes = 0
        if state == "open":
            self.opened_at = now
            self.pause, self.next_pause = self.next_pause, min(CAP, self.next_pause * 2)
        if state == "closed":
            self.next_pause = RESET

    def probes(self, now: float) -> int:
        """Calls in flight that hold a slot."""
        return sum(era == self.era and now < began + LEASE for era, began in self.calls.values())

    def begin(self, number: int, now: float) -> bool:
        """Whether a call is let through."""
        if self.state == "isolated" or (self.state == "open" and now < self.opened_at + self.pause):
            return False
        if self.state == "open":
            self.enter("half-open", now)
        if self.state == "half-open" and self.probes(now) >= self.half_open_max:
            return False
        self.calls[number] = (self.era, now)
        return True

    def end(self, number: int, how: str, now: float) -> None:
        """What the end of a call changes."""
        era, began = self.calls.pop(number)
        late = era != self.era or (self.state == "half-open" and now >= began + LEASE)
        if late or how == "neutral":
            return
        if how == "failure":
            self.failures += 1
            if self.state == "half-open" or self.failures >= self.fail_max:
                self.enter("open", now)
            return
        self.failures = 0
        self.successes += 1
        if self.state == "half-open" and self.successes >= self.success_threshold:
            self.enter("closed", now)


class Service:
    """Holds every call until it is told how it ends."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Response]] = []

    async def __call__(self, request: Request) -> Response:
        """One call."""
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]


_steps = st.one_of(
    st.tuples(st.just("begin"), st.just(0)),
    st.tuples(st.sampled_from(["success", "failure", "failure", "neutral", "cancel"]), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 44, 45, 60, 120, 200])),
    st.tuples(st.sampled_from(["isolate", "close"]), st.just(0)),
)


@simulated_time
@given(
    steps=st.lists(_steps, max_size=80),
    fail_max=st.integers(1, 3),
    success_threshold=st.integers(1, 3),
    half_open_max=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
async def test_any_script_goes_as_the_model_says(
    steps: list[tuple[str, int]], fail_max: int, success_threshold: int, half_open_max: int
) -> None:
    """Admission and state agree after every step, and when all calls have ended no slot is taken."""
    model = Model(fail_max, success_threshold, half_open_max)
    layer = CircuitBreaker(
        fail_max, RESET, success_threshold, half_open_max, max_reset_timeout=CAP, jitter=0, probe_lease=LEASE
    )
    service = Service()
    handler: Any = layer.wrap(service)
    clock = asyncio.get_running_loop().time
    tasks: dict[int, tuple[asyncio.Task[Response], asyncio.Future[Response]]] = {}
    refused = 0

    for number, (what, detail) in enumerate(steps):
        if what == "wait":
            await asyncio.sleep(detail)
        elif what == "isolate":
            layer.isolate()
            model.enter("isolated", clock())
        elif what == "close":
            layer.close()
            model.enter("closed", clock())
        elif what == "begin":
            admitted = model.begin(number, clock())
            task = asyncio.create_task(handler(ASK))
            await asyncio.sleep(0)
            if task.done():
                assert isinstance(task.exception(), CircuitOpenError)
                refused += 1
            else:
                tasks[number] = (task, service.waiting[-1])
            assert admitted == (number in tasks)
        elif tasks:
            chosen = list(tasks)[detail % len(tasks)]
            await _end(*tasks.pop(chosen), what)
            model.end(chosen, "neutral" if what == "cancel" else what, clock())
        assert layer.state() == model.state
        if model.state == "half-open":
            assert layer.stats()["circuit.probes"] >= model.probes(clock())

    for task, answer in tasks.values():
        await _end(task, answer, "cancel")
    counts = {name.removeprefix("circuit.requests."): value for name, value in layer.stats().items()}
    assert counts["circuit.probes"] == 0
    assert counts["rejected"] == refused
    assert counts["total"] == sum(counts[name] for name in ("successful", "failed", "neutral", "rejected"))


async def _end(task: asyncio.Task[Response], answer: asyncio.Future[Response], how: str) -> None:
    if how == "cancel":
        task.cancel()
    elif isinstance(end := ENDS[how], Response):
        answer.set_result(end)
    else:
        answer.set_exception(end)
    await asyncio.gather(task, return_exceptions=True)


@simulated_time
@given(delays=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 3)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
async def test_no_cancellation_at_any_moment_leaks_a_slot(delays: list[tuple[float, float]]) -> None:
    """Streams and calls that are cut at random while the circuit is half open leave it free for the next probe."""
    script = [ServerError("down"), *[["a", 1.0, "b", 1.0]] * (len(delays) + 1)]
    layer = CircuitBreaker(fail_max=1, reset_timeout=60, success_threshold=10_000, half_open_max=3, jitter=0)
    stack = build_stack([layer], FakeTransport(script))
    await asyncio.gather(stack(ASK), return_exceptions=True)
    await asyncio.sleep(60)

    async def consume() -> None:
        async with stack.stream(ASK) as stream:
            async for _event in stream:
                await asyncio.sleep(0.2)

    async def cut(start: float, after: float, *, streamed: bool) -> None:
        await asyncio.sleep(start)
        task = asyncio.ensure_future(consume() if streamed else stack(ASK))
        await asyncio.wait([task], timeout=after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*[cut(*delay, streamed=number % 2 == 0) for number, delay in enumerate(delays)])

    assert layer.stats()["circuit.probes"] == 0
    assert (await stack(ASK)).text == "ab"
