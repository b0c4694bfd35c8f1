"""Prices as a stack file says them: what a book was made of, reckoned back from what it knows.

written_prices(MappingPrices({"m": {"input": "0.15", "output": "0.60"}}), "prices")
# {"m": {"input": "0.15", "output": "0.6"}}
"""

from __future__ import annotations

from typing import Any

from .errors import ConfigurationError
from .policy.genai import GenAIPrices
from .policy.money import to_decimal
from .policy.prices import FirstOf, MappingPrices, Price

__all__ = ["BOOKS", "written_prices"]

BOOKS = (MappingPrices, FirstOf, GenAIPrices, Price)
_RATES = (
    ("input", "input"),
    ("output", "output"),
    ("cache_read", "input"),
    ("cache_write", "input"),
    ("cache_write_long", "cache_write"),
    ("reasoning", "output"),
    ("input_audio", "input"),
    ("output_audio", "output"),
)
"""The rates of a price, each with the one that it is without being said."""


def written_prices(book: Any, path: str) -> Any:
    """A price book as a file says it."""
    if isinstance(book, Price):
        return _price(book)
    if isinstance(book, FirstOf):
        return [written_prices(one, path) for one in book.books]
    if isinstance(book, MappingPrices):
        return {
            **{name: _price(price) for name, price in book._exact.items()},
            **{f"{start}*": _price(price) for start, price in book._starred},
        }
    if isinstance(book, GenAIPrices) and not book.context:
        return "genai"
    raise ConfigurationError(f"{path}: {type(book).__name__} cannot be said in a stack file; build this stack in code")


def _price(price: Price) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, other in _RATES:
        amount = getattr(price, name)
        if name == other or amount != getattr(price, other):
            table[name] = f"{to_decimal(amount * 10**6):f}"
    if price.request:
        table["request"] = f"{to_decimal(price.request):f}"
    if price.above:
        table["above"] = {str(bound): _all_rates(tier) for bound, tier in price.above}
    if price.batch is not None:
        table["batch"] = _price(price.batch)
    return table


def _all_rates(price: Price) -> dict[str, str]:
    # A tier that leaves a rate out has that of the price below it, so all are said.
    rates = {name: f"{to_decimal(getattr(price, name) * 10**6):f}" for name, _ in _RATES}
    return {**rates, "request": f"{to_decimal(price.request):f}"}
