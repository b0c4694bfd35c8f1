"""Prices: exact arithmetic, clear errors, and no price rather than a wrong one."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.messages import Usage
from llamina.policy.money import to_decimal
from llamina.policy.prices import FirstOf, MappingPrices, Price, PriceBook, price_book

rates = st.decimals(0, 1000, places=6)
counts = st.integers(0, 10_000_000)


KINDS = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_long",
    "reasoning",
    "input_audio",
    "output_audio",
)
books = st.fixed_dictionaries(dict.fromkeys(KINDS, rates))


def usage_of(plain, answer, read, written, long, reasoning, heard, spoken):
    """The usage in which each kind of token has a count of its own, in the order of KINDS."""
    return Usage(
        plain + read + written + long + heard,
        answer + reasoning + spoken,
        cache_read_tokens=read,
        cache_write_tokens=written + long,
        reasoning_tokens=reasoning,
        cache_write_long_tokens=long,
        input_audio_tokens=heard,
        output_audio_tokens=spoken,
    )


apart = st.tuples(*[counts] * len(KINDS))
usages = st.builds(lambda values: usage_of(*values), apart)


@given(books, apart)
def test_the_cost_is_what_decimal_arithmetic_by_hand_says(prices, tokens):
    """Each token is charged once, at the rate of its kind, without a rounding error."""
    price = Price.of(prices)

    cost = to_decimal(price.cost(usage_of(*tokens)))

    by_hand = sum(count * prices[kind] for count, kind in zip(tokens, KINDS, strict=True))
    assert cost * 1_000_000 == by_hand


@given(rates, rates, usages)
def test_rates_left_out_are_those_of_the_whole(fresh, answer, usage):
    """Cached tokens cost what input costs and reasoning what output costs, unless something else is said."""
    price = Price.of({"input": str(fresh), "output": str(answer)})

    cost = price.cost(usage)

    assert to_decimal(cost) * 1_000_000 == usage.input_tokens * fresh + usage.output_tokens * answer


def test_an_hour_in_the_cache_costs_what_a_shorter_time_costs_unless_something_is_said():
    """A rate left out is that of the tokens that it is a part of, the nearest whole first."""
    price = Price.of({"input": "3", "output": "15", "cache_write": "3.75"})

    assert (price.cache_read, price.cache_write_long, price.input_audio) == (3_000_000, 3_750_000, 3_000_000)
    assert (price.reasoning, price.output_audio) == (15_000_000, 15_000_000)


def test_a_rate_is_that_of_its_whole_where_a_price_is_built_by_hand():
    """`Price(...)` fills in what it is not told, as a mapping does."""
    price = Price(3, 15, cache_write=4)

    assert price == Price(3, 15, 3, 4, 15, cache_write_long=4, input_audio=3, output_audio=15)


def test_sound_that_may_be_cached_is_charged_as_text_from_the_cache():
    """Of 100 tokens 80 are cached and 60 sound: 20 are fresh, and all of those are taken for sound."""
    price = Price.of({"input": "1", "output": "1", "cache_read": "0.5", "input_audio": "10"})

    cost = price.cost(Usage(100, 0, cache_read_tokens=80, input_audio_tokens=60))

    assert to_decimal(cost) * 1_000_000 == 80 * Decimal("0.5") + 20 * 10


def test_a_request_may_have_a_fee_of_its_own():
    """The flat fee comes on top of the tokens, once."""
    price = Price.of({"input": "1", "output": "1", "request": "0.012"})

    cost = to_decimal(price.cost(Usage(10, 10)))

    assert cost == Decimal("0.01202")


@pytest.mark.parametrize(("tokens", "usd"), [(200_000, "0.25"), (200_001, "0.5000025")])
def test_above_a_bound_every_token_costs_the_price_of_the_tier(tokens, usd):
    """The bound itself is still below; one token more moves the whole request."""
    price = Price.of({"input": "1.25", "output": "10", "above": {"200000": {"input": "2.50"}}})

    cost = to_decimal(price.cost(Usage(tokens, 0)))

    assert cost == Decimal(usd)


def test_a_tier_keeps_what_it_does_not_change():
    """Output stays at its price when only input is dearer above the bound."""
    price = Price.of({"input": "1", "output": "10", "above": {1000: {"input": "2"}, 100: {"input": "1.5"}}})

    costs = [price.cost(Usage(tokens, 1)) - 10_000_000 for tokens in (100, 101, 1001)]

    assert costs == [100 * 1_000_000, 101 * 1_500_000, 1001 * 2_000_000]


@pytest.mark.parametrize(
    "batch", ["0.5", {"input": "0.5", "output": "5", "above": {100: {"input": "1", "output": "5"}}}]
)
def test_a_batch_has_its_own_price(batch):
    """A factor reduces every rate and tier; a mapping names them."""
    price = Price.of({"input": "1", "output": "10", "above": {100: {"input": "2"}}, "batch": batch})

    assert price.cost(Usage(10, 10), batch=True) * 2 == price.cost(Usage(10, 10))
    assert price.cost(Usage(1000, 10), batch=True) * 2 == price.cost(Usage(1000, 10))


def test_a_factor_reduces_the_rate_of_every_kind():
    """No kind of token is charged in full in a batch."""
    price = Price.of({**dict.fromkeys(KINDS, "2"), "batch": "0.5"})

    usage = usage_of(*range(1, 9))

    assert price.cost(usage, batch=True) * 2 == price.cost(usage)


def test_a_batch_without_a_price_of_its_own_is_charged_in_full():
    """A discount that nobody stated is not given."""
    price = Price.of({"input": "1", "output": "10"})

    assert price.cost(Usage(10, 10), batch=True) == price.cost(Usage(10, 10))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (Usage(10, 0, cache_read_tokens=5000), {"read": 5000}),
        (Usage(0, 10, reasoning_tokens=50), {"reasoning": 50}),
        (Usage(-5, -5), {}),
        (Usage(10, 10, cache_read_tokens=-3), {"input": 10, "output": 10}),
        (Usage(None, 3), {"output": 3}),
        (Usage(10, 0, cache_write_long_tokens=50), {"long": 50}),
        (Usage(10, 0, cache_write_tokens=10, cache_write_long_tokens=-5), {"write": 10}),
        (Usage(10, 0, input_audio_tokens=50), {"heard": 50}),
        (Usage(10, 0, input_audio_tokens=2.5), {"input": 7, "heard": 3}),
        (Usage(0, 10, output_audio_tokens=50), {"spoken": 50}),
        (Usage(0, 10, reasoning_tokens=6, output_audio_tokens=6), {"reasoning": 6, "spoken": 6}),
        (Usage(10, 10, input_audio_tokens="all", output_audio_tokens=None), {"input": 10, "output": 10}),
        (SimpleNamespace(input_tokens=7), {"input": 7}),
        (SimpleNamespace(input_tokens="7", output_tokens=2.5), {"output": 3}),
        (Usage(float("nan"), float("inf")), {}),
        (None, {}),
    ],
)
def test_odd_counts_never_raise(usage, tokens):
    """What is no count is zero, and a part that is larger than its whole is charged in full."""
    kinds = ["input", "output", "read", "reasoning", "write", "long", "heard", "spoken"]
    price = Price(1, 2, 3, 5, 4, cache_write_long=6, input_audio=7, output_audio=8)
    rate = dict(zip(kinds, range(1, 9), strict=True))

    cost = price.cost(usage)

    assert cost == sum(count * rate[kind] for kind, count in tokens.items())


anything = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.booleans()


@given(st.tuples(*[anything] * 8))
def test_no_usage_makes_a_cost_negative_or_fractional(values):
    """Whatever a provider reports, a cost is a whole number of units from zero up."""
    price = Price.of({"input": "9", "output": "9", **dict.fromkeys(KINDS[2:], "0.5"), "above": {100: {"input": "2"}}})

    cost = price.cost(Usage(*values))

    assert type(cost) is int
    assert cost >= 0


@given(books, books, usages)
def test_the_worst_case_is_never_below_the_cost(prices, dearer, usage):
    """What is held for a call covers it when the counts are as expected, whatever kind of token is the dearest."""
    price = Price.of({**prices, "above": {500: dearer}})

    assert price.worst_case(usage.input_tokens, usage.output_tokens) >= price.cost(usage)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inptu": "1", "output": "1"}, "prices['m'] has no field 'inptu'; write one of input, output"),
        ({"output": "1"}, "must have the field 'input'"),
        ({"input": "1"}, "must have the field 'output'"),
        ({"input": "1", "output": "1", "cache_write_1h": "1"}, "write one of input, output, cache_read, cache_write,"),
        ({"input": "1", "output": "1", "input_audio": 32.0}, "prices['m'].input_audio must be exact"),
        (
            {"input": "1", "output": "1", "above": {5: {"cache_write_long": "-1"}}},
            "prices['m'].above[5].cache_write_long must be at least 0",
        ),
        ({"input": 0.15, "output": "1"}, "prices['m'].input must be exact, got the float 0.15"),
        ({"input": "x", "output": "1"}, "prices['m'].input must be an amount of USD, got 'x'"),
        ({"input": "-1", "output": "1"}, "prices['m'].input must be at least 0"),
        ({"input": "nan", "output": "1"}, "prices['m'].input must be a finite amount"),
        ({"input": "0.0000001", "output": "1"}, "at most 6 decimals"),
        ({"input": "1", "output": "1", "request": "-1"}, "prices['m'].request must be at least 0"),
        ({"input": "1", "output": "1", "batch": "-1"}, "prices['m'].batch must be a factor"),
        ({"input": "1", "output": "1", "batch": 0.5}, "prices['m'].batch must be exact"),
        (
            {"input": "1", "output": "1", "batch": {"input": "1", "output": "1", "batch": "1"}},
            "write the prices of a batch once",
        ),
        ({"input": "1", "output": "1", "above": {"many": {}}}, "prices['m'].above must map a number"),
        ({"input": "1", "output": "1", "above": {5: {"in": "1"}}}, "prices['m'].above[5] has no field 'in'"),
        ({"input": "1", "output": "1", "above": [5]}, "prices['m'].above must be a mapping"),
        ("1", "prices['m'] must be a mapping"),
    ],
)
def test_a_price_that_cannot_be_read_is_refused_by_name(fields, words):
    """The error names the model, the field and the value."""
    with pytest.raises(ConfigurationError) as caught:
        MappingPrices({"m": fields})

    assert words in str(caught.value)


ONE = {"input": "1", "output": "1"}


@pytest.mark.parametrize(
    ("model", "provider", "key"),
    [
        ("gpt-4o", None, "gpt-4o"),
        ("gpt-4o", "openai", "openai/gpt-4o"),
        ("gpt-4o", "elsewhere", "gpt-4o"),
        ("gpt-4o", "azure", "azure/gpt-4o"),
        ("openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("gpt-4o-mini-x", None, "gpt-4o-mini-*"),
        ("gpt-4o-2024-08-06", None, "gpt-4o-*"),
        ("llama", "local", "local/*"),
        ("GPT-4o", None, None),
        ("gpt-4", None, None),
        ("local", None, None),
    ],
)
def test_the_most_exact_key_wins(model, provider, key):
    """Provider and model, then model, then the longest pattern; nothing is guessed."""
    keys = ["gpt-4o", "azure/gpt-4o", "openai/gpt-4o", "gpt-4o-*", "gpt-4o-mini-*", "local/*"]
    book = MappingPrices(dict.fromkeys(keys, ONE))

    price = book.price(model, provider)

    assert (price and price.source) == (key and f"prices[{key!r}]")


def test_a_dated_name_is_not_priced_by_the_undated_one():
    """Snapshots of one model cost different amounts, so no price is better than a wrong one."""
    book = MappingPrices({"gpt-4o": ONE})

    assert book.price("gpt-4o-2024-05-13", "openai") is None


def test_a_lone_star_is_the_price_of_whatever_is_not_named():
    """A budget can be told to price the unknown at a worst case."""
    book = MappingPrices({"*": {"input": "100", "output": "100"}, "m": ONE})

    assert book.price("anything", "anyone").input == 100_000_000
    assert book.price("m", "anyone").input == 1_000_000


@pytest.mark.parametrize("key", ["", "a*b", 5])
def test_a_name_that_is_none_is_refused(key):
    """Only a last star is a pattern."""
    with pytest.raises(ConfigurationError, match="names"):
        MappingPrices({key: ONE})


def test_the_first_book_that_knows_a_model_prices_it():
    """Corrections go before a general list."""
    book = price_book([{"a": {"input": "5", "output": "5"}}, {"a": ONE, "b": ONE}])

    assert isinstance(book, FirstOf)
    assert book.price("a", None).input == 5_000_000
    assert book.price("b", None).input == 1_000_000
    assert book.price("c", None) is None


def test_a_setting_becomes_a_book():
    """A mapping is a book, and a book of one's own is taken as it is."""
    own = SimpleNamespace(price=lambda model, provider: None)

    assert isinstance(price_book({"m": ONE}), MappingPrices)
    assert price_book(own) is own
    assert isinstance(own, PriceBook)
    with pytest.raises(ConfigurationError, match="prices must be a mapping, a price book or a list"):
        price_book(5)


def test_a_price_object_keeps_what_it_says():
    """A Price can be given in place of a mapping."""
    price = Price.of(ONE)

    found = MappingPrices({"m": price}).price("m", None)

    assert found.cost(Usage(1, 1)) == 2_000_000
    assert found.source == "prices['m']"
