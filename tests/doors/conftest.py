"""The SDKs are extras: where they are missing, there is nothing to put a door in."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = (
    [] if all(importlib.util.find_spec(name) for name in ("anthropic", "httpx2", "openai")) else ["test_*.py"]
)
