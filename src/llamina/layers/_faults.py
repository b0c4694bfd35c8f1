"""What can be made to go wrong with one call, and how chance or a script chooses it.

    Fault(latency=2.0, error=OverloadedError("..."))
    read_fault({"truncate": 2})                  # an item of a script
    Draw(seed, identity, number).chance(0, 0.1)  # whether a fault of 10 % strikes this call

The one surprise: nothing is drawn from a generator that calls share. What happens to a call follows from the seed, what
it asks, and how often that was asked before: so calls side by side do not change each other's luck.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, TypeAlias

from attrs import evolve, frozen

from llamina import errors as tree
from llamina.errors import ConfigurationError, LLMError, MalformedResponseError, NetworkError

__all__ = ["WORDS", "Draw", "ErrorChoice", "Fault", "read_error", "read_fault", "weighted"]

ErrorChoice: TypeAlias = str | type[LLMError] | LLMError

_SAYS = "a fault on purpose"
WORDS: dict[str, tuple[type[LLMError], Mapping[str, Any]]] = {
    "network_error": (tree.NetworkError, {}),
    "timeout": (tree.RequestTimeoutError, {"limit": "read"}),
    "server_error": (tree.ServerError, {"status": 500}),
    "overloaded": (tree.OverloadedError, {"status": 529}),
    "rate_limited": (tree.RateLimitError, {"status": 429}),
    "quota_exceeded": (tree.QuotaExceededError, {"status": 429, "code": "insufficient_quota"}),
    "malformed": (tree.MalformedResponseError, {"status": 200}),
    "unauthenticated": (tree.AuthenticationError, {"status": 401}),
    "permission_denied": (tree.PermissionDeniedError, {"status": 403}),
    "not_found": (tree.NotFoundError, {"status": 404}),
    "invalid_request": (tree.InvalidRequestError, {"status": 400}),
    "context_length": (tree.ContextLengthError, {"status": 400}),
    "content_filter": (tree.ContentFilterError, {"status": 400}),
}
"""The words for errors: those that the ledger and the logs show."""
WORDS["network"] = WORDS["network_error"]

_KEYS = ("latency", "error", "retry_after", "status", "code", "truncate", "stall", "after")
_CUTS = (NetworkError, MalformedResponseError)


@frozen
class Fault:
    """What goes wrong with one call; everything at its default is a call that goes well.

    Attributes:
        latency: seconds before it is sent on, or fails.
        error: how it fails, without being sent.
        truncate: pieces of a stream after which it is cut, with an error of the class *cut*.
        stall: seconds for which a stream stands still, once *after* pieces have come.
    """

    latency: float = 0.0
    error: LLMError | None = None
    truncate: int | None = None
    cut: type[LLMError] = NetworkError
    stall: float = 0.0
    after: int = 1

    @property
    def spoils_the_answer(self) -> bool:
        """Whether something happens after the call was sent."""
        return self.truncate is not None or self.stall > 0


def read_error(choice: Any, *, where: str, **facts: Any) -> LLMError:
    """The error that a word, a class or an error means, with *facts* of its own.

    Raises:
        ConfigurationError: it means none; *where* is named.
    """
    if isinstance(choice, LLMError):
        error = choice.copy()
    elif isinstance(choice, type) and issubclass(choice, LLMError):
        try:
            error = choice(_SAYS)
        except TypeError as wrong:
            raise ConfigurationError(
                f"{where} has the class {choice.__name__}, which needs more than a message; give an error of it instead"
            ) from wrong
    elif isinstance(choice, str) and choice in WORDS:
        kind, usual = WORDS[choice]
        error = kind(_SAYS, **usual)
    else:
        near = (
            difflib.get_close_matches(choice, [*WORDS, "ok", "truncate", "stall"], 1) if isinstance(choice, str) else []
        )
        hint = f"did you mean {near[0]!r}?" if near else f"the words are {', '.join(WORDS)}"
        raise ConfigurationError(f"{where} must be a word for an error, an LLMError or a class, got {choice!r}; {hint}")
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def weighted(choices: Any, *, where: str) -> list[tuple[float, LLMError]]:
    """Errors, each with the share up to which a number from 0 to 1 means it.

    Raises:
        ConfigurationError: there is none, one of them means nothing, or a weight is no number above 0.
    """
    if isinstance(choices, Mapping):
        pairs = list(choices.items())
    elif isinstance(choices, Sequence) and not isinstance(choices, str):
        pairs = [(choice, 1) for choice in choices]
    else:
        pairs = [(choices, 1)]
    for choice, weight in pairs:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < inf:
            raise ConfigurationError(f"{where}[{choice!r}] must be a weight above 0, got {weight!r}")
    if not pairs:
        raise ConfigurationError(f'{where} must name at least one error, got {choices!r}; write ["overloaded"]')
    sums = list(accumulate([weight for _, weight in pairs]))
    if not sums[-1] < inf:
        raise ConfigurationError(f"{where} must be weights whose sum is a number, got {choices!r}")
    return [(up_to / sums[-1], read_error(choice, where=where)) for (choice, _), up_to in zip(pairs, sums, strict=True)]


def read_fault(item: Any, *, where: str, stall: float) -> Fault:
    """The fault that an item of a script means: "ok", a word for an error, "truncate", "stall", or a mapping.

    Raises:
        ConfigurationError: it means none.
    """
    if item == "ok":
        return Fault()
    if item == "truncate":
        return Fault(truncate=1)
    if item == "stall":
        return Fault(stall=stall)
    if not isinstance(item, Mapping):
        return Fault(error=read_error(item, where=where))
    unknown = [key for key in item if key not in _KEYS]
    if unknown or not item:
        what = f"has the key {unknown[0]!r}" if unknown else "is empty"
        raise ConfigurationError(f"{where} {what}; its keys are {', '.join(_KEYS)}")
    cut_after = _number(item, "truncate", where, whole=True) if "truncate" in item else None
    fault = Fault(
        latency=_number(item, "latency", where),
        truncate=None if cut_after is None else int(cut_after),
        stall=_number(item, "stall", where),
        after=int(_number(item, "after", where, whole=True, usual=1)),
    )
    if "error" not in item:
        if lost := [key for key in ("retry_after", "status", "code") if key in item]:
            raise ConfigurationError(f'{where} has {lost[0]!r}, but no "error" that it could belong to')
        return fault
    facts = {key: item[key] for key in ("retry_after", "status", "code") if key in item}
    if "retry_after" in facts:
        _number(item, "retry_after", where)
    if "status" in facts and type(facts["status"]) is not int:
        raise ConfigurationError(f"{where}.status must be an HTTP status, got {facts['status']!r}")
    error = read_error(item["error"], where=f"{where}.error", **facts)
    if fault.truncate is None:
        return evolve(fault, error=error)
    if not isinstance(error, _CUTS) or facts:
        raise ConfigurationError(f'{where} cuts a stream; its "error" must be "network_error" or "malformed"')
    return evolve(fault, cut=type(error))


def _number(item: Mapping[str, Any], key: str, where: str, *, whole: bool = False, usual: float = 0) -> float:
    value = item.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 <= value < inf:
        must = "a whole number of pieces" if whole else "a number of seconds"
        raise ConfigurationError(f"{where}.{key} must be {must} of at least 0, got {value!r}")
    return value


class Draw:
    """Numbers from 0 to 1, the same for the same call in every process."""

    __slots__ = ("_bits",)

    def __init__(self, seed: int, identity: str, number: int) -> None:
        words = f"{seed} {identity} {number}".encode()
        self._bits = hashlib.blake2b(words, digest_size=64).digest()

    def number(self, place: int) -> float:
        """The number at *place*, of 16."""
        return int.from_bytes(self._bits[4 * place : 4 * place + 4]) / 2**32

    def chance(self, place: int, rate: float) -> bool:
        """Whether what happens with this *rate* happens."""
        return self.number(place) < rate

    def between(self, place: int, low: float, high: float) -> float:
        """A number from *low* to *high*."""
        return low + (high - low) * self.number(place)

    def whole(self, place: int, low: int, high: int) -> int:
        """A whole number from *low* to *high*, both included."""
        return low + int((high - low + 1) * self.number(place))
