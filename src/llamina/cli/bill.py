"""What the simulated provider billed, line by line, beside what the ledgers say.

    bill = Bill.of(provider)
    bill.find(attempts), bill.cost_of(attempts), bill.total

The one surprise: lines have no names. An attempt is on the bill if a line of its model has its very counts, and each
line is found once.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any, NamedTuple

from llamina.call import Attempt
from llamina.messages import Usage
from llamina.policy.money import to_decimal
from llamina.policy.prices import MappingPrices

from .scenario import PRICES

__all__ = ["Bill", "Line"]

_BOOK = MappingPrices(PRICES)


class Line(NamedTuple):
    """One line of a bill."""

    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int

    @property
    def cost(self) -> Decimal:
        """USD."""
        price = _BOOK.price(self.model, None)
        assert price is not None
        return to_decimal(price.cost(Usage(**{name: getattr(self, name) for name in self._fields[1:]})))


class Bill:
    """What the provider billed, entry by entry."""

    def __init__(self, entries: list[Line]) -> None:
        self._entries = Counter(entries)
        self.total = sum([entry.cost for entry in entries], Decimal(0))

    @classmethod
    def of(cls, provider: Any) -> Bill:
        """The bill of *provider*."""
        return cls([_entry(model, usage) for model, usage in provider.bills])

    def _matched(self, attempts: list[Attempt]) -> Counter[Line]:
        charged = [attempt for attempt in attempts if attempt.usage and attempt.usage.total_tokens]
        mine = Counter([_entry(attempt.model, attempt.usage) for attempt in charged])
        return mine & self._entries

    def find(self, attempts: list[Attempt]) -> int:
        """How many of *attempts* are on the bill with the same model and the same count."""
        return self._matched(attempts).total()

    def cost_of(self, attempts: list[Attempt]) -> Decimal:
        """What those cost."""
        return sum([count * entry.cost for entry, count in self._matched(attempts).items()], Decimal(0))

    @staticmethod
    def free(attempts: list[Attempt]) -> int:
        """How many of *attempts* certainly cost nothing, so that they are on no bill."""
        return len([attempt for attempt in attempts if not (attempt.usage and attempt.usage.total_tokens)])


def _entry(model: str, usage: Usage | None) -> Line:
    counts = usage or Usage()
    return Line(model, counts.input_tokens, counts.output_tokens, counts.cache_read_tokens, counts.reasoning_tokens)
