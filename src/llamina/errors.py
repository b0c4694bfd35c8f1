"""What can go wrong with a call, as one tree that every layer and transport shares.

    try:
        response = await stack(request)
    except RateLimitError as error:
        print(error.retry_after, error.provider, error.call.attempts)

The tree, with the default answer to "is it worth another attempt?":

    LLMError                            no    (unknown: nobody said that it can be repeated)
    +-- InvalidRequestError             no    400, 404-like mistakes of the caller, 413, 422
    |   +-- ContextLengthError          no    the prompt does not fit the model
    |   +-- ContentFilterError          no    refused by the provider's content policy
    +-- AuthenticationError             no    401: the key is not accepted
    +-- PermissionDeniedError           no    403: the key may not do this
    +-- NotFoundError                   no    404: no such model or path
    +-- RateLimitError                  yes   429: too fast; `retry_after` seconds when the provider said so
    |   +-- QuotaExceededError          no    429 or 402: the money is spent; waiting seconds does not help
    +-- ServerError                     yes   500, 502, 503, 504 ...
    |   +-- OverloadedError             yes   529, or an overload reported inside a stream
    +-- NetworkError                    yes   refused, reset, cut, DNS, TLS
    +-- RequestTimeoutError             yes   a limit of ours or the client's fired (also a TimeoutError)
    +-- CircuitOpenError                wait  a breaker refuses; `retry_after` seconds until it probes
    +-- BudgetExceededError             no    a budget refuses before the provider is asked
    +-- MalformedResponseError          yes   a 200 that is no completion, a stream without an end
    +-- StreamCommittedError            no    a second writer tried to deliver to one stream
    +-- StreamDivergedError             no    what was streamed is not what was returned
    +-- CassetteMissError               no    a cassette has no recording of this request (also a LookupError)
    +-- ConfigurationError              no    a wrong setting, found when it is built (also a ValueError)

The one surprise: an error that left a layer stays the same object all the way up (`is`), so a layer that adds facts
adds them to the error's attributes and raises it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

__all__ = [
    "AuthenticationError",
    "BudgetExceededError",
    "CassetteMissError",
    "CircuitOpenError",
    "ConfigurationError",
    "ContentFilterError",
    "ContextLengthError",
    "InvalidRequestError",
    "LLMError",
    "MalformedResponseError",
    "NetworkError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RequestTimeoutError",
    "ServerError",
    "StreamCommittedError",
    "StreamDivergedError",
]


class LLMError(Exception):
    """Base of everything that a call can raise on purpose.

    Attributes (None where unknown):
        provider, model: who was asked for what.
        status: the HTTP status; code: the provider's own word (`insufficient_quota`); request_id: its id for support.
        retry_after: seconds that the provider, or the layer that refused, asks to wait.
        should_retry: what the provider said in `x-should-retry`, before any table of ours.
        processed: False when the provider certainly did no work for it (then it costs nothing).
        usage: tokens that were billed although the attempt failed.
        partial: the Response as far as it came, for a stream that died.
        call: the `Call` with every attempt, set when the error leaves the stack.
        rate_limit: what the provider's rate-limit headers said, as a mapping.
        details: the provider's own words beside its message, as it said them: `type`, `code`, `param`.
    """

    outcome: ClassVar[str] = "error"
    """The word that the ledger and the logs show for an attempt that ended so."""
    retryable: bool = False
    """Whether another attempt of the same request can help."""
    processed: bool = True
    """Whether the provider may have worked on it; True means it may be billed."""

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        retryable: bool | None = None,
        processed: bool | None = None,
        usage: Any = None,
        partial: Any = None,
        call: Any = None,
        rate_limit: Any = None,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.usage = usage
        self.partial = partial
        self.call = call
        self.rate_limit = rate_limit
        self.details = details
        if retryable is not None:
            self.retryable = retryable
        if processed is not None:
            self.processed = processed

    def __str__(self) -> str:
        facts = [
            f"{name} {value}"
            for name, value in (
                ("provider", self.provider),
                ("model", self.model),
                ("status", self.status),
                ("code", self.code),
                ("request id", self.request_id),
            )
            if value is not None
        ]
        text = self.message or type(self).__name__
        return f"{text} ({', '.join(facts)})" if facts else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # `args` holds the message only; the facts travel as state, so any subclass pickles whatever its signature.
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))

    def copy(self) -> LLMError:
        """An error of its own for another caller: same facts, same cause, an empty traceback."""
        state = dict(self.__dict__)
        if "__notes__" in state:
            state["__notes__"] = list(state["__notes__"])
        twin: LLMError = _rebuild(type(self), self.args, state)
        twin.__cause__ = self.__cause__
        twin.__suppress_context__ = self.__suppress_context__
        return twin


def _rebuild(kind: type[LLMError], args: tuple[Any, ...], state: dict[str, Any]) -> LLMError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequestError(LLMError):
    """The request itself is wrong; sent again it fails again."""

    outcome = "invalid_request"
    processed = False


class ContextLengthError(InvalidRequestError):
    """The prompt, or prompt plus answer, does not fit the model's context."""

    outcome = "context_length"


class ContentFilterError(InvalidRequestError):
    """The provider's content policy refused the prompt or the answer."""

    outcome = "content_filter"


class AuthenticationError(LLMError):
    """The key is missing or not accepted."""

    outcome = "unauthenticated"
    processed = False


class PermissionDeniedError(LLMError):
    """The key is known but may not do this."""

    outcome = "permission_denied"
    processed = False


class NotFoundError(LLMError):
    """No such model, deployment or path."""

    outcome = "not_found"
    processed = False


class RateLimitError(LLMError):
    """Too many requests or tokens for the moment; `retry_after` says how long to wait, if the provider did."""

    outcome = "rate_limited"
    retryable = True
    processed = False


class QuotaExceededError(RateLimitError):
    """A quota, a balance or a spend limit is used up: a 429 or 402 that waiting seconds does not heal."""

    outcome = "quota_exceeded"
    retryable = False


class ServerError(LLMError):
    """The provider failed."""

    outcome = "server_error"
    retryable = True


class OverloadedError(ServerError):
    """The provider has no room at the moment (529, or an overload event inside a stream)."""

    outcome = "overloaded"


class NetworkError(LLMError):
    """The connection failed. `processed` is False where it never stood (refused, DNS, TLS)."""

    outcome = "network_error"
    retryable = True


class RequestTimeoutError(LLMError, TimeoutError):
    """A time limit fired.

    Attributes:
        limit: which one: "total", "first_event", "idle", "deadline", or the client's "connect", "read", "write", "pool".
        seconds: its length.
    """

    outcome = "timeout"
    retryable = True

    def __init__(self, message: str = "", *, limit: str = "total", seconds: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.limit = limit
        self.seconds = seconds


class CircuitOpenError(LLMError):
    """A circuit breaker refuses without asking the provider; its last failure is the cause.

    `retry_after` is the number of seconds until the breaker will let a probe through. `circuit` names the circuit.
    """

    outcome = "circuit_open"
    processed = False

    def __init__(self, message: str = "", *, circuit: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.circuit = circuit


class BudgetExceededError(LLMError):
    """A hard budget has no room for this call.

    Attributes:
        limit, spent, held: USD as `Decimal`; `held` is reserved by calls that are in flight.
        scope: the tag that the budget is kept by (None for one account for all); account: the tag's value.
        resets_at: an aware datetime at which the period ends (None for a budget without a period).
        busy: True when the refusal is only due to what is held: it may pass once those calls have settled.
    """

    outcome = "budget_exceeded"
    processed = False

    def __init__(
        self,
        message: str = "",
        *,
        limit: Decimal | None = None,
        spent: Decimal | None = None,
        held: Decimal | None = None,
        scope: str | None = None,
        account: str | None = None,
        resets_at: datetime | None = None,
        busy: bool = False,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.limit = limit
        self.spent = spent
        self.held = held
        self.scope = scope
        self.account = account
        self.resets_at = resets_at
        self.busy = busy


class MalformedResponseError(LLMError):
    """A success that is none: a 200 whose body is no completion, or a stream that ends without its end."""

    outcome = "malformed"
    retryable = True


class StreamCommittedError(LLMError):
    """Content of another attempt has already been delivered to this stream; nothing may be delivered twice."""

    outcome = "stream_committed"


class StreamDivergedError(LLMError):
    """What was streamed does not fold to the Response that was returned: a layer rewrote one and not the other."""

    outcome = "stream_diverged"


class CassetteMissError(LLMError, LookupError):
    """A cassette that is played back has no recording of this request.

    The message names places that differ, never what stands there.

    Attributes:
        cassette: the path of the file.
        differences: the places at which the request differs from the nearest one that was recorded
            (`messages[0].parts[0].text`); empty where there is none, or where every take of the request was played.
    """

    outcome = "not_recorded"
    processed = False

    def __init__(
        self, message: str = "", *, cassette: str | None = None, differences: tuple[str, ...] = (), **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.cassette = cassette
        self.differences = differences


class ConfigurationError(LLMError, ValueError):
    """A setting is wrong; the message names the field, the value and the remedy."""

    outcome = "misconfigured"
    processed = False
