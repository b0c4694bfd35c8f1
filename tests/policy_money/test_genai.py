"""The genai-prices book: the package's numbers as whole units, looked up once, never raising."""

import importlib.util
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.messages import Usage
from llamina.policy.genai import GenAIPrices
from llamina.policy.money import to_decimal
from llamina.policy.prices import PriceBook, price_book

genai_prices = pytest.importorskip("genai_prices")


@pytest.fixture(scope="module")
def book():
    """One book for all tests: loading the list takes a while."""
    prices = GenAIPrices()
    prices.warm()
    return prices


def library(model, provider, usage, moment, context=None):
    """What the package itself says that *usage* costs, in USD."""
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "cache_write_1h_tokens": usage.cache_write_long_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "cache_audio_read_tokens": 0,
    }
    return genai_prices.calc_price(
        genai_prices.Usage(**counts), model, provider_id=provider, genai_request_timestamp=moment, price_context=context
    ).total_price


MODELS = [
    ("gpt-4o", "openai"),
    ("gpt-4o-2024-05-13", "openai"),
    ("o3", "azure"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini-2.5-pro", "google"),
    ("deepseek-chat", "deepseek"),
    ("sonar-pro", "perplexity"),
    ("sonar-deep-research", "perplexity"),
    ("text-embedding-3-small", "openai"),
    ("openai/gpt-4o", "openrouter"),
    ("claude-sonnet-4-5", None),
    ("gpt-audio", "openai"),
    ("gemini-2.5-flash", "google"),
    ("claude-3-5-haiku", "google"),
]


@pytest.mark.parametrize("hour", [12, 20])
@pytest.mark.parametrize(("model", "provider"), MODELS)
@given(counts=st.tuples(*[st.integers(0, 400_000)] * 8))
@settings(max_examples=15, deadline=None)
def test_a_cost_is_what_the_package_computes(book, model, provider, hour, counts):
    """Tiers, hours of the day, request fees, cached tokens and sound included."""
    plain, answer, read, written, reasoning, long, heard, spoken = counts
    wholes = (plain + read + written + long + heard, answer + reasoning + spoken)
    usage = Usage(*wholes, read, written + long, reasoning, long, heard, spoken)
    moment = datetime(2026, 11, 21, hour, 30, tzinfo=UTC)

    with freeze_time(moment):
        cost = book.price(model, provider).cost(usage)

    assert to_decimal(cost) == library(model, provider, usage, moment)


def test_every_price_of_the_list_can_be_read(book):
    """No model of the list makes the book fail; what has a price for input has one here."""
    from genai_prices.data_snapshot import get_snapshot

    moment = datetime(2026, 11, 21, tzinfo=UTC)
    for provider in get_snapshot().providers:
        for model in provider.models:
            expected = model.get_prices(moment).input_mtok
            price = book._look_up(model.id, provider.id, moment)[0] if model.is_match(model.id) else None
            if price is not None and provider.find_model(model.id) is model:
                base = getattr(expected, "base", expected)
                assert abs(to_decimal(price.input) * 10**6 - base) <= Decimal("0.0000005"), model.id


def test_an_hour_in_the_cache_costs_twice_what_input_costs(book):
    """Anthropic's own rule, on every model of its that the list sells with a cache, in tiers and in batches too."""
    from genai_prices.data_snapshot import get_snapshot

    moment = datetime(2026, 11, 21, tzinfo=UTC)
    (provider,) = [each for each in get_snapshot().providers if each.id == "anthropic"]
    models = [each.id for each in provider.models if each.get_prices(moment).cache_write_mtok is not None]

    prices = [book._look_up(model, "anthropic", moment)[0] for model in models]

    assert len(prices) > 10
    for price in prices:
        for each in [price, price.batch or price, *[tier for _, tier in price.above]]:
            assert each.cache_write_long == 2 * each.input


def test_where_the_list_knows_no_price_of_an_hour_it_is_that_of_any_write(book):
    """Nothing is made up for a model that is not sold with it."""
    price = book.price("claude-3-5-haiku", "google")

    assert price.cache_write_long == price.cache_write > price.input


def test_a_batch_is_charged_at_the_batch_price(book):
    """The variant is asked for by the key that the package knows."""
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    usage = Usage(1000, 100)

    cost = book.price("gpt-4o", "openai").cost(usage, batch=True)

    assert to_decimal(cost) == library("gpt-4o", "openai", usage, moment, {"processing": "batch"})
    assert cost < book.price("gpt-4o", "openai").cost(usage)


def test_a_borrowed_model_has_no_batch_price(book):
    """Azure sells a model of another list at its price, but not in that list's variants."""
    usage = Usage(1000, 100)

    cost = book.price("gpt-4.1", "azure").cost(usage, batch=True)

    moment = datetime(2026, 11, 21, tzinfo=UTC)
    assert to_decimal(cost) == library("gpt-4.1", "azure", usage, moment, {"processing": "batch"})


def test_a_context_chooses_a_variant():
    """A program that pays for priority says so once."""
    priority = GenAIPrices(context={"service_tier": "priority"})

    assert priority.price("gpt-4o", "openai").input > GenAIPrices().price("gpt-4o", "openai").input
    assert priority.price("gpt-4.1", "azure").input == GenAIPrices().price("gpt-4.1", "azure").input  # borrowed


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("mystery", None),
        ("mystery", "openai"),
        ("gpt-4o", "local"),
        ("ft:gpt-4o:acme::x", "openai"),
        ("whisper-large-v3", "groq"),
        ("", None),
    ],
)
def test_what_the_list_does_not_know_has_no_price(book, model, provider):
    """Unknown names, and models that are not priced by the token."""
    assert book.price(model, provider) is None


def test_a_price_names_the_list_and_the_model_that_it_is_from(book):
    """A row can say later which price it was charged by."""
    price = book.price("gpt-4o", "openai")

    assert price.source == f"genai-prices {genai_prices.__version__} openai/gpt-4o"


def test_a_price_that_depends_on_the_hour_changes_with_it(book):
    """A long-lived book does not keep the price of the night."""
    with freeze_time("2026-11-21 12:00:30") as clock:
        day = book.price("deepseek-chat", "deepseek")
        clock.move_to("2026-11-21 16:29:59")
        still = book.price("deepseek-chat", "deepseek")
        clock.move_to("2026-11-21 16:30:00")
        night = book.price("deepseek-chat", "deepseek")

    assert (day.input, night.input) == (still.input, 135_000)
    assert day.input > night.input


def test_a_failing_package_leaves_the_model_unpriced(book, monkeypatch, caplog):
    """What is not ours cannot fail a call; it is said once."""
    monkeypatch.setattr("genai_prices.data_snapshot.DataSnapshot.find_provider_model", lambda *_: 1 / 0)
    fresh = GenAIPrices()

    prices = [fresh.price("gpt-4o", "openai") for _ in range(3)]

    assert prices == [None, None, None]
    assert len(caplog.records) == 1


def test_the_list_can_be_taken_again():
    """After the package has updated itself the new list is used, and rows say so."""
    from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

    book = GenAIPrices()
    book.warm()
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True, timestamp=datetime(2026, 12, 1)))  # noqa: DTZ001
    try:
        before = book.price("gpt-4o", "openai")
        book.refresh()
        after = book.price("gpt-4o", "openai")
    finally:
        set_custom_snapshot(None)

    assert (before is None, after) == (False, None)
    assert book.snapshot.endswith(" of 2026-12-01T00:00:00")


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    """It is optional, and asked for when the book is built."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=r"install llamina\[prices\]"):
        price_book(None)


def test_no_setting_means_this_book():
    """`prices=None` is the general list."""
    book = price_book(None)

    assert isinstance(book, GenAIPrices)
    assert isinstance(book, PriceBook)
