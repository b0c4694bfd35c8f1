"""What an error means: the table, and what goes before it."""

import asyncio
import errno
import math
import socket
import ssl

import pytest

from llamina import errors
from llamina.errors import (
    AuthenticationError,
    BudgetExceededError,
    CassetteMissError,
    CircuitOpenError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamCommittedError,
    StreamDivergedError,
)
from llamina.policy.classify import Verdict, classify, default_classifier, wait_hint

TABLE = [  # an error, and what to do: retry, breaker, key, fallback
    (NetworkError(), True, "failure", "none", "yes"),
    (RequestTimeoutError(), True, "failure", "none", "yes"),
    (RequestTimeoutError(limit="connect", processed=False), True, "failure", "none", "yes"),
    (RequestTimeoutError(limit="pool", processed=False), True, "neutral", "none", "yes"),
    (RequestTimeoutError(limit="deadline", processed=False), True, "neutral", "none", "yes"),
    (RequestTimeoutError(limit="deadline"), True, "failure", "none", "yes"),
    (ServerError(status=500), True, "failure", "none", "yes"),
    (OverloadedError(status=529), True, "failure", "none", "yes"),
    (OverloadedError(status=200), True, "failure", "none", "yes"),
    (MalformedResponseError(), True, "failure", "none", "yes"),
    (RateLimitError(), True, "neutral", "cooldown", "yes"),
    (QuotaExceededError(status=429), False, "neutral", "quarantine", "yes"),
    (AuthenticationError(), False, "neutral", "quarantine", "yes"),
    (PermissionDeniedError(), False, "neutral", "quarantine", "yes"),
    (InvalidRequestError(status=409), True, "neutral", "none", "no"),
    (InvalidRequestError(status=409, retryable=True), True, "neutral", "none", "no"),
    (InvalidRequestError(), False, "neutral", "none", "typed"),
    (ContextLengthError(), False, "neutral", "none", "typed"),
    (ContentFilterError(), False, "neutral", "none", "typed"),
    (ContentFilterError(status=409), False, "neutral", "none", "typed"),
    (NotFoundError(), False, "neutral", "none", "typed"),
    (CircuitOpenError(retry_after=1), False, "neutral", "none", "yes"),
    (BudgetExceededError(busy=True), False, "neutral", "none", "yes"),
    (StreamCommittedError(), False, "neutral", "none", "no"),
    (StreamDivergedError(), False, "neutral", "none", "no"),
    (CassetteMissError(), False, "neutral", "none", "no"),
    (ConfigurationError(), False, "neutral", "none", "no"),
    (LLMError(), False, "neutral", "none", "no"),
    (ConnectionResetError(), True, "failure", "none", "yes"),
    (socket.gaierror(), True, "failure", "none", "yes"),
    (TimeoutError(), True, "failure", "none", "yes"),
    (ssl.SSLEOFError(), True, "failure", "none", "yes"),
    (OSError(errno.ENETUNREACH, "network unreachable"), True, "failure", "none", "yes"),
    (OSError(errno.EHOSTUNREACH, "no route to host"), True, "failure", "none", "yes"),
    (OSError(errno.ENOSPC, "no space left"), False, "neutral", "none", "no"),
    (OSError("of no number"), False, "neutral", "none", "no"),
    (asyncio.CancelledError(), False, "neutral", "none", "no"),
    (KeyboardInterrupt(), False, "neutral", "none", "no"),
    (SystemExit(), False, "neutral", "none", "no"),
    (GeneratorExit(), False, "neutral", "none", "no"),
    (TypeError(), False, "neutral", "none", "no"),
    (KeyError(), False, "neutral", "none", "no"),
    (ValueError(), False, "neutral", "none", "no"),
    (UnicodeEncodeError("latin-1", "é", 0, 1, ""), False, "neutral", "none", "no"),
    (FileNotFoundError(), False, "neutral", "none", "no"),
]


@pytest.mark.parametrize(("error", "retry", "breaker", "key", "fallback"), TABLE, ids=lambda value: repr(value)[:40])
def test_each_kind_of_error_has_its_verdict(error, retry, breaker, key, fallback):
    """The table of the module, row by row."""
    verdict = classify(error)

    assert verdict == Verdict(retry=retry, breaker=breaker, key=key, fallback=fallback)
    assert default_classifier(error) is retry


def test_no_class_of_errors_is_missing_in_the_table():
    """A class that is added to the tree, public or not, needs a row here."""
    tree = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)}

    tested = {type(row[0]) for row in TABLE}

    assert len(tree) >= len(errors.__all__)
    assert tree <= tested


@pytest.mark.parametrize("kind", [RateLimitError, ServerError, InvalidRequestError, QuotaExceededError, LLMError])
@pytest.mark.parametrize("said", [True, False])
def test_what_the_provider_said_goes_before_everything(kind, said):
    """`x-should-retry` overrules the table and the error's own opinion, and changes nothing else."""
    plain = classify(kind())

    verdict = classify(kind(should_retry=said, retryable=not said))

    assert verdict.retry is said
    assert (verdict.breaker, verdict.key, verdict.fallback) == (plain.breaker, plain.key, plain.fallback)


def test_what_an_error_says_of_itself_goes_before_the_table():
    """Whoever made the error knows better than its class, in both directions."""
    assert classify(InvalidRequestError(retryable=True)).retry
    assert classify(LLMError(retryable=True)).retry
    assert not classify(MalformedResponseError(retryable=False)).retry
    assert not classify(InvalidRequestError(status=409, retryable=False)).retry


def test_a_class_of_ones_own_is_judged_by_its_nearest_ancestor():
    """A subclass inherits its verdict, and may declare that it can be repeated."""

    class Hiccup(LLMError):
        retryable = True

    class Drained(QuotaExceededError):
        pass

    assert classify(Hiccup()).retry
    assert classify(Drained()) == classify(QuotaExceededError())


def test_an_error_that_lacks_what_our_constructor_sets_is_judged_too():
    """Somebody's own class that forgets to call it must not make the classifier raise in the middle of a call."""

    class Bare(InvalidRequestError):
        def __init__(self):
            Exception.__init__(self)

    class BareTimeout(RequestTimeoutError):
        processed = False

        def __init__(self):
            Exception.__init__(self)

    assert not classify(Bare()).retry
    assert classify(BareTimeout()).breaker == "failure"
    assert wait_hint(Bare()) is None


def test_a_verdict_cannot_be_changed():
    """Verdicts are shared values."""
    with pytest.raises(AttributeError):
        classify(ServerError()).retry = False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError(retry_after=2), 2),
        (CircuitOpenError(retry_after=0.5), 0.5),
        (ServerError(retry_after=math.inf), math.inf),
        (RateLimitError(), None),
        (RateLimitError(retry_after=0), None),
        (RateLimitError(retry_after=-3), None),
        (RateLimitError(retry_after=math.nan), None),
        (RateLimitError(retry_after="soon"), None),
        (RateLimitError(retry_after=True), None),
        (TimeoutError(), None),
    ],
)
def test_a_wait_is_taken_from_an_error_only_when_it_makes_sense(error, expected):
    """NaN, 0, negative numbers and what is no number are no wait; infinity asks not to come back."""
    assert wait_hint(error) == expected
