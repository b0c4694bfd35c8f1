"""Running totals of attempts, over all and by every tag, bounded in rows.

    rows = Rows(max_rows=1000)
    rows.add(attempt, units, {"user": "ada"}, first=True)
    rows.totals().cost, rows.by("user")["ada"].attempts

The one surprise: a value keeps the row that it got. The first *max_rows* values of a tag have rows, and whoever comes
later is counted under "other", however much he uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from .money import to_decimal

if TYPE_CHECKING:
    from llamina.call import Attempt

__all__ = ["OTHER", "Rows", "Totals"]

OTHER = "other"
"""The row of all values beyond the bound."""

# What callers send must not grow memory without end: names that have rows ("model" and "provider" among them), and kinds
# of calls that are told apart before they are folded into sums.
_TAGS = 32
_KINDS = 1024


@define(repr=False)  # plain slots: a count is added to in half the time that a struct takes
class Totals:
    """What a group of calls used.

    Attributes:
        requests: logical calls; attempts: physical tries.
        input_tokens, output_tokens: exact and estimated ones together; the other tokens are part of them, as in `Usage`.
        estimated: attempts whose tokens are an estimate; unpriced: attempts of a model without a price, which are not
            in `cost`: where it is not 0, read `cost` as "at least".
    """

    requests: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    estimated: int = 0
    unpriced: int = 0
    _units: int = field(default=0, alias="_units")

    @property
    def cost(self) -> Decimal:
        """USD, exact."""
        return to_decimal(self._units)

    def include(self, other: Totals) -> None:
        """Add the counts of *other*."""
        self.requests += other.requests
        self.attempts += other.attempts
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.cache_write_long_tokens += other.cache_write_long_tokens
        self.input_audio_tokens += other.input_audio_tokens
        self.output_audio_tokens += other.output_audio_tokens
        self.estimated += other.estimated
        self.unpriced += other.unpriced
        self._units += other._units

    def __repr__(self) -> str:
        notes = f", {self.estimated} estimated" if self.estimated else ""
        notes += f", {self.unpriced} unpriced" if self.unpriced else ""
        return (
            f"Totals({self.cost:f} USD, {self.requests} requests, {self.attempts} attempts, "
            f"{self.input_tokens}+{self.output_tokens} tokens{notes})"
        )


class Rows:
    """One row for each kind of call (model, provider, tags); sums over them are made when they are asked for."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._kinds: dict[tuple[object, ...], Totals] = {}
        self._folded = Totals()
        self._folded_by: dict[str, dict[str, Totals]] = {"model": {}, "provider": {}}

    def add(self, attempt: Attempt, units: int | None, tags: Mapping[str, str], first: bool) -> None:  # noqa: FBT001
        """Count *attempt*, which cost *units* pico-dollars (None: no price); *first* of its logical call or not."""
        key = (attempt.model, attempt.provider, *tags.items()) if tags else (attempt.model, attempt.provider)
        row = self._kinds.get(key)
        if row is None:
            if len(self._kinds) >= _KINDS:
                self._fold()
            row = self._kinds[key] = Totals()
        row.attempts += 1
        if first:
            row.requests += 1
        usage = attempt.usage
        if usage is not None:
            row.input_tokens += usage.input_tokens
            row.output_tokens += usage.output_tokens
            if usage.cache_read_tokens:
                row.cache_read_tokens += usage.cache_read_tokens
            if usage.reasoning_tokens:
                row.reasoning_tokens += usage.reasoning_tokens
            if usage.cache_write_tokens:
                row.cache_write_tokens += usage.cache_write_tokens
                row.cache_write_long_tokens += usage.cache_write_long_tokens
            if usage.input_audio_tokens or usage.output_audio_tokens:
                row.input_audio_tokens += usage.input_audio_tokens
                row.output_audio_tokens += usage.output_audio_tokens
        if attempt.usage_source != "exact":
            row.estimated += 1
        if units is None:
            row.unpriced += 1
        else:
            row._units += units

    def _fold(self) -> None:
        """Make room: keep the sums of the kinds so far, and forget which combinations made them."""
        for key, row in self._kinds.items():
            self._folded.include(row)
            for tag, value in _names(key).items():
                if tag in self._folded_by or len(self._folded_by) < _TAGS:
                    self._include(self._folded_by.setdefault(tag, {}), value, row)
        self._kinds.clear()

    def _include(self, table: dict[str, Totals], value: str, row: Totals) -> None:
        if value not in table and len(table) >= self._max_rows:
            value = OTHER
        table.setdefault(value, Totals()).include(row)

    def totals(self) -> Totals:
        """The totals of everything."""
        total = evolve(self._folded)
        for row in self._kinds.values():
            total.include(row)
        return total

    def by(self, tag: str) -> dict[str, Totals]:
        """The totals by the values of *tag*, of "model" or of "provider"; calls without the tag are in none of them.

        Where callers invent names of tags without end, only those that came first keep what was counted long ago.
        """
        table = {value: evolve(row) for value, row in self._folded_by.get(tag, {}).items()}
        for key, row in self._kinds.items():
            value = _names(key).get(tag)
            if value is not None:
                self._include(table, value, row)
        return table


def _names(key: tuple[Any, ...]) -> dict[str, str]:
    model, provider, *tags = key
    return {**dict(tags), "model": model, "provider": provider or "unknown"}
