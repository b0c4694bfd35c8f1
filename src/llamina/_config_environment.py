"""The stack that environment variables describe, for programs that have no file.

    LLM_PROVIDER=groq  LLM_DAILY_BUDGET=5  LLM_MAX_RETRIES=4      # and GROQ_API_KEY
    stack = load_stack()                                          # Logger, Retry, CostMeter, CircuitBreaker, Timeout

    LLM_PROVIDER             a preset (openai, anthropic, groq ...), or echo; left out, the one whose key is set
    LLM_BASE_URL             another address; without LLM_PROVIDER any server that speaks like OpenAI
    LLM_API_KEY              the key; left out, the provider's own variable, OPENAI_API_KEY say
    LLM_FORCE_MOCK           1: an echo answers, whatever else is set
    LLM_TIMEOUT              seconds for each try (120)
    LLM_MAX_RETRIES          tries after the first (2); 0: none
    LLM_BACKOFF_BASE         seconds before the first retry, doubled with each (0.5)
    LLM_BREAKER_THRESHOLD    failures in a row that open the circuit (5); 0: no breaker
    LLM_BREAKER_TIMEOUT      seconds until it is probed (60)
    LLM_DAILY_BUDGET         USD a day, in UTC; LLM_MONTHLY_BUDGET: USD a month (no limit)
    LLM_CACHE                1: equal requests are answered from memory, and share one call while it is under way
    LLM_CACHE_TTL            seconds for which an answer is kept (for ever); sets LLM_CACHE too, unless that is 0

A variable that is empty is not set. The one surprise: other programs have variables of their own that begin with LLM_, so
one that is not known is passed over; only a near miss (LLM_DAILY_BUDGT) is warned of.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from .errors import ConfigurationError
from .policy.money import to_units
from .transports import Preset, presets

__all__ = ["VARIABLES", "table_of"]

VARIABLES = (
    "LLM_PROVIDER",
    "LLM_BASE_URL",
    "LLM_API_KEY",
    "LLM_FORCE_MOCK",
    "LLM_TIMEOUT",
    "LLM_MAX_RETRIES",
    "LLM_BACKOFF_BASE",
    "LLM_BREAKER_THRESHOLD",
    "LLM_BREAKER_TIMEOUT",
    "LLM_DAILY_BUDGET",
    "LLM_MONTHLY_BUDGET",
    "LLM_CACHE",
    "LLM_CACHE_TTL",
)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def table_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """What a stack file would say for these variables.

    Raises:
        ConfigurationError: a value makes no sense, or no provider can be told; names the variable and the remedy.
    """
    _warn_of_near_misses(environ)
    read = _Variables(environ)
    transport = {"type": "echo"} if read.flag("LLM_FORCE_MOCK") else _transport(read)
    layers: list[dict[str, Any]] = [{"type": "logger"}]
    ttl = read.number("LLM_CACHE_TTL", above=0)
    if read.flag("LLM_CACHE", default=ttl is not None):
        layers += [{"type": "cache", **({} if ttl is None else {"ttl": ttl})}, {"type": "dedup"}]
    base = read.number("LLM_BACKOFF_BASE", above=0)
    retries = read.count("LLM_MAX_RETRIES", 2)
    if retries:
        backoff = {} if base is None else {"backoff": {"type": "exponential", "base": base, "cap": max(30.0, base)}}
        layers.append({"type": "retry", "attempts": retries + 1, **backoff})
    layers += _meter(read, mock=transport["type"] == "echo")
    failures, pause = read.count("LLM_BREAKER_THRESHOLD", 5), read.number("LLM_BREAKER_TIMEOUT", above=0)
    if failures:
        pauses = {} if pause is None else {"reset_timeout": pause}
        layers.append({"type": "circuit_breaker", "fail_max": failures, **pauses})
    seconds = read.number("LLM_TIMEOUT", above=0)
    layers.append({"type": "timeout", "seconds": 120 if seconds is None else seconds})
    return {"transport": transport, "layers": layers}


def _transport(read: _Variables) -> dict[str, Any]:
    provider, address = read.text("LLM_PROVIDER").lower(), read.text("LLM_BASE_URL")
    own_key = {"api_key": "${LLM_API_KEY}"} if read.text("LLM_API_KEY") else {}
    if provider in ("echo", "mock"):
        return {"type": "echo"}
    if not provider and address:
        return {"type": "http", "base_url": address, **own_key}
    provider = provider or _only_provider(read)
    preset = presets().get(provider)
    if preset is None:
        near = get_close_matches(provider, ["echo", *presets()], 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of echo, {', '.join(presets())}."
        raise ConfigurationError(
            f"LLM_PROVIDER must be the name of a provider, got {provider!r}; {hint} "
            "For another server leave it out and set LLM_BASE_URL"
        )
    key = own_key or _usual_key(read, provider, preset)
    if not address and preset.url_name and read.text(preset.url_name):
        address = preset.read_url(read.text(preset.url_name))
    return {"type": "http", "provider": provider, **key, **({"base_url": address} if address else {})}


def _only_provider(read: _Variables) -> str:
    found = [name for name, preset in presets().items() if any([read.text(key) for key in preset.key_names])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"there are keys of {', '.join(found)}; say which with LLM_PROVIDER={found[0]}")
    raise ConfigurationError(
        "LLM_PROVIDER is not set and no provider's key is; export LLM_PROVIDER=openai and OPENAI_API_KEY=..., "
        "LLM_BASE_URL for a server of your own, or LLM_FORCE_MOCK=1 for an echo"
    )


def _usual_key(read: _Variables, provider: str, preset: Preset) -> dict[str, Any]:
    name = next((name for name in preset.key_names if read.text(name)), None)
    if name is None and preset.needs_key:
        names = " or ".join(preset.key_names)
        raise ConfigurationError(f"there is no key for LLM_PROVIDER={provider}; export {names}, or LLM_API_KEY")
    return {} if name is None else {"api_key": f"${{{name}}}"}


def _meter(read: _Variables, *, mock: bool) -> list[dict[str, Any]]:
    budgets = [
        {"limit": amount, "period": period}
        for name, period in (("LLM_DAILY_BUDGET", "day"), ("LLM_MONTHLY_BUDGET", "month"))
        if (amount := read.amount(name)) is not None
    ]
    limits = {"budgets": budgets} if budgets else {}
    if mock:  # what costs nothing needs no list of prices
        return [{"type": "cost_meter", "prices": {}, **limits}]
    if importlib.util.find_spec("genai_prices") is not None:
        return [{"type": "cost_meter", **limits}]
    if budgets:
        raise ConfigurationError(
            "LLM_DAILY_BUDGET and LLM_MONTHLY_BUDGET need the prices of models; install llamina[prices], or say your "
            "prices in a stack file"
        )
    return []


class _Variables:
    """The environment, read by what each variable should hold."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self.text(name)
        if not text:
            return default
        if text.lower() not in _FLAGS:
            raise ConfigurationError(f"{name} must be 1 or 0, got {text!r}; leave it out for {int(default)}")
        return _FLAGS[text.lower()]

    def number(self, name: str, *, above: float) -> float | None:
        text = self.text(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > above):
            raise ConfigurationError(
                f"{name} must be seconds above {above}, got {text!r}; write a plain number, like 30"
            )
        return value

    def count(self, name: str, default: int) -> int:
        text = self.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ConfigurationError(
                f"{name} must be a whole number of at least 0, got {text!r}; leave it out for {default}"
            )
        return int(text) if text else default

    def amount(self, name: str) -> str | None:
        text = self.text(name)
        if not text:
            return None
        if to_units(text, name) < 0:
            raise ConfigurationError(f"{name} must be at least 0 USD, got {text!r}; leave it out for no limit")
        return f"{Decimal(text):f}"


def _warn_of_near_misses(environ: Mapping[str, str]) -> None:
    for name in environ:
        if name.startswith("LLM_") and name not in VARIABLES:
            near = get_close_matches(name, VARIABLES, 1, cutoff=0.85)
            if near:
                warnings.warn(f"the environment variable {name} is not known; did you mean {near[0]}?", stacklevel=4)
