"""Validators for settings: a wrong one is found when it is built, with the field, the value and the remedy.

    attempts: int = field(validator=at_least(1, integer=True, remedy="leave Retry out of the stack to disable it"))
    seconds: float | None = field(default=None, validator=optional(positive()))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llamina.errors import ConfigurationError

__all__ = ["at_least", "fraction", "non_negative", "optional", "positive"]

Validator = Callable[[Any, Any, Any], None]


def _refuse(instance: Any, attribute: Any, must: str, value: Any, remedy: str) -> None:
    name = attribute.name.lstrip("_")
    text = f"{type(instance).__name__}.{name} must be {must}, got {value!r}"
    raise ConfigurationError(f"{text}; {remedy}" if remedy else text)


def _number(holds: Callable[[float], bool], must: str, *, integer: bool = False, remedy: str = "") -> Validator:
    kinds: Any = int if integer else (int, float)

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not holds(value):
            _refuse(instance, attribute, must, value, remedy)

    return validate


def at_least(minimum: float, *, integer: bool = False, remedy: str = "") -> Validator:
    """A finite number of at least *minimum*; a whole one with *integer*."""
    must = f"at least {minimum}" if not integer else f"a whole number of at least {minimum}"
    return _number(lambda value: value >= minimum, must, integer=integer, remedy=remedy)


def positive(*, remedy: str = "") -> Validator:
    """A finite number above 0."""
    return _number(lambda value: value > 0, "a number above 0", remedy=remedy)


def non_negative(*, remedy: str = "") -> Validator:
    """A finite number of at least 0."""
    return _number(lambda value: value >= 0, "a number of at least 0", remedy=remedy)


def fraction(*, remedy: str = "") -> Validator:
    """A number above 0 and up to 1."""
    return _number(lambda value: 0 < value <= 1, "a share above 0 and up to 1", remedy=remedy)


def optional(validator: Validator) -> Validator:
    """None, or what *validator* takes."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return validate
