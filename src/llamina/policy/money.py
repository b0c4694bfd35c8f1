"""Money as whole numbers: what a call costs is added and compared without a rounding error.

    to_units("1.00")            # 1_000_000_000_000
    to_decimal(150_000)         # Decimal('1.5E-7'): one token at 0.15 USD per million

The unit is the pico-dollar, 1e-12 USD. Prices are quoted in USD per million tokens, mostly with two to six decimals, so
one token costs a whole number of pico-dollars (0.15 USD per million is exactly 150,000 a token) and any count of tokens
does too. Python's integers have no upper bound, and adding two of them takes a tenth of adding two Decimals.

The one surprise: floats are refused. 0.1 is not a tenth, and a limit that is a little off is found out too late; write
amounts as strings.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation

from llamina.errors import ConfigurationError

__all__ = ["UNITS_PER_USD", "parse_usd", "to_decimal", "to_units"]

UNITS_PER_USD = 10**12
"""Pico-dollars in one US dollar."""

_DECIMALS = 12
_LARGEST_EXPONENT = 15
# The default context rounds to 28 digits; a sum of money must come out as it went in, whatever its length.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation])


def to_units(amount: str | Decimal | int, name: str = "amount") -> int:
    """Pico-dollars in *amount* USD; *name* is what an error calls it.

    Raises:
        ConfigurationError: *amount* is a float, not a number, not finite, finer than a pico-dollar or beyond 1e16.
    """
    value = parse_usd(amount, name)
    units = value.scaleb(_DECIMALS, _EXACT)
    whole = int(units)
    if whole != units:
        raise ConfigurationError(f"{name} must have at most {_DECIMALS} decimals, got {amount!r}; round it")
    return whole


def to_decimal(units: int) -> Decimal:
    """USD in *units* pico-dollars: exact, without trailing zeros and without an exponent for whole dollars."""
    dollars, rest = divmod(units, UNITS_PER_USD)
    return Decimal(units).scaleb(-_DECIMALS, _EXACT).normalize(_EXACT) if rest else Decimal(dollars)


def parse_usd(amount: object, name: str) -> Decimal:
    """*amount* as a finite Decimal of a size that money has, or a ConfigurationError that names it."""
    if isinstance(amount, float):
        raise ConfigurationError(f"{name} must be exact, got the float {amount!r}; write it as a string: '{amount!r}'")
    if isinstance(amount, bool) or not isinstance(amount, str | int | Decimal):
        raise ConfigurationError(f"{name} must be an amount of USD, got {amount!r}; write it as a string like '1.50'")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise ConfigurationError(
            f"{name} must be an amount of USD, got {amount!r}; write digits and a point, like '1.50'"
        ) from None
    if not value.is_finite() or (value and value.adjusted() > _LARGEST_EXPONENT):
        raise ConfigurationError(f"{name} must be a finite amount of USD, got {amount!r}; write it like '1.50'")
    return value
