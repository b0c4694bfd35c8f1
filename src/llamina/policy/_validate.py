"""Validators for settings: a wrong one is found when it is built, with the field, the value and the remedy.

    attempts: int = field(validator=at_least(1, integer=True, remedy="leave Retry out of the stack to disable it"))
    seconds: float | None = field(default=None, validator=optional(positive()))
    cap: float = field(default=30.0, validator=not_below("base"))

    Retry.attempts must be a whole number of at least 1, got 0; leave Retry out of the stack to disable it

The one surprise: True is no number here, though it is one to Python; nor are NaN, infinity, or a text of digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Any

from llamina.errors import ConfigurationError

__all__ = [
    "at_least",
    "between",
    "boolean",
    "finite",
    "fraction",
    "non_negative",
    "not_above",
    "not_below",
    "one_of",
    "optional",
    "positive",
    "random_source",
]

Validator = Callable[[Any, Any, Any], None]


def _refuse(instance: Any, attribute: Any, must: str, value: Any, remedy: str) -> None:
    # The name that the caller wrote, which may differ from the one that the object keeps it under.
    name = getattr(attribute, "alias", None) or attribute.name.lstrip("_")
    text = f"{type(instance).__name__}.{name} must be {must}, got {value!r}"
    raise ConfigurationError(f"{text}; {remedy}" if remedy else text)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # a whole number that no float can hold would fail in the first sum
        return False


def _number(holds: Callable[[float], bool], must: str, *, integer: bool = False, remedy: str = "") -> Validator:
    def validate(instance: Any, attribute: Any, value: Any) -> None:
        whole = isinstance(value, int) or not integer
        if not whole or not _is_number(value) or not holds(value):
            _refuse(instance, attribute, must, value, remedy or _plainly(value))

    return validate


def _plainly(value: Any) -> str:
    """How a number is written that came as something else."""
    if isinstance(value, timedelta):
        return f"write the seconds, {value.total_seconds():g}"
    if isinstance(value, str):
        number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", value)
        return f"write {number[1]}, without quotes" if number else "write a plain number, without quotes"
    return ""


def finite(*, remedy: str = "") -> Validator:
    """A number that is neither NaN nor infinite."""
    return _number(lambda _: True, "a finite number", remedy=remedy)


def at_least(minimum: float, *, integer: bool = False, remedy: str = "") -> Validator:
    """A finite number of at least *minimum*; a whole one with *integer*."""
    must = f"a whole number of at least {minimum}" if integer else f"at least {minimum}"
    return _number(lambda value: value >= minimum, must, integer=integer, remedy=remedy)


def positive(*, remedy: str = "") -> Validator:
    """A finite number above 0."""
    return _number(lambda value: value > 0, "a number above 0", remedy=remedy)


def non_negative(*, remedy: str = "") -> Validator:
    """A finite number of at least 0."""
    return _number(lambda value: value >= 0, "a number of at least 0", remedy=remedy)


def between(low: float, high: float, *, remedy: str = "") -> Validator:
    """A number from *low* to *high*, both included."""
    return _number(lambda value: low <= value <= high, f"a number from {low} to {high}", remedy=remedy)


def fraction(*, remedy: str = "") -> Validator:
    """A number above 0 and up to 1."""
    return _number(lambda value: 0 < value <= 1, "a share above 0 and up to 1", remedy=remedy)


def not_below(other: str, *, remedy: str = "") -> Validator:
    """A finite number above 0 that is at least the field *other* of the same object."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        positive(remedy=remedy)(instance, attribute, value)
        floor = getattr(instance, other)
        if value < floor:
            _refuse(instance, attribute, f"at least {other}, which is {floor!r}", value, remedy)

    return validate


def not_above(other: str, *, remedy: str = "") -> Validator:
    """A finite number above 0 that is at most the field *other* of the same object."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        positive(remedy=remedy)(instance, attribute, value)
        ceiling = getattr(instance, other)
        if value > ceiling:
            _refuse(instance, attribute, f"at most {other}, which is {ceiling!r}", value, remedy)

    return validate


def boolean(*, remedy: str = "") -> Validator:
    """True or False themselves: the text "no" would be as good as True."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            _refuse(instance, attribute, "True or False", value, remedy)

    return validate


def random_source(*, remedy: str = "pass random.Random(7) for waits that can be repeated") -> Validator:
    """An object whose `random()` draws from 0 to 1, as a `random.Random` has it."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, type) or not callable(getattr(value, "random", None)):
            _refuse(instance, attribute, "a source of random numbers", value, remedy)

    return validate


def one_of(*choices: str, remedy: str = "") -> Validator:
    """One of some words."""
    words = ", ".join(map(repr, choices))

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            _refuse(instance, attribute, f"one of {words}", value, remedy)

    return validate


def optional(validator: Validator) -> Validator:
    """None, or what *validator* takes."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return validate
