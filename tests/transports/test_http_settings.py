"""HTTPTransport's settings: a wrong one is found when it is built, and no message shows a key."""

from __future__ import annotations

import copy
import pickle

import httpx
import pytest

from llamina.errors import ConfigurationError
from llamina.secret import Secret
from llamina.transports import HTTPTransport

URL = "http://127.0.0.1:1/v1"
KEY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    "url", ["", "ftp://host/v1", "host/v1", "http://", "http://host:99999/v1", "http://ho st/v1", "http://h/\nv1", b"x"]
)
def test_an_address_must_be_http(url: object) -> None:
    """The error names the field and shows how an address looks."""
    with pytest.raises(ConfigurationError, match=r"HTTPTransport\.base_url must be"):
        HTTPTransport(base_url=url, provider="label")


def test_an_address_with_a_password_is_refused_without_showing_it() -> None:
    """A password in a URL would show in every message that names the address."""
    with pytest.raises(ConfigurationError) as caught:
        HTTPTransport(base_url="https://ada:canary@host/v1")

    assert "canary" not in str(caught.value)
    assert "api_key=" in str(caught.value)


@pytest.mark.parametrize("key", [KEY + "\n", KEY + "\r\nx-evil: 1", KEY + "\0", KEY + "\x7f", KEY + "☃", ""])
def test_a_key_that_cannot_stand_in_a_header_is_refused(key: str) -> None:
    """A line break in a key would be a header of somebody else's making."""
    with pytest.raises(ConfigurationError, match=r"HTTPTransport\.api_key must") as caught:
        HTTPTransport(base_url=URL, api_key=key)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-team": "a\r\nx-evil: 1"},
        {"x-team": "a\0"},
        {"x-team": "☃"},
        {"x-team": 7},
        {"x team": "a"},
        {"": "a"},
        {"Content-Length": "3"},
        {"x-api-key": Secret(KEY + "\n")},
        [("x-team", "a")],
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: object) -> None:
    """Names and values are checked once, when the transport is built."""
    with pytest.raises(ConfigurationError, match=r"HTTPTransport\.headers") as caught:
        HTTPTransport(base_url=URL, headers=headers)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_response_bytes", 0),
        ("max_response_bytes", 1.5),
        ("max_connections", 0),
        ("connect_timeout", 0),
        ("connect_timeout", float("nan")),
        ("read_timeout", float("inf")),
        ("read_timeout", True),
        ("engine", "curl"),
        ("wire", "morse"),
        ("client", object()),
        ("client", httpx.Client),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    """Field and value are in the message."""
    with pytest.raises(ConfigurationError, match=f"HTTPTransport.{name} "):
        HTTPTransport(base_url=URL, **{name: value})


def test_a_client_of_another_engine_is_refused() -> None:
    """Two settings that contradict each other are not guessed at."""
    with pytest.raises(ConfigurationError, match="client is of httpx"):
        HTTPTransport(base_url=URL, engine="aiohttp", client=httpx.AsyncClient())


def test_a_missing_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is said when the transport is built, with the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=r"llamina\[fast\]"):
        HTTPTransport(base_url=URL, engine="aiohttp")


def test_without_httpx2_the_engine_is_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The continuation is preferred where it is installed; the core dependency is always there."""
    pytest.importorskip("httpx2")
    preferred = HTTPTransport(base_url=URL)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fallen_back = HTTPTransport(base_url=URL)

    assert (preferred._family, fallen_back._family) == ("httpx2", "httpx")


def test_its_repr_shows_no_key() -> None:
    """Neither the key, nor a header that holds one, nor the query of the address."""
    transport = HTTPTransport(base_url=URL + "?token=canary", api_key=KEY, headers={"x-api-key": "canary", "x-a": "b"})

    shown = repr([transport, vars(transport)])

    assert "canary" not in shown.replace(repr(transport.base_url), "").replace(repr(dict(transport.headers)), "")
    assert "canary" not in repr(transport)
    assert Secret(KEY).id in repr(transport)


@pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_does_not_travel(travel) -> None:
    """A transport has a key and open connections; a copy would share or leak them."""
    with pytest.raises(TypeError, match="build one where it is used"):
        travel(HTTPTransport(base_url=URL, api_key=KEY))


def test_an_address_or_a_key_that_was_pasted_whole_is_refused() -> None:
    """The path of the wire and the word Bearer are added, so they must not be there already."""
    with pytest.raises(ConfigurationError, match="must end before"):
        HTTPTransport(base_url=f"{URL}/chat/completions")
    with pytest.raises(ConfigurationError, match="Bearer"):
        HTTPTransport(base_url=URL, api_key="Bearer sk-123")
