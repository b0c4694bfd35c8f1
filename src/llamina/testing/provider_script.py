"""Words for the faults that a `SimulatedProvider` plays, besides the answers of `llamina.testing.script`.

    status(429, retry_after=2)          # a refusal; status(503), status(529), status(429, code="insufficient_quota")
    ["par", cut()]                      # the socket closes in mid-stream
    ["par", stall()]                    # nothing more comes, the socket stays open
    ["par", error_event("overloaded_error")]
    garbage()                           # a 200 that is no completion
    slow_headers(5), drip("slow", 0.01), no_usage("uncounted"), no_done("unfinished")
    with_headers("limited", {"x-ratelimit-remaining-tokens": "90"})

A fault in a timeline happens at its place; alone it is the whole answer. The last two lines are manners: they take any item
and change how it is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from llamina.errors import ConfigurationError, LLMError, NetworkError
from llamina.policy._validate import non_negative

from .script import check_item

__all__ = [
    "Manner",
    "check_timeline",
    "cut",
    "drip",
    "error_event",
    "garbage",
    "in_manner",
    "is_billed",
    "no_done",
    "no_usage",
    "slow_headers",
    "stall",
    "status",
    "with_headers",
]

_SENTENCES = {
    400: "the request is not valid",
    401: "the API key is not accepted",
    402: "the balance is used up",
    403: "the API key may not do this",
    404: "the model does not exist",
    408: "the request took too long",
    409: "the request collides with another",
    413: "the request is too large",
    422: "the request cannot be processed",
    429: "too many requests, slow down",
    500: "the server failed",
    502: "bad gateway",
    503: "the service is unavailable",
    504: "the gateway timed out",
    529: "the service is overloaded",
}
_UNPROCESSED = (503, 529)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>It works!</h1></body></html>"


@frozen
class Status:
    """A refusal with an HTTP status; where *code* and *type* are None the wire has its usual words."""

    status: int
    message: str
    code: str | None
    type: str | None
    headers: Mapping[str, str]
    billed: bool


@frozen
class Cut:
    """The connection closes; *reset* sends an RST, which may overtake what was sent before; *quietly* as if all had come."""

    reset: bool = False
    quietly: bool = False


@frozen
class Garbage:
    """A success whose body is no completion."""

    body: str
    content_type: str


@frozen
class Stall:
    """Nothing more comes, the connection stays open."""


@frozen
class ErrorEvent:
    """An error that is said inside an answer of status 200."""

    type: str | None
    code: str | None
    message: str


@frozen
class Manner:
    """An item and how it is said."""

    item: Any
    usage: bool = True
    done: bool = True
    headers: Mapping[str, str] = field(factory=dict)
    headers_after: float = field(default=0.0, validator=non_negative())
    seconds_per_byte: float = field(default=0.0, validator=non_negative())


def status(
    status: int,
    *,
    retry_after: float | str | None = None,
    code: str | None = None,
    type: str | None = None,  # noqa: A002 - the wire's word
    message: str | None = None,
    headers: Mapping[str, str] | None = None,
    billed: bool | None = None,
) -> Status:
    """A refusal with *status*, worded as providers of its wire do unless *code*, *type* and *message* say otherwise.

    Args:
        code, type: in the words of OpenAI; on another wire what means the same is said in its own.
        retry_after: seconds, or the text of the header (an HTTP date, an absurd hint).
        billed: whether its input is charged; left out: only for a 5xx that may have been processed (not 503, 529).

    Raises:
        ConfigurationError: *status* is no status of a failure.
    """
    if isinstance(status, bool) or not isinstance(status, int) or not 300 <= status <= 599:
        raise ConfigurationError(f"status must be an HTTP status from 300 to 599, got {status!r}; write status(503)")
    usual = "the quota is used up" if code == "insufficient_quota" else _SENTENCES.get(status, f"status {status}")
    fields = {name.lower(): value for name, value in (headers or {}).items()}
    if retry_after is not None:
        fields["retry-after"] = str(retry_after)
    return Status(
        status,
        message if message is not None else usual,
        code,
        type,
        fields,
        billed if billed is not None else is_billed(status),
    )


def is_billed(status: int) -> bool:
    """Whether a refusal with *status* is charged its input: it may have been worked on."""
    return status >= 500 and status not in _UNPROCESSED


def cut(*, reset: bool = False, quietly: bool = False) -> Cut:
    """The connection breaks off at this place; alone: before the first byte of an answer.

    Args:
        reset: by a reset, which may overtake what was sent before.
        quietly: the body ends in good order after what was said so far, as some proxies do it.
    """
    if reset and quietly:
        raise ConfigurationError("cut takes reset=True or quietly=True, got both; a reset is not quiet")
    return Cut(reset, quietly)


def garbage(body: str = _HTML, *, content_type: str = "text/html") -> Garbage:
    """A success (200) whose body is no completion, as a proxy or a wrong path gives it."""
    return Garbage(body, content_type)


def stall() -> Stall:
    """Nothing more comes, and the connection stays open until the client leaves."""
    return Stall()


def error_event(
    type: str | None = None,  # noqa: A002 - the wire's word
    *,
    code: str | None = None,
    message: str = "the provider failed while it answered",
) -> ErrorEvent:
    """An error inside an answer of status 200: an event in a stream, the body of an answer that is not streamed.

    *type* is by default a failure of the server; it and *code* are translated as those of `status` are.
    """
    return ErrorEvent(type, code, message)


def slow_headers(seconds: float, item: Any = "late") -> Manner:
    """*item*, of which even the headers come only after *seconds*; a pause in a timeline comes after the headers."""
    return evolve(in_manner(item), headers_after=seconds)


def drip(item: Any, seconds_per_byte: float = 0.01) -> Manner:
    """*item*, whose body comes byte by byte."""
    return evolve(in_manner(item), seconds_per_byte=seconds_per_byte)


def no_usage(item: Any = "uncounted") -> Manner:
    """*item* without the account of its tokens, at its end and where a wire says the input at the start."""
    return evolve(in_manner(item), usage=False)


def no_done(item: Any = "unfinished") -> Manner:
    """*item* whose stream ends without the mark that nothing follows (`[DONE]`, `message_stop`).

    Its finish reason comes. On the responses wire the event with the finish reason is the last one, and all is as usual.
    """
    return evolve(in_manner(item), done=False)


def with_headers(item: Any, headers: Mapping[str, str]) -> Manner:
    """*item* with further headers, such as what is left of the rate limits."""
    return evolve(in_manner(item), headers={name.lower(): value for name, value in headers.items()})


def in_manner(item: Any) -> Manner:
    """*item* as something that has a manner."""
    return item if isinstance(item, Manner) else Manner(item)


INSTEAD = (Status, Garbage, Cut, LLMError)
"""What stands in the place of an answer, if it comes before the first content."""


def check_timeline(item: Any, *, where: str) -> None:
    """Refuse what cannot be played; the message says where it stands.

    Raises:
        ConfigurationError: a bare number, a refusal after content, an exception that no provider can say.
    """
    if isinstance(item, Manner):
        item = item.item
    check_item(item, where=where)
    answered = False
    for place, piece in enumerate(item if isinstance(item, list | tuple) else [item]):
        if isinstance(piece, bool) or piece is None or isinstance(piece, Manner):
            raise ConfigurationError(
                f"{where}[{place}] is {piece!r}, no piece of a timeline; use text, a pause, an event or a fault"
            )
        if isinstance(piece, BaseException) and not isinstance(piece, LLMError):
            raise ConfigurationError(
                f"{where}[{place}] is {piece!r}, which no provider can say; use status(...), cut() or error_event(...)"
            )
        if answered and isinstance(piece, Status | Garbage):
            raise ConfigurationError(
                f"{where}[{place}] is a {type(piece).__name__} after the answer began; use error_event(...) or cut()"
            )
        answered = answered or not isinstance(piece, int | float | NetworkError)
