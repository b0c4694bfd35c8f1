"""Money: whole pico-dollars inside, exact Decimals outside, floats nowhere."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.policy.money import UNITS_PER_USD, to_decimal, to_units


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        ("1.00", 10**12),
        ("0.15", 15 * 10**10),
        (Decimal("0.000000000001"), 1),
        (3, 3 * 10**12),
        ("0", 0),
        ("-2.5", -25 * 10**11),
        ("1e-6", 10**6),
    ],
)
def test_an_amount_of_usd_is_a_whole_number_of_units(amount, units):
    """Strings, ints and Decimals become pico-dollars exactly."""
    result = to_units(amount)

    assert result == units
    assert type(result) is int


def test_a_token_at_fifteen_cents_a_million_is_a_whole_number():
    """The unit is fine enough for prices as they are quoted."""
    per_million = to_units("0.15")

    token, rest = divmod(per_million, 1_000_000)

    assert (token, rest) == (150_000, 0)


@pytest.mark.parametrize(
    ("amount", "remedy"),
    [
        (0.1, "write it as a string: '0.1'"),
        (float("nan"), "write it as a string"),
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("1e17", "finite"),
        ("1e99999999", "finite"),
        ("0.0000000000001", "at most 12 decimals"),
        ("five", "write digits"),
        ("$5", "write digits"),
        ("", "write digits"),
        (None, "write it as a string"),
        (True, "write it as a string"),
    ],
)
def test_what_is_no_exact_amount_is_refused_with_a_remedy(amount, remedy):
    """The error names the field, the value and what to write."""
    with pytest.raises(ConfigurationError, match=r"Budget\.limit must") as caught:
        to_units(amount, "Budget.limit")

    assert remedy in str(caught.value)
    assert repr(amount) in str(caught.value)


@given(st.integers(-(10**60), 10**60))
def test_units_come_back_from_a_decimal_as_they_went_in(units):
    """No amount is rounded, however long it is."""
    amount = to_decimal(units)

    digits = amount.as_tuple()
    value = int("".join(map(str, digits.digits))) * (-1 if digits.sign else 1)
    assert value * 10 ** (int(digits.exponent) + 12) == units


@given(st.integers(-(10**27), 10**27))
def test_both_ways_give_the_same_number(units):
    """`to_units` undoes `to_decimal`."""
    amount = to_decimal(units)

    assert to_units(amount) == units


@pytest.mark.parametrize(("units", "text"), [(10**12, "1"), (100 * 10**12, "100"), (10**10, "0.01"), (0, "0")])
def test_a_decimal_reads_well(units, text):
    """No trailing zeros, and no exponent in whole dollars."""
    assert str(to_decimal(units)) == text


def test_the_decimal_context_of_the_program_changes_nothing():
    """A program that rounds its Decimals to four digits still reads exact money."""
    with localcontext() as context:
        context.prec = 4

        amount = to_decimal(1_234_567_890_123)

    assert amount == Decimal("1.234567890123")
    assert to_units("1.234567890123") == 1_234_567_890_123
    assert UNITS_PER_USD == 10**12
