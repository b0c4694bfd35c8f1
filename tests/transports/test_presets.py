"""Presets: where providers are, where their keys come from, and what a missing one says."""

from __future__ import annotations

import pytest

from llamina.errors import ConfigurationError
from llamina.secret import Secret
from llamina.transports import HTTPTransport, presets

NAMES = [name for preset in presets().values() for name in (*preset.key_names, preset.url_name) if name]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_usual_providers_are_there() -> None:
    """The list can be read, and not changed."""
    assert set(presets()) == {"openai", "anthropic", "openrouter", "groq", "google", "ollama", "local"}
    with pytest.raises(TypeError):
        presets()["evil"] = presets()["openai"]  # type: ignore[index]


@pytest.mark.parametrize("name", [name for name, preset in presets().items() if preset.needs_key])
def test_a_missing_key_names_its_variable(name: str) -> None:
    """The error says which variable to set, when the transport is built."""
    with pytest.raises(ConfigurationError, match=presets()[name].key_names[0]):
        HTTPTransport(provider=name)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("google", "GEMINI_API_KEY"),
        ("google", "GOOGLE_API_KEY"),
    ],
)
def test_the_key_comes_from_the_usual_variable(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """White space round a key, as files leave it, is taken off."""
    monkeypatch.setenv(variable, " sk-from-the-environment\n")

    transport = HTTPTransport.preset(name)

    assert transport.api_key == Secret("sk-from-the-environment")
    assert transport.base_url == presets()[name].base_url
    assert transport.provider == name


def test_a_key_that_is_passed_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is only asked where nothing was passed."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk_environment")

    assert HTTPTransport(provider="groq", api_key="gsk_passed").api_key == Secret("gsk_passed")


def test_without_any_setting_it_is_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare transport is the first preset, with its variables."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")

    transport = HTTPTransport()

    assert (transport.provider, transport.base_url) == ("openai", "https://gateway.example/v1")


def test_an_address_alone_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored key is never sent to an address that somebody passed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-stored")

    transport = HTTPTransport(base_url="https://elsewhere.example/v1")

    assert transport.api_key is None
    assert transport.provider == "elsewhere.example"


def test_a_preset_behind_an_address_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names both means a gateway to that provider: its key goes there, and none is needed."""
    bare = HTTPTransport(base_url="http://gateway/v1", provider="groq")
    monkeypatch.setenv("GROQ_API_KEY", "gsk_environment")
    keyed = HTTPTransport(base_url="http://gateway/v1", provider="groq")

    assert (bare.api_key, bare.provider, bare.base_url) == (None, "groq", "http://gateway/v1")
    assert keyed.api_key == Secret("gsk_environment")


def test_a_label_needs_an_address() -> None:
    """A name that is no preset is a label, and a label says nothing of where to send."""
    assert HTTPTransport(base_url="https://acme.example/v1", provider="acme").provider == "acme"
    with pytest.raises(ConfigurationError, match="groq"):
        HTTPTransport(provider="acme")
    with pytest.raises(ConfigurationError, match="no preset"):
        HTTPTransport.preset("acme", base_url="https://acme.example/v1")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        ("gpu-box:8080", "http://gpu-box:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        (":8080", "http://127.0.0.1:8080/v1"),
        ("[::1]:8080", "http://[::1]:8080/v1"),
        ("http://gpu-box/", "http://gpu-box/v1"),
        ("https://ollama.example/base", "https://ollama.example/base/v1"),
    ],
)
def test_ollama_is_where_its_variable_says(host: str | None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OLLAMA_HOST has many forms: with and without a scheme and a port."""
    if host is not None:
        monkeypatch.setenv("OLLAMA_HOST", host)

    transport = HTTPTransport(provider="ollama")

    assert (transport.base_url, transport.api_key) == (url, None)


def test_a_wrong_ollama_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is no number is found when the transport is built."""
    monkeypatch.setenv("OLLAMA_HOST", "gpu-box:eighty")

    with pytest.raises(ConfigurationError, match="OLLAMA_HOST"):
        HTTPTransport(provider="ollama")
