"""What the end of a call says about the service: a failure, a success, or nothing.

    error = telling(raised)             # None: it says nothing
    judge(error, classify)              # "failure", "success" or "neutral"

The one surprise: a cancellation says nothing, unless a time limit of ours was its reason. Then the service was too slow
for that limit, wherever in the stack it is, and the call counts as one that timed out.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from llamina.errors import RequestTimeoutError
from llamina.record import CutByLimit

__all__ = ["judge", "telling"]

_log = logging.getLogger("llamina.circuit_breaker")


def telling(error: BaseException) -> Exception | None:
    """The error that *error* is for a breaker, None when it says nothing about the service."""
    if isinstance(error, CancelledError) and error.args and isinstance(error.args[0], CutByLimit):
        return RequestTimeoutError(str(error.args[0]), limit="deadline")
    if isinstance(error, RequestTimeoutError) and not error.processed and error.limit in ("deadline", "pool"):
        return None  # no time was left, or no connection of ours was free: the service was not asked
    return error if isinstance(error, Exception) else None


def judge(error: Exception, classify: Callable[[Exception], Any]) -> str:
    """What *classify* makes of *error*; neutral when it fails, for the caller's error must not be replaced by its."""
    try:
        verdict = classify(error)
    except Exception:  # noqa: BLE001
        _log.warning("CircuitBreaker.classify failed; the call counts as neutral", exc_info=True)
        return "neutral"
    word = getattr(verdict, "breaker", verdict)
    if word not in ("failure", "success", "neutral"):
        _log.warning("CircuitBreaker.classify must return 'failure', 'success' or 'neutral', got %r", word)
        return "neutral"
    return str(word)
