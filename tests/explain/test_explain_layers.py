"""What each shipped layer says of itself, with and without a request."""

from __future__ import annotations

import asyncio
import logging
import random
from contextvars import ContextVar
from pathlib import Path

import pytest

from llamina import (
    Adaptive,
    Budget,
    Cache,
    CircuitBreaker,
    Constant,
    CostMeter,
    Dedup,
    Exponential,
    Handler,
    Logger,
    MemoryCache,
    NetworkError,
    RateLimitError,
    Request,
    Response,
    Retry,
    ServerError,
    SQLiteCache,
    Timeout,
    build_stack,
    map_text,
)
from llamina.layer import Layer
from llamina.testing import FakeTransport, simulated_time
from llamina.transports import EchoTransport, HTTPTransport

PRICES = {"m": {"input": "1", "output": "2"}}
ASK = Request.chat("m", "a very private question", tags={"tenant": "acme", "user": "ann"}, max_tokens=1000)
DIGITS = ASK.identity[:12]


def said(layer: Layer, request: Request | None = None) -> list[str]:
    """The lines of a layer's own explanation."""
    return layer.explain(request).splitlines()  # type: ignore[attr-defined,no-any-return]


def test_a_logger_says_where_and_at_which_level() -> None:
    """And that the words of others are not in it."""
    assert said(Logger(logger="app.calls", level="DEBUG")) == [
        "logs each call once, when it ends: DEBUG to 'app.calls', a failure WARNING",
        "without prompts and answers",
    ]


def test_a_logger_with_content_says_so() -> None:
    """With how much of it, and whether it is redacted."""
    layer = Logger(content=True, redact=str.upper, max_content=50)

    assert said(layer)[1] == "with prompts and answers, up to 50 characters of each, redacted"


@pytest.mark.parametrize(
    ("level", "tells"),
    [
        (logging.INFO, None),
        (logging.WARNING, "only a failure is logged now: 'test.explain' is set to a higher level"),
        (logging.ERROR, "nothing is logged now: 'test.explain' is set to a higher level"),
    ],
)
def test_a_logger_knows_whether_anybody_listens(level: int, tells: str | None) -> None:
    """As the logger is set now."""
    logger = logging.getLogger("test.explain")
    logger.setLevel(level)

    lines = said(Logger(logger=logger), ASK)

    assert lines[2:] == ([] if tells is None else [tells])


@pytest.mark.parametrize(
    ("layer", "how_long"),
    [
        (Cache(), "until it is evicted"),
        (Cache(ttl=300), "for 300 s"),
        (Cache(MemoryCache(ttl=86_400 * 7)), "for 7 days"),
    ],
)
def test_a_cache_says_how_long_it_keeps_an_answer(layer: Cache, how_long: str) -> None:
    """Its own ttl, else its store's."""
    assert said(layer)[0] == f"gives what was answered before, else keeps the answer {how_long} (MemoryCache)"


def test_a_cache_says_what_else_it_is_set_to() -> None:
    """Stale answers, deterministic requests, and whom it keeps apart."""
    layer = Cache(ttl=60, stale_while_revalidate=3600 * 3, only_deterministic=True, scope=("user", "team"))

    assert said(layer)[1:] == [
        "then gives the old one for 3 hours more, while one call renews it",
        "only for requests with temperature=0 or a seed",
        "keeps apart who differs in tenant, user and team",
    ]


@pytest.mark.parametrize(
    ("request_", "tells"),
    [
        (ASK, f"will be looked up under {DIGITS}, tenant 'acme', user 'ann', its answer kept for 300 s"),
        (
            ASK.with_cache(ttl=60),
            f"will be looked up under {DIGITS}, tenant 'acme', user 'ann', its answer kept for 60 s",
        ),
        (
            ASK.with_cache(no_cache=True),
            f"will not be looked up (no_cache), its answer kept for 300 s under {DIGITS}, tenant 'acme', user 'ann'",
        ),
        (
            ASK.with_cache(no_store=True),
            f"will be looked up under {DIGITS}, tenant 'acme', user 'ann', its answer not kept (no_store)",
        ),
        (
            ASK.with_params(store=True),
            "this request passes: it leaves something behind at the provider (store, background)",
        ),
        (
            ASK.with_params(odd=float("nan")),
            "this request is refused: a parameter of it has no canonical form, so it has no identity",
        ),
    ],
)
def test_a_cache_says_what_becomes_of_a_request(request_: Request, tells: str) -> None:
    """Whether it is asked, and under which key."""
    assert said(Cache(ttl=300, scope="user"), request_)[-1] == tells


def test_a_cache_for_deterministic_requests_lets_others_pass() -> None:
    """As it will do."""
    layer = Cache(only_deterministic=True)

    assert said(layer, ASK)[-1] == "this request passes: it has neither temperature=0 nor a seed"
    assert "will be looked up" in said(layer, ASK.with_params(seed=7))[-1]


def test_dedup_says_what_is_shared() -> None:
    """And what is not known below."""
    layer = Dedup(context=[ContextVar("trace")])

    assert said(layer) == [
        "makes one call below of all who ask the same at the same time",
        "what is below runs without the callers' deadlines, but with the context variables trace",
        "keeps apart who differs in tenant",
    ]


def test_dedup_says_which_flight_a_request_shares() -> None:
    """By the first digits of its identity and the tags that scope it."""
    assert said(Dedup(), ASK)[-1] == f"will share the flight {DIGITS}, tenant 'acme'"


def test_dedup_lets_side_effects_fly_alone() -> None:
    """Its own rule and a user's."""

    def sends_mail(_request: Request) -> bool:
        return True

    assert said(Dedup(side_effects=sends_mail), ASK)[-1] == (
        "this request flies alone: sends_mail() says that it has side effects"
    )
    assert "store, background" in said(Dedup(), ASK.with_params(background=True))[-1]


@pytest.mark.parametrize(
    ("layer", "waits"),
    [
        (Retry(4), "waits up to 0.5, 1, 2 s, drawn anew each time (full jitter)"),
        (Retry(4, backoff=Exponential(jitter="none")), "waits 0.5, 1, 2 s"),
        (
            Retry(4, backoff=Constant(2, jitter="equal")),
            "waits up to 2 s each time, drawn anew each time (equal jitter)",
        ),
        (Retry(9, backoff=Exponential(cap=4, jitter="none")), "waits 0.5, 1, 2, 4, 4 ... s"),
        (Retry(2, backoff=Constant(0)), "waits 0 s"),
    ],
)
def test_a_retry_lists_its_waits(layer: Retry, waits: str) -> None:
    """As lengths, or as the most that is drawn."""
    assert said(layer)[1] == waits


def test_a_retry_with_a_policy_for_each_error_names_them() -> None:
    """One line for each class."""
    layer = Retry(3, backoff={RateLimitError: Exponential(1, jitter="none"), NetworkError: Constant(0)})

    assert said(layer)[1:3] == ["waits 1, 2 s after RateLimitError", "waits 0 s each time after NetworkError"]


def test_a_backoff_of_somebody_else_is_named() -> None:
    """Nothing is asked of it: it may learn from being asked."""

    class Patience:
        def delay(self, attempt: int, error: object = None, previous: object = None) -> float:
            raise AssertionError

    assert said(Retry(3, backoff=Patience()))[1] == "waits as Patience says"


def test_a_learning_backoff_says_that_it_learns() -> None:
    """It may also slow first tries down."""
    assert said(Retry(3, backoff=Adaptive()))[1].endswith("learns from errors and may slow first tries down too")


def test_one_try_is_no_retry() -> None:
    """Nothing else is worth saying then."""
    assert said(Retry(1), ASK) == ["tries once, and never again"]


def test_a_retry_says_how_it_treats_a_retry_after() -> None:
    """A longest wait of 0 lets none."""
    assert said(Retry(3))[2] == "waits for a Retry-After of up to 60 s instead; a longer one ends the call"
    assert said(Retry(3, retry_after_max=0))[2] == "a Retry-After ends the call"


def test_a_retry_says_when_it_will_not_replay() -> None:
    """A request with side effects is tried again only where nothing happened."""
    assert said(Retry(), ASK.with_params(store=True))[-1] == (
        "this request has side effects: again only after a failure before the provider worked on it"
    )


@simulated_time
async def test_a_retry_counts_the_room_in_its_budget_and_the_time_left() -> None:
    """As they are now."""
    layer = Retry(3, backoff=Constant(0))
    stack = build_stack([layer], FakeTransport([ServerError("down"), ServerError("down"), "fine"]))
    await stack(ASK)
    deadline = asyncio.get_running_loop().time() + 12

    lines = said(layer, ASK.evolve(deadline=deadline))

    assert "its budget has room for 98 retries now" in lines
    assert lines[-1] == "does not wait beyond the request's deadline, 12 s away"


def test_a_meter_lists_its_budgets() -> None:
    """Hard ones and soft ones."""
    layer = CostMeter(PRICES, [Budget("5.00", period="day", scope="user"), Budget("100", hard=False)])

    assert said(layer) == [
        "charges each try below, and refuses a call for which a budget has no room",
        "a budget of 5.00 USD a day for each user",
        "a soft budget of 100 USD in all",
    ]


@simulated_time
async def test_a_meter_says_what_a_request_holds_and_what_is_left() -> None:
    """In the accounts that it falls under."""
    layer = CostMeter(PRICES, [Budget("1", scope="user"), Budget("2", scope="team"), Budget("0.001")])

    lines = said(layer, ASK)

    assert lines[1:] == [
        "will hold up to 0.002009 USD: about 9 tokens in, at most 1000 out",
        "a budget of 1 USD in all for each user: 1.00 USD left for 'ann'",
        "a budget of 2 USD in all for each team: 2.00 USD left for 'untagged'",
        "a budget of 0.001 USD in all: 0.001 USD left, so it will be refused now",
    ]


@simulated_time
async def test_a_meter_says_what_is_left_after_a_call() -> None:
    """What was spent is not there any more."""
    layer = CostMeter(PRICES, [Budget("1", period="day", scope="user")])
    await build_stack([layer], FakeTransport("four words of answer"))(ASK)

    (line,) = [line for line in said(layer, ASK) if "left" in line]

    assert line == "a budget of 1 USD a day for each user: 0.999981 USD left for 'ann'"


@pytest.mark.parametrize(
    ("layer", "fate"),
    [
        (CostMeter({}), "counted without a cost"),
        (CostMeter({}, [Budget("1")]), "not counted in the budgets"),
        (CostMeter({}, [Budget("1")], unpriced="refuse"), "refused"),
    ],
)
def test_a_meter_says_what_becomes_of_a_model_without_a_price(layer: CostMeter, fate: str) -> None:
    """Let through, uncounted, or refused."""
    assert said(layer, ASK)[1] == f"knows no price for 'm': this call will be {fate}"


def test_a_breaker_says_what_opens_and_what_closes_it() -> None:
    """Failures in a row, rates, and probes."""
    layer = CircuitBreaker(5, failure_rate=0.5, slow_call=20, slow_rate=0.25, half_open_max=2)

    first, second = said(layer)

    causes = first.removeprefix("refuses calls for 60 s after ").split(" or ")
    assert causes == [
        "5 failures in a row",
        "failures of 50 % of the calls in 60 s (from 20 on)",
        "more than 20 s for 25 % of the calls in 60 s (from 20 on)",
    ]
    assert second == "then lets 2 at a time through; 2 successes close it again"


def test_a_breaker_names_the_circuit_of_a_request() -> None:
    """One circuit, one for each model, or by a function."""
    by_user = CircuitBreaker(key=lambda request: request.tags["user"])

    assert (
        said(CircuitBreaker(), ASK)[-1] == "this request falls under the circuit 'default', which is closed: it passes"
    )
    assert "the circuit 'm'" in said(CircuitBreaker(key="model"), ASK)[-1]
    assert "the circuit 'ann'" in said(by_user, ASK)[-1]
    assert by_user.states() == {}


@simulated_time
async def test_a_breaker_says_how_long_it_refuses() -> None:
    """Until its time is over: then the request is a probe."""
    layer = CircuitBreaker(1, 60, jitter=0)
    stack = build_stack([layer], FakeTransport([ServerError("down")]))
    with pytest.raises(ServerError):
        await stack(ASK)

    await asyncio.sleep(45)
    early = said(layer, ASK)[-1]
    await asyncio.sleep(20)
    late = said(layer, ASK)[-1]

    assert early.endswith("open: it is refused for 15 s")
    assert late.endswith("open, but its time is over: it passes as a probe")
    assert layer.state() == "open"


def test_a_breaker_that_is_isolated_off_or_observes_says_so() -> None:
    """By hand or by its mode."""
    isolated, off = CircuitBreaker(), CircuitBreaker(mode="off")
    isolated.isolate()

    assert said(isolated, ASK)[-1].endswith("isolated: it is refused until that is ended by hand")
    assert said(off, ASK) == ["lets every call pass, and judges none (off)"]
    assert "lets every call pass nevertheless (observe)" in said(CircuitBreaker(mode="observe"))


@pytest.mark.parametrize(
    ("layer", "lines"),
    [
        (
            Timeout(30),
            ["ends what is below after 30 s", "gives it 1 s to clean up; what takes longer ends in the background"],
        ),
        (
            Timeout(30, first_event=5, idle=2, grace=None),
            [
                "ends what is below after 30 s or when nothing of a stream came for 5 s or when a stream pauses for 2 s",
                "waits for it to clean up, however long that takes",
            ],
        ),
    ],
)
def test_a_timeout_lists_its_limits(layer: Timeout, lines: list[str]) -> None:
    """And what happens to work that is ended."""
    assert said(layer) == lines


@simulated_time
async def test_a_timeout_says_which_limit_comes_first() -> None:
    """Its own, the request's deadline, or one that has passed."""
    now = asyncio.get_running_loop().time()

    near, far, past = [said(Timeout(30), ASK.evolve(deadline=now + seconds))[-1] for seconds in (10, 90, -1)]

    assert near == "the request's deadline is 10 s away: it comes first"
    assert far == "the request's deadline is 90 s away: the limit here comes first"
    assert past == "refuses this request: its deadline has passed"


def test_a_deadline_without_a_running_loop_is_not_measured() -> None:
    """It is a moment on a loop's clock."""
    assert said(Timeout(30), ASK.evolve(deadline=5.0))[-1] == "the request's deadline ends it too"


def test_map_text_names_its_function() -> None:
    """And what it means for a stream."""
    whole, words = map_text(str.upper), map_text(lambda text: text, by="word")

    assert whole.explain(None).splitlines() == [  # type: ignore[attr-defined]
        "rewrites the text of answers with upper()",
        "of a stream too, whose text is held back until it is complete",
    ]
    assert words.explain(ASK).startswith("rewrites the text of answers with a function of yours, word by word")  # type: ignore[attr-defined]


def test_a_transport_says_where_it_sends_without_its_key() -> None:
    """Neither the key, nor a header, nor the query of the address."""
    transport = HTTPTransport(
        "https://llm.example/v1?token=tok-9911", "sk-live-0123456789abcdef", headers={"x-api-key": "other-secret"}
    )

    shown = build_stack([], transport).explain(ASK)

    assert "sends one request to llm.example at https://llm.example/v1, by the wire /chat/completions" in shown
    assert "for the model 'm'" in shown
    assert not [secret for secret in ("tok-9911", "0123456789abcdef", "other-secret") if secret in shown]


def test_a_transport_says_what_it_cannot_take() -> None:
    """A kind of request that its wire does not have."""
    transport = HTTPTransport("https://llm.example", "key", wire="anthropic")

    assert transport.explain(Request.embed("m", ["text"])) == "takes no request of kind 'embed'"


def test_the_echo_says_that_nobody_is_asked() -> None:
    """And after how long."""
    assert EchoTransport(2).explain() == "answers with what was said last after 2 s, and asks nobody"


@simulated_time
async def test_explaining_changes_nothing() -> None:
    """Statistics, accounts, circuits and a generator of chance are as before, and a call goes as without it."""
    chance = random.Random(7)
    layers = [
        Logger(logger="test.explain.quiet"),
        Cache(ttl=60),
        Dedup(),
        Retry(3, backoff=Exponential(rng=chance)),
        CostMeter(PRICES, [Budget("1", period="day", scope="user")]),
        CircuitBreaker(key="model"),
        Timeout(30),
    ]
    fake = FakeTransport("hello")
    stack = build_stack(layers, fake)
    before = stack.stats(), chance.getstate(), fake.calls

    texts = {stack.explain(ASK) for _ in range(3)}

    assert (stack.stats(), chance.getstate(), fake.calls) == before
    assert len(texts) == 1
    assert "private" not in texts.pop()
    assert (await stack(ASK)).text == "hello"
    assert stack.stats()["cache.misses"] == 1


def test_a_store_on_disk_is_not_opened(tmp_path: Path) -> None:
    """Looking at a stack makes no file."""
    path = tmp_path / "answers.db"
    stack = build_stack([Cache(SQLiteCache(path))], EchoTransport())

    shown = stack.explain(ASK)

    assert "(SQLiteCache)" in shown
    assert not path.exists()


@simulated_time
async def test_a_half_open_circuit_says_how_many_probes_are_out() -> None:
    """A request passes if there is a place."""
    layer = CircuitBreaker(1, 10, jitter=0)
    stack = build_stack([layer], FakeTransport([ServerError("down"), [5.0, "up"]]))
    with pytest.raises(ServerError):
        await stack(ASK)
    await asyncio.sleep(11)
    probe = asyncio.ensure_future(stack(ASK))
    await asyncio.sleep(1)

    told = said(layer, ASK)[-1]

    await probe
    assert told.endswith("half-open with 1 of its probes in flight: it passes if a place is free")


def test_an_open_circuit_without_a_running_loop_has_no_clock() -> None:
    """And one that was isolated before it was there is isolated too."""
    layer, by_model = CircuitBreaker(), CircuitBreaker(key="model", mode="observe")
    layer._circuits["default"]._open("by hand")
    by_model.isolate()

    assert said(layer, ASK)[-1].endswith("open: it is refused until the time is over")
    assert said(by_model, ASK)[-1].endswith("the circuit 'm', which is isolated")


@simulated_time
async def test_a_stream_that_has_delivered_is_not_tried_again() -> None:
    """As a request with such a sink says."""
    layer = Retry()
    seen: list[str] = []

    class Spy:
        def __call__(self, call_next: Handler) -> Handler:
            async def handle(request: Request) -> Response:
                response = await call_next(request)
                seen.extend(said(layer, request))
                return response

            return handle

    async with build_stack([Spy()], FakeTransport("hello")).stream(ASK) as stream:
        await stream.complete()

    assert "of this request a stream has delivered content already: it will not be tried again" in seen


@simulated_time
async def test_a_price_that_is_nearly_nothing_is_not_nothing() -> None:
    """And nothing is."""
    cheap = CostMeter({"m": {"input": "0.000001", "output": "0"}}, [Budget("1")])
    free = CostMeter({"m": {"input": "0", "output": "0"}})

    assert said(cheap, ASK)[1].startswith("will hold up to less than 0.000001 USD")
    assert said(free, ASK)[1].startswith("reckons with up to 0.00 USD")
