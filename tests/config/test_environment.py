"""The stack of the environment: `load_stack()` without a file."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import pytest

from llamina import ConfigurationError, Request, load_stack
from llamina._config_environment import VARIABLES
from llamina.testing import simulated_time

METER: list[dict[str, Any]] = [{"type": "cost_meter"}] if find_spec("genai_prices") else []
MOCK = {"LLM_FORCE_MOCK": "1"}
FREE = {"type": "cost_meter", "prices": {}}
REST = [{"type": "circuit_breaker"}, {"type": "timeout", "seconds": 120}]


def config(**environ: str) -> dict[str, Any]:
    """What the stack of these variables says."""
    stack = load_stack(environ=environ)
    said = stack.to_config()
    assert load_stack(said, environ=environ).to_config() == said
    return said


def test_the_defaults_stand_in_the_recommended_order() -> None:
    """Nothing is shared between calls unless the cache is asked for."""
    said = config(LLM_PROVIDER="groq", GROQ_API_KEY="gsk-0123456789")

    assert said["transport"] == {"type": "http", "provider": "groq", "api_key": "${GROQ_API_KEY}"}
    assert said["layers"] == [{"type": "logger"}, {"type": "retry"}, *METER, *REST]


@simulated_time
async def test_a_mock_answers_whatever_else_is_set() -> None:
    """No key is needed, and no list of prices."""
    environ = {"LLM_FORCE_MOCK": "yes", "LLM_PROVIDER": "openai", "LLM_DAILY_BUDGET": "5"}

    stack = load_stack(environ=environ)
    response = await stack(Request.chat("m", "hi"))

    assert "echo" in response.text
    assert stack.to_config()["layers"][2] == {**FREE, "budgets": [{"limit": "5", "period": "day"}]}


TRANSPORTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "the one whose key is set": (
        {"OPENAI_API_KEY": "sk-1"},
        {"type": "http", "provider": "openai", "api_key": "${OPENAI_API_KEY}"},
    ),
    "the second variable of a provider": (
        {"LLM_PROVIDER": "google", "GOOGLE_API_KEY": "g"},
        {"type": "http", "provider": "google", "api_key": "${GOOGLE_API_KEY}"},
    ),
    "a key for all": (
        {"LLM_PROVIDER": "Anthropic", "LLM_API_KEY": "k", "ANTHROPIC_API_KEY": "other"},
        {"type": "http", "provider": "anthropic", "api_key": "${LLM_API_KEY}"},
    ),
    "a server without a key": (
        {"LLM_BASE_URL": "http://127.0.0.1:8000/v1", "OPENAI_API_KEY": "not for it"},
        {"type": "http", "base_url": "http://127.0.0.1:8000/v1"},
    ),
    "a server with a key": (
        {"LLM_BASE_URL": "http://127.0.0.1:8000/v1", "LLM_API_KEY": "k"},
        {"type": "http", "base_url": "http://127.0.0.1:8000/v1", "api_key": "${LLM_API_KEY}"},
    ),
    "a provider at another address": (
        {"LLM_BASE_URL": "http://proxy/v1", "LLM_PROVIDER": "groq", "GROQ_API_KEY": "k"},
        {"type": "http", "base_url": "http://proxy/v1", "provider": "groq", "api_key": "${GROQ_API_KEY}"},
    ),
    "the provider's own variable of the address": (
        {"LLM_PROVIDER": "ollama", "OLLAMA_HOST": "box"},
        {"type": "http", "base_url": "http://box:11434/v1", "provider": "ollama"},
    ),
    "an echo by its name": ({"LLM_PROVIDER": "echo"}, {"type": "echo"}),
}


@pytest.mark.parametrize(("environ", "expected"), TRANSPORTS.values(), ids=TRANSPORTS.keys())
def test_who_answers(environ: dict[str, str], expected: dict[str, Any]) -> None:
    """The provider, its address and the variable of its key."""
    assert config(**environ)["transport"] == expected


LAYERS: dict[str, tuple[dict[str, str], list[dict[str, Any]]]] = {
    "retries": ({"LLM_MAX_RETRIES": "4"}, [{"type": "retry", "attempts": 5}, FREE, *REST]),
    "no retries": ({"LLM_MAX_RETRIES": "0", "LLM_BACKOFF_BASE": "2"}, [FREE, *REST]),
    "a backoff": (
        {"LLM_BACKOFF_BASE": "40"},
        [{"type": "retry", "backoff": {"type": "exponential", "base": 40, "cap": 40}}, FREE, *REST],
    ),
    "a breaker": (
        {"LLM_BREAKER_THRESHOLD": "9", "LLM_BREAKER_TIMEOUT": "7.5"},
        [{"type": "retry"}, FREE, {"type": "circuit_breaker", "fail_max": 9, "reset_timeout": 7.5}, REST[1]],
    ),
    "no breaker": ({"LLM_BREAKER_THRESHOLD": "0"}, [{"type": "retry"}, FREE, REST[1]]),
    "a limit of time": ({"LLM_TIMEOUT": "8"}, [{"type": "retry"}, FREE, REST[0], {"type": "timeout", "seconds": 8}]),
    "budgets": (
        {"LLM_DAILY_BUDGET": "5", "LLM_MONTHLY_BUDGET": "1E2"},
        [
            {"type": "retry"},
            {**FREE, "budgets": [{"limit": "5", "period": "day"}, {"limit": "100", "period": "month"}]},
            *REST,
        ],
    ),
    "a cache": ({"LLM_CACHE": "on"}, [{"type": "cache"}, {"type": "dedup"}, {"type": "retry"}, FREE, *REST]),
    "a cache for a while": (
        {"LLM_CACHE_TTL": "60"},
        [{"type": "cache", "ttl": 60}, {"type": "dedup"}, {"type": "retry"}, FREE, *REST],
    ),
    "a cache that is off": ({"LLM_CACHE": "0", "LLM_CACHE_TTL": "60"}, [{"type": "retry"}, FREE, *REST]),
    "nothing that is empty": ({"LLM_TIMEOUT": "", "LLM_CACHE": " "}, [{"type": "retry"}, FREE, *REST]),
}


@pytest.mark.parametrize(("environ", "expected"), LAYERS.values(), ids=LAYERS.keys())
def test_what_stands_before_it(environ: dict[str, str], expected: list[dict[str, Any]]) -> None:
    """Each variable is one setting; an empty one is not set."""
    assert config(**MOCK, **environ)["layers"][1:] == expected


WRONG: dict[str, tuple[dict[str, str], list[str]]] = {
    "no provider": ({}, ["LLM_PROVIDER is not set", "OPENAI_API_KEY", "LLM_FORCE_MOCK=1"]),
    "several keys": ({"OPENAI_API_KEY": "a", "GROQ_API_KEY": "b"}, ["openai, groq", "LLM_PROVIDER=openai"]),
    "a provider that is misspelt": ({"LLM_PROVIDER": "opnai"}, ["LLM_PROVIDER", "'opnai'", "did you mean openai?"]),
    "a provider that is none": ({"LLM_PROVIDER": "xyz"}, ["'xyz'", "echo, openai, anthropic"]),
    "no key": ({"LLM_PROVIDER": "openai"}, ["LLM_PROVIDER=openai", "OPENAI_API_KEY, or LLM_API_KEY"]),
    "a flag": ({"LLM_FORCE_MOCK": "maybe"}, ["LLM_FORCE_MOCK must be 1 or 0", "'maybe'"]),
    "seconds": ({**MOCK, "LLM_TIMEOUT": "30s"}, ["LLM_TIMEOUT", "'30s'", "a plain number"]),
    "no seconds": ({**MOCK, "LLM_TIMEOUT": "0"}, ["LLM_TIMEOUT must be seconds above 0", "'0'"]),
    "for ever": ({**MOCK, "LLM_BREAKER_TIMEOUT": "inf"}, ["LLM_BREAKER_TIMEOUT", "'inf'"]),
    "half a try": ({**MOCK, "LLM_MAX_RETRIES": "1.5"}, ["LLM_MAX_RETRIES", "'1.5'", "leave it out for 2"]),
    "a debt": ({**MOCK, "LLM_DAILY_BUDGET": "-1"}, ["LLM_DAILY_BUDGET", "at least 0", "'-1'"]),
    "no money": ({**MOCK, "LLM_MONTHLY_BUDGET": "lots"}, ["LLM_MONTHLY_BUDGET", "'lots'", "like '1.50'"]),
    "an address": ({"LLM_BASE_URL": "here"}, ["the environment", "transport.base_url", "'here'"]),
}


@pytest.mark.parametrize(("environ", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_names_its_variable(environ: dict[str, str], words: list[str]) -> None:
    """With the value and the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        load_stack(environ=environ)

    assert [word for word in words if word not in str(caught.value)] == [], caught.value


def test_a_budget_needs_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a list of prices no budget could hold, and that is said at once."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"install llamina\[prices\]"):
        load_stack(environ={"LLM_PROVIDER": "local", "LLM_DAILY_BUDGET": "5"})
    unmetered = load_stack(environ={"LLM_PROVIDER": "local"})

    assert "cost_meter" not in str(unmetered.to_config())


def test_a_near_miss_is_warned_of() -> None:
    """A budget that is misspelt would be no budget."""
    with pytest.warns(UserWarning, match="LLM_DAILY_BUDGT is not known; did you mean LLM_DAILY_BUDGET") as seen:
        load_stack(environ={**MOCK, "LLM_DAILY_BUDGT": "5"})

    assert seen[0].filename == __file__


def test_variables_of_others_are_passed_over() -> None:
    """They may begin with LLM_ too."""
    stack = load_stack(environ={**MOCK, "LLM_MODEL": "x", "LLM_TEMPERATURE": "0"})

    assert stack.to_config()["transport"] == {"type": "echo"}


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`load_stack()` reads `os.environ`."""
    monkeypatch.setenv("LLM_FORCE_MOCK", "1")
    monkeypatch.setenv("LLM_MAX_RETRIES", "6")

    stack = load_stack()

    assert stack.layers[1].attempts == 7


def test_every_variable_is_documented() -> None:
    """In the module and on the page of the reference."""
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
    doc = sys.modules["llamina._config_environment"].__doc__ or ""

    assert [name for name in VARIABLES if name not in doc or name not in page.read_text()] == []
