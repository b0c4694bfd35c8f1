"""Prices of some two thousand models from the genai-prices package (extra `prices`), as whole numbers.

    prices = GenAIPrices()
    prices.price("gpt-4o-mini", "openai").cost(usage)

The package is loaded when the first price is asked for (about 0.3 s; `warm()` does it earlier) and never goes to the
network by itself. A model is looked up once and then costs a dict access; a price that depends on the date or the hour
is looked up again every minute.

What the list does not say of a kind of token is taken from the kind that it is a part of. So nothing is multiplied here:
Anthropic's rule for its cache (1.25 times the price of input for five minutes, twice that price for an hour) is in the
list as prices, for every model that Anthropic sells with a cache.

The one surprise: the list prices tokens and requests here. Web searches, pages and audio by the hour are not in a
`Usage` and so not in the cost; a model that is priced by such things alone has no price.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any

from attrs import evolve

from llamina.errors import ConfigurationError

from .prices import REMEMBERED, Price

__all__ = ["GenAIPrices"]

_log = logging.getLogger("llamina")
_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_long": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
}
_PER_REQUEST = "requests_kcount"
_MINUTE = 60.0
# The list holds floats that were written out (0.13999999999999999); six decimals of USD per million tokens is one
# pico-dollar a token.
_STEP = Decimal("0.000001")


class GenAIPrices:
    """A price book on the genai-prices package.

    *context* chooses variants that the list knows, such as `{"service_tier": "priority"}`; the batch price of a model
    comes with it in any case. The list is taken as it is when it is first needed: `refresh()` takes it again, for
    programs that have the package update itself.

    Raises:
        ConfigurationError: the package is not installed.
    """

    def __init__(self, context: Mapping[str, str] | None = None) -> None:
        if importlib.util.find_spec("genai_prices") is None:
            raise ConfigurationError(
                "GenAIPrices needs the package genai-prices, which is not installed; install llamina[prices], "
                "or give prices as a mapping"
            )
        self.context = dict(context or {})
        self.snapshot = ""
        """Which list the prices are from: the package's version, and the moment of an update."""
        self._providers: list[Any] | None = None
        self._entries = lru_cache(REMEMBERED)(_Entry)

    def warm(self) -> None:
        """Load the list now, not with the first call."""
        if self._providers is None:
            self._load()

    def refresh(self) -> None:
        """Take the package's current list, and forget what was looked up."""
        self._load()
        self._entries.cache_clear()

    def _load(self) -> None:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot

        current = get_snapshot()
        self._providers = current.providers
        self.snapshot = f"genai-prices {genai_prices.__version__}"
        if current.from_auto_update:
            self.snapshot += f" of {current.timestamp.isoformat(timespec='seconds')}"

    def price(self, model: str, provider: str | None) -> Price | None:
        """The price of *model* at *provider* now, or None where the list does not know it.

        Without a provider the package tells it from the names that only one maker uses (`gpt-`, `claude`, `gemini`).
        """
        entry = self._entries(model, provider)
        if entry.until != math.inf:
            moment = datetime.now(UTC)
            if not entry.since <= moment.timestamp() < entry.until:
                self._resolve(entry, model, provider, moment)
        return entry.price

    def _resolve(self, entry: _Entry, model: str, provider: str | None, moment: datetime) -> None:
        lasting = True
        try:
            entry.price, lasting = self._look_up(model, provider, moment)
        except LookupError:
            entry.price = None
        except Exception:  # noqa: BLE001 - the package is not ours: what it cannot say is unknown, never a failed call
            entry.price = None
            _log.warning("genai-prices could not be asked for the price of %r at %r", model, provider, exc_info=True)
        entry.since = moment.timestamp() // _MINUTE * _MINUTE
        entry.until = math.inf if lasting else entry.since + _MINUTE

    def _look_up(self, model: str, provider: str | None, moment: datetime) -> tuple[Price | None, bool]:
        """The price, and whether it is the same at any other moment."""
        from genai_prices.data_snapshot import DataSnapshot

        self.warm()
        # A snapshot object of its own, thrown away at once: the package's caches hold every name ever asked for.
        snapshot = DataSnapshot(providers=self._providers or [], from_auto_update=False)
        found, info = snapshot.find_provider_model(model, None, provider, None)
        source = f"{self.snapshot} {found.id}/{info.id}"
        # A model that this provider borrows from another's list is not sold in the other's variants.
        own = any(info is each for each in found.models)
        price = _convert(info.get_prices(moment, self.context if own else None), source)
        if price is not None and own:
            batch = _convert(info.get_prices(moment, {**self.context, "processing": "batch"}), source)
            price = price if batch is None or batch == price else evolve(price, batch=batch)
        dated = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
        return price, all(_lasts(each.constraint, moment) for each in dated)


class _Entry:
    """The price of one model, and the stretch of time in which that holds."""

    __slots__ = ("price", "since", "until")

    def __init__(self, _model: str, _provider: str | None) -> None:
        self.price: Price | None = None
        self.since, self.until = math.inf, -math.inf


def _lasts(constraint: Any, moment: datetime) -> bool:
    """Whether what *constraint* says at *moment* is what it will always say: there is none, or its date has come."""
    return constraint is None or (hasattr(constraint, "start_date") and constraint.active(moment))


def _convert(prices: Any, source: str) -> Price | None:
    """The package's price of a model as one of ours; None where it has no price for input tokens."""
    given = {name: getattr(prices, key, None) for name, key in _KEYS.items()}
    if given["input"] is None:
        return None
    starts = {tier.start for value in given.values() for tier in getattr(value, "tiers", ())}
    request = _units(getattr(prices, _PER_REQUEST, None) or Decimal(0), Decimal(10) ** 9)

    def above(bound: int) -> Price:
        rates: dict[str, Any] = {
            name: _units(_applicable(value, bound)) for name, value in given.items() if value is not None
        }
        rates.setdefault("output", 0)  # models without an answer, such as embeddings, have no price for it
        return Price(**rates, request=request, source=source)

    return evolve(above(-1), above=tuple([(start, above(start)) for start in sorted(starts)]))


def _applicable(value: Any, bound: int) -> Decimal:
    """The plain or tiered price *value* for an input of more than *bound* tokens."""
    price: Decimal = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if bound >= tier.start:
            price = tier.price
    return price


def _units(price: Decimal, factor: Decimal = Decimal(10) ** 6) -> int:
    return int(price.quantize(_STEP, ROUND_HALF_EVEN) * factor)
