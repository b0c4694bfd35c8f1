"""Validators of settings: what they refuse, and how they say it."""

import math
import random
from datetime import timedelta

import pytest
from attrs import field, frozen

from llamina.errors import ConfigurationError
from llamina.policy._validate import (
    at_least,
    between,
    boolean,
    finite,
    fraction,
    non_negative,
    not_above,
    not_below,
    one_of,
    optional,
    positive,
    random_source,
)

ALL = [
    at_least(0),
    between(0, 9),
    finite(),
    fraction(),
    non_negative(),
    positive(),
    not_below("floor"),
    not_above("roof"),
]
NO_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "1", None, 10**400, 1j, [1]]


def build(validator, value, *, name="size"):
    """An object with one setting that *validator* looks at."""

    @frozen
    class Shelf:
        floor: float = 0.0
        roof: float = 1e300
        setting: object = field(default=None, validator=validator, alias=name)

    return Shelf(**{name: value})


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("validator", ALL)
def test_what_is_no_finite_number_is_refused(validator, value):
    """NaN, infinity, booleans, texts and numbers beyond a float are refused by every numeric validator."""
    with pytest.raises(ConfigurationError):
        build(validator, value)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (at_least(1), [1, 1.5, 10**300], [0.999, 0, -1]),
        (at_least(1, integer=True), [1, 2**40], [0, 1.0, 1.5]),
        (between(0, 0.5), [0, 0.25, 0.5], [-0.1, 0.6]),
        (finite(), [-1e300, 0, 3], []),
        (fraction(), [0.001, 1], [0, 1.001, -0.5]),
        (non_negative(), [0, 0.0, 5], [-1e-9]),
        (positive(), [1e-300, 5], [0, -1]),
        (one_of("full", "none"), ["full", "none"], ["Full", "", None, 0, ["full"]]),
        (optional(positive()), [None, 1], [0]),
        (boolean(), [True, False], [0, 1, None, "no"]),
        (random_source(), [random.Random(1), random.SystemRandom(), random], [random.Random, 7, None, "x"]),
    ],
)
def test_the_ends_of_a_range_are_where_they_should_be(validator, good, bad):
    """Each validator takes its range, ends included where they belong to it, and nothing beside."""
    for value in good:
        assert build(validator, value) is not None

    for value in bad:
        with pytest.raises(ConfigurationError):
            build(validator, value)


def test_a_refusal_names_the_field_the_value_and_the_remedy():
    """The message can be acted on without a look at the source, and is a ValueError."""
    with pytest.raises(ValueError) as caught:
        build(at_least(1, integer=True, remedy="leave it out to disable it"), 0)

    assert str(caught.value) == "Shelf.size must be a whole number of at least 1, got 0; leave it out to disable it"


def test_a_refusal_shows_the_name_that_the_caller_wrote():
    """A field that is kept under another name is reported under the name of its argument."""
    with pytest.raises(ConfigurationError, match=r"^Shelf\.width must be a number above 0, got -1$"):
        build(positive(), -1, name="width")


def test_a_field_can_be_bounded_by_another():
    """Where one setting must not be below another, the refusal says what that one is."""

    @frozen
    class Wait:
        cap: float = field(validator=not_below("base"))
        base: float = 5.0

    assert Wait(5.0).cap == 5.0
    with pytest.raises(ConfigurationError, match=r"Wait\.cap must be at least base, which is 5\.0, got 4"):
        Wait(4)


def test_a_field_can_be_bounded_by_another_from_above():
    """Where one setting must not exceed another, the refusal says what that one is."""

    @frozen
    class Purse:
        price: float = field(validator=not_above("money"))
        money: float = 5.0

    assert Purse(5).price == 5
    with pytest.raises(ConfigurationError, match=r"Purse\.price must be at most money, which is 5\.0, got 6"):
        Purse(6)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("30", "; write 30, without quotes"),
        ("30s", "; write 30, without quotes"),
        ("half an hour", "; write a plain number, without quotes"),
        (timedelta(minutes=1.5), "; write the seconds, 90"),
        (None, "got None"),
    ],
)
def test_what_came_as_something_else_is_said_as_a_number(value, remedy):
    """A length of time is often at hand as a text or a timedelta."""
    with pytest.raises(ConfigurationError) as caught:
        build(positive(), value)

    assert str(caught.value).endswith(remedy)


def test_a_remedy_of_the_setting_goes_before():
    """It knows more."""
    with pytest.raises(ConfigurationError, match="leave it out$"):
        build(positive(remedy="leave it out"), "30")
