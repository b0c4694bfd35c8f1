"""`stack.to_config()`: what a stack says of itself can be loaded again."""

from __future__ import annotations

import json
import logging
import random
import tomllib
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import config_strangers as strangers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import (
    Adaptive,
    Budget,
    Cache,
    Chaos,
    CircuitBreaker,
    ConfigurationError,
    Constant,
    CostMeter,
    DecorrelatedJitter,
    Dedup,
    Exponential,
    Fibonacci,
    Linear,
    Logger,
    MemoryCache,
    NetworkError,
    RateLimitError,
    Recorder,
    Request,
    Response,
    Retry,
    RetryBudget,
    ServerError,
    SQLiteCache,
    Stack,
    Timeout,
    build_stack,
    load_stack,
    map_text,
)
from llamina.policy.prices import FirstOf, MappingPrices, Price
from llamina.testing import simulated_time
from llamina.transports import EchoTransport, HTTPTransport

PRICES = {
    "m": {"input": "0.15", "output": "0.6", "cache_read": "0.075", "batch": "0.5", "above": {200_000: {"input": "4"}}},
    "o1-*": {"input": "1", "output": "2", "request": "0.01", "batch": {"input": "0", "output": "1"}},
}


def built(*layers: Any, transport: Any = None) -> Stack:
    """A stack of these layers over an echo."""
    return build_stack(layers, EchoTransport() if transport is None else transport, check="off")


def told(*layers: Any) -> Any:
    """What a stack of these layers says of them."""
    return built(*layers).to_config()["layers"]


def toml(value: Any) -> str:
    """Plain data as an inline value of TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join([f'{json.dumps(key)} = {toml(item)}' for key, item in value.items()])} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "nothing but the name": (Retry(), {"type": "retry"}),
    "what is set to the default is not said": (
        Retry(3, backoff=Exponential(), budget=RetryBudget()),
        {"type": "retry"},
    ),
    "a whole number": (Retry(5), {"type": "retry", "attempts": 5}),
    "a number as it was given": (
        Retry(backoff=Constant(1)),
        {"type": "retry", "backoff": {"type": "constant", "delay": 1}},
    ),
    "none": (Retry(budget=None), {"type": "retry", "budget": False}),
    "a table of settings": (
        Retry(budget=RetryBudget(5, cost=2)),
        {"type": "retry", "budget": {"capacity": 5, "cost": 2}},
    ),
    "a table with a type": (
        Retry(backoff=Fibonacci(cap=9, jitter="none")),
        {"type": "retry", "backoff": {"type": "fibonacci", "cap": 9, "jitter": "none"}},
    ),
    "a table by errors": (
        Retry(backoff={RateLimitError: Exponential(), TimeoutError: Constant(2)}),
        {
            "type": "retry",
            "backoff": {
                "RateLimitError": {"type": "exponential"},
                "builtins:TimeoutError": {"type": "constant", "delay": 2},
            },
        },
    ),
    "a default that depends on another setting": (
        Retry(backoff=Linear(2)),
        {"type": "retry", "backoff": {"type": "linear", "base": 2}},
    ),
    "a function": (
        Retry(retry_on=strangers.worth_it),
        {"type": "retry", "retry_on": "config_strangers:worth_it"},
    ),
    "a layer that is a function": (
        map_text(strangers.shout, by="word"),
        {"type": "map_text", "function": "config_strangers:shout", "by": "word"},
    ),
    "a store": (
        Cache(MemoryCache(5, ttl=9), scope="user"),
        {"type": "cache", "store": {"type": "memory", "maxsize": 5, "ttl": 9}, "scope": ["user"]},
    ),
    "a logger of a name with a dollar": (Logger(logger="${"), {"type": "logger", "logger": "$${"}),
    "a logger by its name": (
        Logger(logger=logging.getLogger("mine"), level="ERROR"),
        {"type": "logger", "logger": "mine", "level": 40},
    ),
    "budgets": (
        CostMeter({}, [Budget("5.50", scope="user"), Budget(Decimal(7), period="day", warn_at=None)]),
        {
            "type": "cost_meter",
            "prices": {},
            "budgets": [{"limit": "5.50", "scope": "user"}, {"limit": "7", "period": "day", "warn_at": False}],
        },
    ),
    "faults": (
        Chaos(3, error_rate=0.5, errors=["timeout", ServerError], latency=(0.1, 2)),
        {"type": "chaos", "seed": 3, "error_rate": 0.5, "errors": ["timeout", "ServerError"], "latency": [0.1, 2]},
    ),
    "a cassette": (Recorder("a.json", "replay"), {"type": "recorder", "path": "a.json", "mode": "replay"}),
    "a stranger that says it itself": (
        strangers.Told(["a"]),
        {"type": "config_strangers:Told", "words": ["a"]},
    ),
    "a stranger's table": (
        strangers.Limit(1, strangers.Window(names=("x",)), strangers.Colour.BLUE),
        {"type": "config_strangers:Limit", "limit": 1, "window": {"names": ["x"]}, "colour": "blue"},
    ),
    "a layer in a module": (strangers.as_it_stands, {"type": "config_strangers:as_it_stands"}),
}


@pytest.mark.parametrize(("layer", "expected"), CASES.values(), ids=CASES.keys())
def test_a_layer_says_what_differs_from_the_defaults(layer: Any, expected: dict[str, Any]) -> None:
    """And is the same when it is loaded again."""
    stack = built(layer)

    config = stack.to_config()
    again = load_stack(config, check="off")

    assert config["layers"] == [expected]
    assert again.to_config() == config


def test_prices_come_back_as_they_were() -> None:
    """Tiers, batches, stars and order."""
    book = CostMeter([PRICES, {"z": Price.of({"input": "9", "output": "9", "reasoning": "10"})}]).prices

    again = load_stack(built(CostMeter(book)).to_config()).layers[0].prices

    assert isinstance(again, FirstOf)
    for model in ("m", "o1-preview", "z"):
        one, other = book.price(model, None), again.price(model, None)
        assert one is not None
        assert _numbers(one) == _numbers(other)


def _numbers(price: Any) -> Any:
    if price is None:
        return None
    rates = [getattr(price, name) for name in ("input", "output", "cache_read", "cache_write", "reasoning", "request")]
    return rates, [(bound, _numbers(tier)) for bound, tier in price.above], _numbers(price.batch)


def test_a_list_of_prices_that_is_not_installed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the price book, at its place."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"layers\[0\]\.prices: GenAIPrices needs the package genai-prices"):
        load_stack({"transport": "echo", "layers": [{"type": "cost_meter", "prices": "genai"}]})


def test_a_transport_leaves_out_what_its_preset_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and the wire are the preset's, the name is the host's."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)

    preset = built(transport=HTTPTransport(provider="ollama")).to_config()
    server = built(transport=HTTPTransport("http://127.0.0.1:8000/v1", read_timeout=5)).to_config()

    assert preset["transport"] == {"type": "http", "provider": "ollama"}
    assert server["transport"] == {"type": "http", "base_url": "http://127.0.0.1:8000/v1", "read_timeout": 5}


def local_layer() -> Callable[[Any], Any]:
    """A layer that nobody can import."""

    def layer(call_next: Any) -> Any:
        return call_next

    return layer


class Chance(random.Random):
    """A source of chance of one's own."""


class PriceList:
    """A book of one's own."""

    def price(self, model: str, provider: str | None) -> None:
        """None is known."""


UNSAID: dict[str, tuple[Any, list[str]]] = {
    "a lambda": (Retry(retry_on=lambda error: True), ["layers[0].retry_on", "<lambda>", "at the top of a module"]),
    "a function in a function": (Cache(side_effects=local_layer()), ["layers[0].side_effects", "layer"]),
    "chance": (Retry(backoff=Constant(rng=Chance())), ["layers[0].backoff.rng", "Chance"]),
    "a context variable": (Dedup(context=[ContextVar("user")]), ["layers[0].context[0]", "ContextVar"]),
    "a price book with a context": (
        CostMeter(FirstOf([PriceList(), MappingPrices({})])),
        ["layers[0].prices", "PriceList"],
    ),
    "a price book": (CostMeter(PriceList()), ["layers[0].prices", "PriceList"]),
    "a layer in a function": (local_layer(), ["layers[0]", "layer", "give it a to_config()"]),
    "a listener": (CircuitBreaker(listeners=[lambda *_: None]), ["layers[0].listeners[0]", "<lambda>"]),
}


@pytest.mark.parametrize(("layer", "words"), UNSAID.values(), ids=UNSAID.keys())
def test_what_cannot_be_said_is_named(layer: Any, words: list[str]) -> None:
    """With its place and the remedy, instead of a file that says something else."""
    stack = built(layer)

    with pytest.raises(ConfigurationError) as caught:
        stack.to_config()

    assert [word for word in words if word not in str(caught.value)] == [], caught.value


def test_a_client_cannot_be_said() -> None:
    """The transport says which setting it is."""
    httpx = pytest.importorskip("httpx")
    stack = built(transport=HTTPTransport("http://127.0.0.1:8000/v1", client=httpx.AsyncClient()))

    with pytest.raises(ConfigurationError, match=r"transport\.client: AsyncClient cannot be said"):
        stack.to_config()


def test_a_needed_secret_of_code_is_told_of() -> None:
    """Left out, the file could not be loaded."""
    with pytest.raises(ConfigurationError, match=r"layers\[0\]\.password is a secret that code gave") as caught:
        told(strangers.Needy(password="sk-canary"))

    assert "canary" not in str(caught.value)


def test_a_wrong_to_config_is_named() -> None:
    """A stranger's mistake is told as the stranger's."""

    class Broken(strangers.Told):
        def to_config(self) -> dict[str, Any]:
            raise KeyError("words")

    class Refusing(strangers.Told):
        def to_config(self) -> dict[str, Any]:
            raise ConfigurationError("not today")

    with pytest.raises(ConfigurationError, match=r"layers\[0\]: Broken\.to_config\(\) must return a dict"):
        told(Broken(["a"]))
    with pytest.raises(ConfigurationError, match=r"layers\[0\]: not today"):
        told(Refusing(["a"]))


# --- any stack ---------------------------------------------------------------------------------------------------------

seconds = st.integers(1, 10_000) | st.floats(0.001, 1e6, allow_nan=False)
jitters = st.sampled_from(["full", "equal", "none"])
caps = {"base": st.floats(0.001, 5), "cap": st.integers(5, 99), "jitter": jitters}
shares = st.floats(0.01, 1)
names = st.text("abc_-${}\"'\\\n é☃", min_size=1, max_size=8)
backoffs = st.one_of(
    st.builds(Constant, delay=seconds, jitter=jitters),
    st.builds(Linear, base=st.integers(0, 5), jitter=jitters),
    st.builds(Exponential, factor=st.floats(1, 4), **caps),
    st.builds(Fibonacci, **caps),
    st.builds(DecorrelatedJitter, **caps),
    st.builds(Adaptive, decay=shares, half_life=seconds, slow_down=st.booleans(), **caps),
)
budgets = st.builds(
    Budget,
    limit=st.decimals(0, 10_000, places=4) | st.integers(0, 100),
    period=st.sampled_from([None, "day", "week", "month"]),
    scope=st.none() | names,
    tz=st.sampled_from(["UTC", "Europe/Berlin"]),
    hard=st.booleans(),
    warn_at=st.none() | shares,
)
amounts = st.decimals(0, 100, places=6).map(str)
price_tables = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"input": amounts, "output": amounts},
        optional={"cache_read": amounts, "cache_write_long": amounts, "reasoning": amounts, "batch": st.just("0.5")},
    ),
    max_size=3,
)
layers = st.one_of(
    st.builds(Logger, logger=names, level=st.sampled_from(["DEBUG", "ERROR", 15]), content=st.booleans()),
    st.builds(
        Cache,
        store=st.builds(MemoryCache, maxsize=st.integers(1, 99), ttl=seconds, maxbytes=st.none() | st.integers(1, 99))
        | st.builds(SQLiteCache, st.just("answers.db"), namespace=names, ttl=st.none() | seconds),
        ttl=seconds,
        scope=st.lists(names, max_size=2),
        stale_while_revalidate=st.none() | seconds,
        store_incomplete=st.booleans(),
        namespace=names,
        store_timeout=st.none() | seconds,
    ),
    st.builds(Dedup, scope=st.lists(names, max_size=2), max_buffer=st.integers(1, 99)),
    st.builds(
        Retry,
        attempts=st.integers(1, 9),
        backoff=backoffs | st.dictionaries(st.sampled_from([RateLimitError, NetworkError, TimeoutError]), backoffs),
        budget=st.none() | st.builds(RetryBudget, capacity=st.integers(2, 99), ratio=shares),
        retry_after_max=seconds,
    ),
    st.builds(
        CostMeter,
        prices=price_tables,
        budgets=st.lists(budgets, max_size=2),
        unpriced=st.sampled_from(["count", "refuse"]),
        max_rows=st.integers(1, 99),
    ),
    st.builds(
        CircuitBreaker,
        fail_max=st.none() | st.integers(1, 9),
        reset_timeout=seconds,
        failure_rate=shares,
        key=st.none() | st.just("model"),
        mode=st.sampled_from(["enforce", "observe", "off"]),
        name=names,
    ),
    st.builds(Timeout, st.none() | seconds, first_event=st.none() | seconds, grace=st.none() | seconds),
    st.builds(map_text, st.just(strangers.shout), by=st.sampled_from(["text", "line", "word"])),
    st.builds(Recorder, names.filter(str.strip), mode=st.sampled_from(["off", "replay"]), speed=st.none() | seconds),
    st.builds(Chaos, seed=st.integers(0, 99), error_rate=shares, errors=st.just([ServerError, "timeout"])),
)
transports = st.builds(EchoTransport, delay=seconds, provider=names)


@settings(max_examples=50, deadline=None)
@given(st.lists(layers, max_size=5), transports, st.booleans(), st.integers(1, 99))
def test_any_stack_of_shipped_layers_comes_back(some: list[Any], last: Any, hold: bool, buffer: int) -> None:
    """What is loaded from what a stack says is that stack: through plain data, and through a file."""
    stack = build_stack(some, last, check="off", hold_streams=hold, stream_buffer=buffer)

    config = stack.to_config()
    text = "\n".join([f"{name} = {toml(value)}" for name, value in config.items()])
    again = load_stack(tomllib.loads(text), check="off")

    assert again.to_config() == config
    assert [_named(part) for part in again.layers] == [_named(part) for part in stack.layers]
    assert repr(again.transport) == repr(stack.transport)


def _named(part: Any) -> str:
    return getattr(part, "__name__", None) or repr(part)


@simulated_time
async def test_a_stack_that_comes_back_behaves_alike() -> None:
    """The settings are not only said: three tries, with the waits of the backoff."""
    from llamina.testing import FakeTransport

    config = built(Retry(3, backoff=Fibonacci(2, jitter="none"))).to_config()
    fake = FakeTransport([ServerError("a"), ServerError("b"), Response.of("c")])

    response = await build_stack(load_stack(config).layers, fake)(Request.chat("m", "hi"))

    assert [attempt.backoff for attempt in response.call.attempts] == [2, 2, None]


def test_mapping_prices_are_what_is_read() -> None:
    """A table of prices is a book of prices."""
    stack = load_stack({"transport": "echo", "layers": [{"type": "cost_meter", "prices": PRICES}]})

    assert isinstance(stack.layers[0].prices, MappingPrices)


@pytest.mark.parametrize("check", ["error", "off"])
def test_what_was_to_be_done_about_the_order_is_said(check: Any) -> None:
    """A stack that was built with a wrong order on purpose loads without a word."""
    order = [Timeout(30), Retry()] if check == "off" else [Retry(), Timeout(30)]

    config = build_stack(order, EchoTransport(), check=check).to_config()

    assert config["check"] == check
    assert load_stack(config).to_config() == config
    assert "check" not in build_stack([Retry()], EchoTransport()).to_config()
