"""What a token costs: the price of a model, and books that know many of them.

    prices = MappingPrices({"gpt-4o": {"input": "2.50", "output": "10", "cache_read": "1.25"}})
    price = prices.price("gpt-4o", "openai")
    price.cost(usage)                        # pico-dollars: an exact whole number

Prices are USD per million tokens, written as strings. A mapping may say

    input, output       both needed
    cache_read          input read from the provider's cache; the price of input where left out
    cache_write         input written to it; the price of input where left out
    cache_write_long    the part of it that is kept for an hour; the price of cache_write where left out
    reasoning           the part of the output that is reasoning; the price of output where left out
    input_audio         the part of the input that is sound; the price of input where left out
    output_audio        the part of the output that is sound; the price of output where left out
    request             USD for each request, whatever its length
    above               {200_000: {"input": "4"}}: prices of a request whose input is longer; the rest stays as it is
    batch               a factor ("0.5") or a mapping of prices, for requests that are sent in a batch

A provider that charges for writes says how much in its price list: Anthropic asks 1.25 times the price of input for five
minutes and twice that price for an hour (its page on prompt caching), and a mapping has to say so.

The one surprise: names are matched as they are written, since a wrong price is worse than none. `gpt-4o-2024-05-13`
costs twice what `gpt-4o` does, so a date is not cut off. A key may end with a star ("gpt-4o-*", "local/*", "*") where
you know that one price fits all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from attrs import evolve, field, frozen

from llamina.errors import ConfigurationError

from .money import parse_usd, to_units

__all__ = ["REMEMBERED", "FirstOf", "MappingPrices", "Price", "PriceBook", "price_book"]

_RATES = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "reasoning",
    "cache_write_long",
    "input_audio",
    "output_audio",
)
_FIELDS = (*_RATES, "request", "above", "batch")
REMEMBERED = 1024  # models per book whose price is kept at hand; names come from callers, so they are bounded
_PER_MILLION = 6  # one USD per million tokens is 1e6 pico-dollars a token
_CALCULATION = Context(prec=60)


@frozen
class Price:
    """The price of one model, in whole pico-dollars: a token for each rate, and `request` for each request.

    Attributes:
        source: where the price is from; it is kept with every attempt that was charged by it.
        above: (input tokens, price) pairs in rising order; the last whose bound the input exceeds holds for all tokens.
        batch: the price in a batch, None where there is no other.
    """

    input: int
    output: int
    cache_read: int = field()
    cache_write: int = field()
    reasoning: int = field()
    request: int = 0
    source: str = ""
    above: tuple[tuple[int, Price], ...] = ()
    batch: Price | None = None
    cache_write_long: int = field(kw_only=True)
    input_audio: int = field(kw_only=True)
    output_audio: int = field(kw_only=True)
    _dearest_input: int = field(init=False, repr=False, eq=False)
    _dearest_output: int = field(init=False, repr=False, eq=False)

    # A rate left out is that of the tokens that it is a part of.
    @cache_read.default
    @cache_write.default
    @input_audio.default
    def _as_input(self) -> int:
        return self.input

    @reasoning.default
    @output_audio.default
    def _as_output(self) -> int:
        return self.output

    @cache_write_long.default
    def _as_cache_write(self) -> int:
        return self.cache_write

    def __attrs_post_init__(self) -> None:
        dearest = max(self.input, self.cache_read, self.cache_write, self.cache_write_long, self.input_audio)
        object.__setattr__(self, "_dearest_input", dearest)
        object.__setattr__(self, "_dearest_output", max(self.output, self.reasoning, self.output_audio))

    @classmethod
    def of(cls, prices: Mapping[str, Any], name: str = "price") -> Price:
        """The price that a mapping of USD per million tokens describes; *name* is what errors call it.

        Raises:
            ConfigurationError: a field is unknown, missing, a float, negative or finer than a pico-dollar a token.
        """
        if not isinstance(prices, Mapping):
            raise ConfigurationError(
                f"{name} must be a mapping like {{'input': '0.15', 'output': '0.60'}}, got {prices!r}"
            )
        for key in prices:
            if key not in _FIELDS:
                raise ConfigurationError(f"{name} has no field {key!r}; write one of {', '.join(_FIELDS)}")
        base = {key: value for key, value in prices.items() if key not in ("above", "batch") and value is not None}
        price = _flat(base, name)
        tiers = _tiers(base, prices.get("above") or {}, name)
        return evolve(price, above=tiers, batch=_batch(price, tiers, prices.get("batch"), f"{name}.batch"))

    def cost(self, usage: Any, *, batch: bool = False) -> int:
        """Pico-dollars for *usage*, of which input includes cached tokens and output includes reasoning.

        Nobody says which cached tokens are sound: what is read or written is charged as text, so that no more sound is
        charged than input is fresh. Counts that cannot be are read so that they never lower the charge and never raise:
        a missing or negative one is 0, and a part that is larger than its whole is charged in full. A batch without a
        price of its own is charged as any other request.
        """
        price = self.batch if batch and self.batch is not None else self
        rare: Any = True  # nearly every usage has none of the three counts that are asked for together
        try:
            tokens, answer = usage.input_tokens, usage.output_tokens
            read, written, reasoning = usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens
            rare = usage.cache_write_long_tokens or usage.input_audio_tokens or usage.output_audio_tokens
            nested = read >= 0 <= written and read + written <= tokens and 0 <= reasoning <= answer
            if rare:
                long, heard, spoken = usage.cache_write_long_tokens, usage.input_audio_tokens, usage.output_audio_tokens
                nested &= 0 <= long <= written and 0 <= heard <= tokens and 0 <= spoken <= answer - reasoning
                nested &= type(long + heard + spoken) is int
        except (AttributeError, TypeError):
            nested = False
        if not nested or type(tokens + answer + read + written + reasoning) is not int:
            tokens, answer, read, written, reasoning, long, heard, spoken = _nested_counts(usage)
        if price.above:
            price = price._tier(tokens)
        units: int = tokens * price.input + answer * price.output + price.request
        if read:
            units += read * (price.cache_read - price.input)
        if written:
            units += written * (price.cache_write - price.input)
        if reasoning:
            units += reasoning * (price.reasoning - price.output)
        if rare:
            units += long * (price.cache_write_long - price.cache_write)
            units += min(heard, tokens - read - written) * (price.input_audio - price.input)
            units += spoken * (price.output_audio - price.output)
        return units

    def worst_case(self, input_tokens: int, output_tokens: int) -> int:
        """Pico-dollars that a request may cost at most: every token at the dearest rate that its direction has."""
        price = self._tier(input_tokens) if self.above else self
        return input_tokens * price._dearest_input + output_tokens * price._dearest_output + price.request

    def _tier(self, input_tokens: int) -> Price:
        for bound, price in reversed(self.above):
            if input_tokens > bound:
                return price
        return self


_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_long_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
)


def _nested_counts(usage: object) -> tuple[int, int, int, int, int, int, int, int]:
    """The counts in the order of `_COUNTS`, each a whole number from zero up and no part larger than its whole."""
    tokens, answer, read, written, reasoning, long, heard, spoken = [_count(usage, name) for name in _COUNTS]
    written = max(written, long)
    tokens = max(tokens, read + written, heard)
    return tokens, max(answer, reasoning + spoken), read, written, reasoning, long, heard, spoken


def _count(usage: object, name: str) -> int:
    value = getattr(usage, name, 0)
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value)
    return value if isinstance(value, int) and value > 0 else 0


def _flat(prices: Mapping[str, Any], name: str) -> Price:
    """The price without tiers; a rate left out falls back to the one that it is a part of."""
    for key in ("input", "output"):
        if key not in prices:
            raise ConfigurationError(
                f"{name} must have the field {key!r}, got {dict(prices)!r}; write '0' where it is free"
            )
    rates: dict[str, Any] = {key: _rate(value, f"{name}.{key}") for key, value in prices.items() if key != "request"}
    request = _not_negative(to_units(prices.get("request", 0), f"{name}.request"), f"{name}.request")
    return Price(**rates, request=request)


def _tiers(base: Mapping[str, Any], above: object, name: str) -> tuple[tuple[int, Price], ...]:
    if not isinstance(above, Mapping):
        raise ConfigurationError(f"{name}.above must be a mapping like {{200_000: {{'input': '4'}}}}, got {above!r}")
    tiers = []
    for bound, prices in above.items():
        # Keys are strings in TOML and JSON.
        if isinstance(bound, bool) or not str(bound).isdecimal() or not isinstance(prices, Mapping):
            raise ConfigurationError(
                f"{name}.above must map a number of input tokens to prices, got {bound!r}: {prices!r}; "
                f"write it like {{200_000: {{'input': '4'}}}}"
            )
        if unknown := [key for key in prices if key not in (*_RATES, "request")]:
            raise ConfigurationError(
                f"{name}.above[{bound}] has no field {unknown[0]!r}; write one of {', '.join(_RATES)}"
            )
        tiers.append((int(bound), _flat({**base, **prices}, f"{name}.above[{bound}]")))
    return tuple(sorted(tiers, key=lambda tier: tier[0]))


def _batch(price: Price, tiers: tuple[tuple[int, Price], ...], batch: Any, name: str) -> Price | None:
    if batch is None:
        return None
    if isinstance(batch, Mapping):
        if "batch" in batch:
            raise ConfigurationError(f"{name} has no field 'batch'; write the prices of a batch once")
        return Price.of(batch, name)
    factor = parse_usd(batch, name)
    if factor < 0:
        raise ConfigurationError(f"{name} must be a factor of at least 0, got {batch!r}; '0.5' is half the price")

    def part(units: int) -> int:
        return int(_CALCULATION.multiply(Decimal(units), factor).to_integral_value(ROUND_HALF_EVEN))

    def reduced(full: Price) -> Price:
        rates: dict[str, Any] = {name: part(getattr(full, name)) for name in (*_RATES, "request")}
        return Price(**rates)

    return evolve(reduced(price), above=tuple([(bound, reduced(tier)) for bound, tier in tiers]))


def _rate(amount: Any, name: str) -> int:
    """Pico-dollars a token, of an amount in USD per million tokens."""
    value = parse_usd(amount, name)
    units = _CALCULATION.scaleb(value, _PER_MILLION)
    if units != int(units):
        raise ConfigurationError(
            f"{name} must have at most {_PER_MILLION} decimals, got {amount!r}; USD per million tokens are meant"
        )
    return _not_negative(int(units), name)


def _not_negative(units: int, name: str) -> int:
    if units < 0:
        raise ConfigurationError(f"{name} must be at least 0, got a negative amount; write '0' where it is free")
    return units


@runtime_checkable
class PriceBook(Protocol):
    """Where prices come from: anything with this one method."""

    def price(self, model: str, provider: str | None) -> Price | None:
        """The price of *model* at *provider* now, or None where it is not known. Never raises."""
        ...


class MappingPrices:
    """Prices from a mapping of model name to fields (see the module), or to a `Price`.

    A key is "model" or "provider/model" and may end with a star. The most exact key wins: "provider/model" as it is,
    "model" as it is, then the longest that ends with a star.

    Raises:
        ConfigurationError: a price cannot be read; the message names the model and the field.
    """

    def __init__(self, prices: Mapping[str, Mapping[str, Any] | Price]) -> None:
        if not isinstance(prices, Mapping):
            raise ConfigurationError(
                f"prices must map model names to prices, got {prices!r}; write {{'gpt-4o': {{...}}}}"
            )
        self._exact: dict[str, Price] = {}
        self._starred: list[tuple[str, Price]] = []
        for key, value in prices.items():
            if not isinstance(key, str) or not key or "*" in key[:-1]:
                raise ConfigurationError(
                    f"prices must map model names to prices, got the name {key!r}; only a last * is a pattern"
                )
            price = value if isinstance(value, Price) else Price.of(value, f"prices[{key!r}]")
            price = price if price.source else evolve(price, source=f"prices[{key!r}]")
            if key.endswith("*"):
                self._starred.append((key[:-1], price))
            else:
                self._exact[key] = price
        self._starred.sort(key=lambda entry: -len(entry[0]))
        self._find = lru_cache(REMEMBERED)(self._look_up)

    def price(self, model: str, provider: str | None) -> Price | None:
        """The price of *model* at *provider*, or None where no key fits."""
        return self._find(model, provider)

    def _look_up(self, model: str, provider: str | None) -> Price | None:
        names = (model,) if provider is None else (f"{provider}/{model}", model)
        for name in names:
            if name in self._exact:
                return self._exact[name]
        for prefix, price in self._starred:
            if any(name.startswith(prefix) for name in names):
                return price
        return None


class FirstOf:
    """The price of the first of several books that knows the model: your own corrections before a general list."""

    def __init__(self, books: Iterable[PriceBook]) -> None:
        self.books = tuple(books)

    def price(self, model: str, provider: str | None) -> Price | None:
        """The first price that a book knows, or None."""
        for book in self.books:
            price = book.price(model, provider)
            if price is not None:
                return price
        return None


def price_book(prices: object) -> PriceBook:
    """The book that a setting means: a book as it is, a mapping, a sequence of them in order; None: genai-prices.

    Raises:
        ConfigurationError: it is none of these, a price in it cannot be read, or genai-prices is not installed.
    """
    if prices is None:
        from .genai import GenAIPrices

        return GenAIPrices()
    if isinstance(prices, Mapping):
        return MappingPrices(prices)
    if isinstance(prices, PriceBook):
        return prices
    if isinstance(prices, list | tuple):
        return FirstOf([price_book(each) for each in prices])
    raise ConfigurationError(
        f"prices must be a mapping, a price book or a list of them, got {prices!r}; "
        f"write {{'gpt-4o-mini': {{'input': '0.15', 'output': '0.60'}}}}"
    )
