"""Running totals of attempts, over all and by every tag, bounded in rows.

    rows = Rows(max_rows=1000)
    rows.add(attempt, units, {"user": "ada"}, first=True)
    rows.totals().cost, rows.by("user")["ada"].attempts
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from .money import to_decimal

if TYPE_CHECKING:
    from llamina.call import Attempt

__all__ = ["OTHER", "Rows", "Totals"]

OTHER = "other"
"""The row of all values beyond the bound."""

_TAGS = 32  # names of tags that have rows; what callers send must not grow memory without end


class Totals(msgspec.Struct):
    """What a group of calls used.

    Attributes:
        requests: logical calls; attempts: physical tries.
        input_tokens, output_tokens, cache_read_tokens, reasoning_tokens: exact and estimated ones together.
        estimated: attempts whose tokens are an estimate; unpriced: attempts of a model without a price, which are not
            in `cost`: where it is not 0, read `cost` as "at least".
    """

    requests: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    unpriced: int = 0
    _units: int = 0

    @property
    def cost(self) -> Decimal:
        """USD, exact."""
        return to_decimal(self._units)

    def __repr__(self) -> str:
        notes = f", {self.estimated} estimated" if self.estimated else ""
        notes += f", {self.unpriced} unpriced" if self.unpriced else ""
        return (
            f"Totals({self.cost:f} USD, {self.requests} requests, {self.attempts} attempts, "
            f"{self.input_tokens}+{self.output_tokens} tokens{notes})"
        )


class Rows:
    """The totals of everything and of each value of each tag, kept up to date with each attempt."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._all = Totals()
        self._by: dict[str, dict[str, Totals]] = {"model": {}, "provider": {}}
        self._known: dict[tuple[object, ...], list[Totals]] = {}

    def add(self, attempt: Attempt, units: int | None, tags: Mapping[str, str], first: bool) -> None:  # noqa: FBT001
        """Count *attempt*, which cost *units* pico-dollars (None: no price); *first* of its logical call or not."""
        key = (attempt.model, attempt.provider, *tags.items())
        rows = self._known.get(key)
        if rows is None:
            rows = self._find(key, attempt, tags)
        usage = attempt.usage
        estimated = attempt.usage_source != "exact"
        for row in rows:
            row.requests += first
            row.attempts += 1
            if usage is not None:
                row.input_tokens += usage.input_tokens
                row.output_tokens += usage.output_tokens
                row.cache_read_tokens += usage.cache_read_tokens
                row.reasoning_tokens += usage.reasoning_tokens
            if estimated:
                row.estimated += 1
            if units is None:
                row.unpriced += 1
            else:
                row._units += units

    def _find(self, key: tuple[object, ...], attempt: Attempt, tags: Mapping[str, str]) -> list[Totals]:
        """The rows that one kind of call counts in; looked up once for each kind."""
        if len(self._known) >= 4096:
            self._known.clear()
        named = {"model": attempt.model, "provider": attempt.provider or "unknown"}
        rows = [self._all]
        for tag, value in {**tags, **named}.items():
            table = self._by.get(tag)
            if table is None:
                if len(self._by) >= _TAGS:
                    continue
                table = self._by[tag] = {}
            if value not in table and len(table) >= self._max_rows:
                value = OTHER
            row = table.get(value)
            if row is None:
                row = table[value] = Totals()
            rows.append(row)
        self._known[key] = rows
        return rows

    def totals(self) -> Totals:
        """A copy of the totals of everything."""
        return msgspec.structs.replace(self._all)

    def by(self, tag: str) -> dict[str, Totals]:
        """Copies of the totals by the values of *tag*."""
        return {value: msgspec.structs.replace(row) for value, row in self._by.get(tag, {}).items()}
