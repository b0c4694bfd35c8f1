"""Waits between tries as a list, like those of a runbook: after a second, then five, then half a minute.

    Retry(attempts=6, backoff=Steps([1, 5, 30]))     # waits about 1, 5, 30, 30, 30 seconds

In a stack file: `backoff = { type = "steps", seconds = [1, 5, 30] }`.

The one surprise: a step is the longest wait, not the wait. By default a quarter of it is left to chance, so that
clients which failed together do not come back together.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import isfinite
from typing import Any

from attrs import Attribute, field, frozen
from llamina import ConfigurationError

__all__ = ["Steps"]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _steps(_: object, setting: Attribute[Any], value: tuple[float, ...]) -> None:
    if not value or not all(_number(step) and step >= 0 for step in value) or sorted(value) != list(value):
        raise ConfigurationError(
            f"Steps.{setting.name} must be seconds that never fall, at least one, got {list(value)!r}; write [1, 5, 30]"
        )


def _share(_: object, setting: Attribute[Any], value: float) -> None:
    if not _number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"Steps.{setting.name} must be a share from 0 to 1, got {value!r}")


def _as_steps(seconds: Sequence[float]) -> tuple[float, ...]:
    if isinstance(seconds, str) or not isinstance(seconds, Sequence):
        raise ConfigurationError(f"Steps.seconds must be a list of seconds, got {seconds!r}; write [1, 5, 30]")
    return tuple(seconds)


@frozen
class Steps:
    """Wait *seconds*[0] after the first try, *seconds*[1] after the second ... and the last of them from then on.

    Args:
        seconds: the longest waits, in seconds, one after the other; none is shorter than the one before.
        jitter: the share of each wait that is left to chance, from 0 (none) to 1 (all of it).

    Raises:
        ConfigurationError: a setting is out of its range.
    """

    seconds: tuple[float, ...] = field(default=(1.0, 5.0, 30.0), converter=_as_steps, validator=_steps)
    jitter: float = field(default=0.25, validator=_share)
    rng: random.Random = field(factory=random.Random, kw_only=True, repr=False, eq=False)

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait after try number *attempt*, which counts from 1."""
        longest = self.seconds[min(max(attempt, 1), len(self.seconds)) - 1]
        return longest * (1 - self.jitter * self.rng.random())
