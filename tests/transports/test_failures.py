"""Every exception class of httpx, httpx2 and aiohttp becomes one of ours, and leaves its request behind."""

from __future__ import annotations

import importlib
import inspect
import pickle
import socket
import ssl
from collections.abc import Iterator
from inspect import signature
from types import SimpleNamespace

import anyio
import httpx
import pytest

from llamina.errors import LLMError, NetworkError, RateLimitError, RequestTimeoutError
from llamina.secret import Secret
from llamina.transports._failures import failure_of

aiohttp = pytest.importorskip("aiohttp")
httpx2 = pytest.importorskip("httpx2")
UnixClientConnectorError = aiohttp.client_exceptions.UnixClientConnectorError
CIMultiDict, CIMultiDictProxy = (
    pytest.importorskip("multidict").CIMultiDict,
    pytest.importorskip("multidict").CIMultiDictProxy,
)
URL = pytest.importorskip("yarl").URL

NOT_RAISED_HERE = {"payload", "streams", "_websocket.models"}  # forms, a reader's own sign, websockets


def walk() -> Iterator[type[Exception]]:
    """The public exception classes of the clients, and those of aiohttp's parser, which it lets through."""
    for place in ("httpx", "httpx2", "aiohttp", "aiohttp.http_exceptions"):
        for value in vars(importlib.import_module(place)).values():
            if not inspect.isclass(value) or not issubclass(value, Exception) or issubclass(value, Warning):
                continue
            root, _, rest = value.__module__.partition(".")
            if root == place.partition(".")[0] and rest not in NOT_RAISED_HERE:
                yield value


def name(kind: type[Exception]) -> str:
    """`httpx.ReadError`."""
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


# What carries a status is mapped by it, in a test of its own.
CLASSES = sorted([kind for kind in set(walk()) if kind.__name__ != "HTTPStatusError"], key=name)


def made(kind: type[Exception]) -> Exception:
    """An instance, whatever its class wants to be built from."""
    info = aiohttp.RequestInfo(URL("http://h/v1"), "POST", CIMultiDictProxy(CIMultiDict()), URL("http://h/v1"))
    key = SimpleNamespace(host="h", port=1, ssl=True, is_ssl=True)
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(info, (), status=500, message="words")
    if issubclass(kind, aiohttp.ClientConnectorCertificateError):
        return kind(key, ssl.SSLError("words"))
    if issubclass(kind, UnixClientConnectorError):
        return kind("/path", key, OSError(111, "refused"))
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(key, OSError(111, "refused"))
    if issubclass(kind, aiohttp.ServerFingerprintMismatch):
        return kind(b"a", b"b", "h", 1)
    if issubclass(kind, aiohttp.InvalidURL):
        return kind("http://h")
    if kind.__name__ in ("StreamConsumed", "StreamClosed", "ResponseNotRead", "RequestNotRead"):
        return kind()
    if isinstance(kind.__init__, type(Exception.__init__)):  # no signature of its own
        return kind("words")
    wanted = [
        one for one in list(signature(kind.__init__).parameters.values())[1:] if one.kind <= one.POSITIONAL_OR_KEYWORD
    ]
    return kind(*["words" for one in wanted if one.default is one.empty])


@pytest.mark.parametrize("kind", CLASSES, ids=name)
def test_every_class_is_mapped(kind: type[Exception]) -> None:
    """None of them goes through as it is; the stand-in that is kept as the cause names it."""
    failure = failure_of(made(kind), host="api.example")

    assert isinstance(failure, LLMError)
    assert "api.example" in str(failure)
    assert kind.__qualname__ in str(failure.__cause__)
    assert type(failure.__cause__) in (ConnectionError, TimeoutError)


def test_there_are_classes_to_walk() -> None:
    """The walk sees the trees of all three clients."""
    names = {name(kind) for kind in CLASSES}

    assert len(CLASSES) > 80
    assert {"httpx.ReadTimeout", "httpx2.ConnectError", "aiohttp.ClientPayloadError", "aiohttp.BadStatusLine"} <= names


@pytest.mark.parametrize(
    ("error", "limit", "processed"),
    [
        *[
            (getattr(client, name)("slow"), limit, processed)
            for client in (httpx, httpx2)
            for name, limit, processed in (
                ("ConnectTimeout", "connect", False),
                ("PoolTimeout", "pool", False),
                ("ReadTimeout", "read", True),
                ("WriteTimeout", "write", True),
            )
        ],
        (aiohttp.ConnectionTimeoutError("slow"), "connect", False),
        (aiohttp.SocketTimeoutError("slow"), "read", True),
        (TimeoutError(), "read", True),
    ],
)
def test_limits_of_time_are_told_apart(error: Exception, limit: str, processed: bool) -> None:
    """Which limit fired says whether the provider can have seen the request."""
    failure = failure_of(error, host="h")

    assert isinstance(failure, RequestTimeoutError)
    assert (failure.limit, failure.processed) == (limit, processed)


@pytest.mark.parametrize(
    ("error", "processed"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx2.ProxyError("407"), False),
        (httpx.ReadError("reset"), True),
        (httpx2.RemoteProtocolError("cut"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientPayloadError("cut"), True),
        (aiohttp.ClientOSError(104, "reset"), True),
        (ConnectionRefusedError(111, "refused"), False),
        (socket.gaierror(-2, "unknown name"), False),
        (ssl.SSLError("no TLS"), False),
        (ConnectionResetError(104, "reset"), True),
        (anyio.ClosedResourceError(), True),
        (httpx.StreamClosed(), True),
    ],
)
def test_a_connection_that_never_stood_is_told_apart(error: Exception, processed: bool) -> None:
    """What was never sent costs nothing; what was may be billed."""
    failure = failure_of(error, host="h")

    assert type(failure) is NetworkError
    assert failure.processed is processed


@pytest.mark.parametrize(
    "error", [ValueError("x"), TypeError("x"), KeyError("x"), RuntimeError("x"), AttributeError("x")]
)
def test_a_programming_error_is_no_failure_of_the_exchange(error: Exception) -> None:
    """It goes through as it is, so that nobody tries it again."""
    assert failure_of(error, host="h") is None


@pytest.mark.parametrize("client", [httpx, httpx2])
def test_a_status_that_a_hook_raises_is_classified(client) -> None:
    """A client of the user's may raise for a status by itself."""
    request = client.Request("POST", "http://h/v1?key=canary", headers={"authorization": "Bearer canary"})
    response = client.Response(429, headers={"retry-after": "2"}, request=request)

    failure = failure_of(
        client.HTTPStatusError("429 at http://h/v1?key=canary", request=request, response=response), host="h"
    )

    assert type(failure) is RateLimitError
    assert failure.retry_after == 2.0
    assert "canary" not in repr(failure)


@pytest.mark.parametrize("client", [httpx, httpx2])
def test_the_request_is_left_behind(client) -> None:
    """Neither the failure nor anything that it points to has the key, the query or the body."""
    request = client.Request(
        "POST", "http://h/v1?key=canary", headers={"authorization": "Bearer canary"}, content=b"canary prompt"
    )
    try:
        raise client.ReadError("broke at http://h/v1?key=canary while Bearer canary-key was sent", request=request)
    except client.ReadError as error:
        failure = failure_of(error, host="h", secrets=[Secret("canary-key")])

    assert failure is not None
    assert failure.__context__ is None
    assert "canary" not in repr([failure, failure.__cause__, vars(failure)])
    assert b"canary" not in pickle.dumps(failure)


def test_the_words_of_the_system_are_added() -> None:
    """Where a client says "all attempts failed" and hides why, the error of the system below says it."""
    error = httpx.ConnectError("all attempts failed")
    error.__cause__ = OSError("several")
    error.__cause__.__context__ = OSError(111, "Connect call failed")

    failure = failure_of(error, host="h")

    assert "Errno 111" in str(failure)
