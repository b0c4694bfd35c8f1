"""The settings of the SDK transports: a wrong one is found when they are built, and no message shows a key."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

from llamina.errors import ConfigurationError
from llamina.secret import Secret
from llamina.transports import AnthropicTransport, OpenAITransport

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

URL = "http://127.0.0.1:1/v1"
KEY = "sk-canary-0123456789"
BOTH = pytest.mark.parametrize("transport", [OpenAITransport, AnthropicTransport])


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for sdk in ("OPENAI", "ANTHROPIC"):
        for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "ADMIN_KEY", "AUTH_TOKEN", "CUSTOM_HEADERS"):
            monkeypatch.delenv(f"{sdk}_{name}", raising=False)


@BOTH
def test_a_missing_key_names_its_variable(transport: Any) -> None:
    """It is found when the transport is built, not at the first call."""
    variable = f"{transport._sdk.upper()}_API_KEY"

    with pytest.raises(ConfigurationError, match=rf"{transport.__name__}\.api_key is missing; set {variable}"):
        transport()


@BOTH
def test_the_key_and_the_address_come_from_the_environment(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the variables that the SDK reads too."""
    monkeypatch.setenv(f"{transport._sdk.upper()}_API_KEY", " sk-environment\n")
    monkeypatch.setenv(f"{transport._sdk.upper()}_BASE_URL", "https://gateway.example/v1")

    built = transport()

    assert built.api_key == Secret("sk-environment")
    assert built.base_url == "https://gateway.example/v1"
    assert built.provider == transport._sdk


@BOTH
def test_an_address_alone_gets_no_key(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored key is never sent to an address that somebody passed."""
    monkeypatch.setenv(f"{transport._sdk.upper()}_API_KEY", "sk-stored")

    assert transport(base_url=URL).api_key is None


@BOTH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", "ftp://host"),
        ("base_url", "https://ada:canary@host"),
        ("api_key", ""),
        ("api_key", "Bearer canary"),
        ("api_key", "canary\n"),
        ("headers", [("x-a", "b")]),
        ("headers", {"x-a": "b\r\nx-evil: 1"}),
        ("max_response_bytes", 0),
        ("max_connections", 0),
        ("connect_timeout", 0),
        ("read_timeout", float("nan")),
        ("client", object()),
    ],
)
def test_a_wrong_setting_is_named(transport: Any, name: str, value: object) -> None:
    """The class, the field and the remedy are in the message, and no key."""
    address = {} if name in ("client", "base_url") else {"base_url": URL}

    with pytest.raises(ConfigurationError, match=rf"{transport.__name__}\.{name}") as caught:
        transport(**address, **{name: value})

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("transport", "url"),
    [
        (OpenAITransport, f"{URL}/chat/completions"),
        (OpenAITransport, f"{URL}/embeddings"),
        (AnthropicTransport, f"{URL}/messages"),
    ],
)
def test_an_address_that_was_pasted_whole_is_refused(transport: Any, url: str) -> None:
    """The path of the wire is added, so it must not be there already."""
    with pytest.raises(ConfigurationError, match="must end before"):
        transport(base_url=url)


def test_the_api_must_be_known() -> None:
    """The message lists the two that there are."""
    with pytest.raises(ConfigurationError, match=r"OpenAITransport\.api must be .*'chat'.*'responses'"):
        OpenAITransport(base_url=URL, api="assistants")


@pytest.mark.parametrize(
    ("transport", "client", "remedy"),
    [
        (OpenAITransport, openai.OpenAI(api_key=KEY), r"must be asynchronous.*openai\.AsyncOpenAI"),
        (AnthropicTransport, anthropic.Anthropic(api_key=KEY), r"must be asynchronous.*anthropic\.AsyncAnthropic"),
        (OpenAITransport, anthropic.AsyncAnthropic(api_key=KEY), "a client of the SDK 'openai'"),
        (AnthropicTransport, openai.AsyncOpenAI(api_key=KEY), "a client of the SDK 'anthropic'"),
    ],
)
def test_a_client_of_another_kind_is_refused(transport: Any, client: Any, remedy: str) -> None:
    """The message says which to pass."""
    with pytest.raises(ConfigurationError, match=remedy):
        transport(client=client)


@pytest.mark.parametrize("setting", ["api_key", "base_url", "headers", "organization", "project"])
def test_what_a_client_has_itself_cannot_be_passed_beside_it(setting: str) -> None:
    """Two settings that contradict each other are not guessed at."""
    with pytest.raises(ConfigurationError, match=rf"OpenAITransport\.{setting} must be left out with a client"):
        OpenAITransport(
            client=openai.AsyncOpenAI(api_key=KEY), **{setting: {"x-a": "b"} if setting == "headers" else URL}
        )


def test_a_client_that_sends_twice_by_itself_is_refused() -> None:
    """The SDK repeats a request after a 401 of such a client, and has no option against it."""
    identity = {"provider": {"token_type": "jwt", "get_token": lambda: "t"}, "identity_provider_id": "i"}
    client = openai.AsyncOpenAI(api_key=KEY)
    client.workload_identity = identity

    with pytest.raises(ConfigurationError, match="workload_identity"):
        OpenAITransport(client=client)


@pytest.mark.parametrize(
    "client",
    [
        openai.AsyncAzureOpenAI(api_key=KEY, azure_endpoint="https://a.example", api_version="2024-02-01"),
        anthropic.AsyncAnthropicVertex(region="us-east5", project_id="p", access_token=KEY),
    ],
    ids=["azure", "vertex"],
)
def test_clients_of_the_clouds_are_welcome(client: Any) -> None:
    """They authenticate and make addresses in their own way; what they send as a key is known to be secret."""
    transport = (OpenAITransport if "openai" in type(client).__module__ else AnthropicTransport)(client=client)

    assert Secret(KEY) in transport._peers["chat"].secrets


@BOTH
def test_a_missing_sdk_names_the_extra(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is said when the transport is built, with the command that installs it."""
    monkeypatch.delitem(sys.modules, transport._sdk)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=rf"pip install 'llamina\[{transport._sdk}\]'"):
        transport(KEY, URL)


def test_the_sdk_is_imported_when_the_transport_is_built() -> None:
    """It takes a second or two, which no call should run out of time for; naming the transport imports nothing."""
    code = (
        "import sys\n"
        "from llamina.transports import AnthropicTransport, OpenAITransport\n"
        "assert not {'openai', 'anthropic', 'httpx2', 'httpx', 'pydantic'} & set(sys.modules)\n"
        f"OpenAITransport('k', {URL!r})\n"
        "assert 'openai' in sys.modules and 'anthropic' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@BOTH
def test_its_repr_shows_no_key(transport: Any) -> None:
    """Neither the key, nor a header that holds one, nor the query of the address."""
    built = transport(KEY, URL + "?token=canary", headers={"x-api-key": "canary"})

    assert "canary" not in repr(built)
    assert Secret(KEY).id in repr(built)
    assert transport.__name__ in repr(built)


@BOTH
@pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_does_not_travel(transport: Any, travel: Any) -> None:
    """A transport has a key and open connections; a copy would share or leak them."""
    with pytest.raises(TypeError, match=f"{transport.__name__} .*build one where it is used"):
        travel(transport(KEY, URL))
