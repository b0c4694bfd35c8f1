"""The environment in which the tests run the command."""

from __future__ import annotations

import os

KEYS = ("OPENAI", "OPENROUTER", "GROQ", "GEMINI", "GOOGLE")


def environment(**more: str) -> dict[str, str]:
    """The environment without the keys that the machine may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*KEYS, "LLAMINA", "OLLAMA"))}
    return {**kept, "PYTHONUTF8": "1", **more}
