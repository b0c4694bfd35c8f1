"""What is measured: each function gives the rows of one section, `{library: {figure: value}}`.

A library that failed has `{"failed": reason}` in its place.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clients import CLIENTS
from concerns import CONCERNS
from conductor import FailedError, Team, Worker, provider, surroundings
from environments import Environments

Rows = dict[str, dict[str, Any]]

IMPORT = """
import time
before = time.process_time()
{statement}
took = time.process_time() - before
resident = [line for line in open("/proc/self/status") if line.startswith("VmRSS")][0]
print(took * 1000, int(resident.split()[1]) * 1.024 / 1000)
"""
IMPORTS = {
    "Python alone": ("current", "pass"),
    "llamina, the name": ("current", "import llamina"),
    "llamina, seven layers and HTTPTransport": (
        "current",
        """from llamina import Cache, CircuitBreaker, CostMeter, Dedup, Logger, Retry, Timeout
from llamina.transports import HTTPTransport""",
    ),
    "tenacity": ("current", "import tenacity"),
    "stamina": ("current", "import stamina"),
    "aiocache": ("current", "import aiocache"),
    "openai SDK 3": ("current", "import openai"),
    "openai SDK 2": ("litellm", "import openai"),
    "any-llm": ("current", "from any_llm import acompletion"),
    "pydantic-ai": ("current", "from pydantic_ai import Agent\nfrom pydantic_ai.models.openai import OpenAIChatModel"),
    "langchain-openai": ("current", "from langchain_openai import ChatOpenAI"),
    "litellm": ("litellm", "import litellm"),
}

FACTS = ("default", "two_retries", "quota", "aborted", "crowd", "shared")
LIBRARIES = {
    "llamina": "current",
    "openai SDK 3": "current",
    "openai SDK 2": "litellm",
    "tenacity over the SDK": "current",
    "stamina over the SDK": "current",
    "aiocache cached": "current",
    "aiocache cached_stampede": "current",
    "litellm acompletion": "litellm",
    "litellm Router": "litellm",
    "langchain ChatOpenAI": "current",
    "langchain with_retry": "current",
    "pydantic-ai Agent": "current",
    "any-llm acompletion": "current",
}
"""Where each library of `facts.py` runs (which imports llamina, so it is no place to look)."""


def with_failures(rows: Mapping[str, dict[str, Any]], team: Team) -> Rows:
    """The rows, and in those of who failed the reason."""
    failed = {name: {**rows.get(name, {}), "failed": why} for name, why in team.failures.items()}
    return {**rows, **failed}


def imports(environments: Environments, *, quick: bool) -> Rows:
    """CPU milliseconds and megabytes of a fresh process that imports it, in turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in IMPORTS}
    rows: Rows = {}
    for _ in range(1 if quick else 3):
        for name, (environment, statement) in IMPORTS.items():
            command = [str(environments.python(environment)), "-c", IMPORT.format(statement=statement)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings())
            if done.returncode:
                rows[name] = {"failed": done.stderr.strip().rpartition("\n")[2][:160]}
                continue
            took, held = done.stdout.split()[-2:]
            seen[name].append((float(took), float(held)))
    for name, found in seen.items():
        if found:
            took_all, held_all = zip(*found, strict=True)
            rows[name] = {"ms": statistics.median(took_all), "MB": statistics.median(held_all)}
    return rows


def concerns(environments: Environments, *, quick: bool) -> Rows:
    """CPU microseconds per call of one concern over a function that does nothing."""
    rows: Rows = {}
    for environment in ("current", "litellm"):  # two at most have much in memory at a time
        entries = {name: entry for name, entry in CONCERNS.items() if entry.environment == environment}
        with Team(environments, "concern", entries) as team:
            team.rounds(2, do="measure")
            rows |= with_failures(team.rounds(1 if quick else 7, do="measure"), team)
    return {name: rows[name] for name in CONCERNS if name in rows}


LOADS = ((1, 40, 5), (64, 128, 3), (512, 512, 2))
"""In flight, calls a round, rounds."""
BUILDS_A_CLIENT = "any-llm acompletion"
"""Takes some 25 ms a call, for the client that it builds: not waited for at 512, where nothing else would show."""
QUICK_LOADS = ((1, 10, 1), (64, 64, 1), (512, 512, 1))


def calls(environments: Environments, *, quick: bool) -> Rows:
    """CPU microseconds per call, calls per second, and CPU microseconds per streamed event, in turns."""
    rows: Rows = {name: {} for name in CLIENTS}
    with provider(environments) as url, Team(environments, "client", CLIENTS, url) as team:
        team.rounds(1, do="calls", in_flight=1, calls=10)
        team.rounds(1, do="events", streams=1)
        for name, found in team.rounds(1 if quick else 5, do="events", streams=1 if quick else 3).items():
            rows[name]["event"] = found["cpu"]
        for in_flight, count, rounds in QUICK_LOADS if quick else LOADS:
            if in_flight == 512:
                team.leave(BUILDS_A_CLIENT)
            if in_flight > 1 and not quick:
                team.rounds(1, do="calls", in_flight=in_flight, calls=in_flight)  # opens the connections
            for name, found in team.rounds(rounds, do="calls", in_flight=in_flight, calls=count).items():
                rows[name] |= {f"cpu {in_flight}": found["cpu"], f"rate {in_flight}": found["rate"]}
        return with_failures(rows, team)


def memory(environments: Environments, *, quick: bool) -> Rows:
    """MB of a process after its first call, and KB for each stream that it holds open."""
    rows: Rows = {}
    with provider(environments) as url:

        def measure(name: str) -> dict[str, Any]:
            worker = Worker(environments.python(CLIENTS[name].environment), "client", name, url)
            try:
                return worker.ask(do="memory", streams=32 if quick else 512)
            except FailedError as error:
                return {"failed": str(error)}
            finally:
                worker.end()

        with ThreadPoolExecutor(2) as pool:
            rows = dict(zip(CLIENTS, pool.map(measure, CLIENTS), strict=True))
    return rows


def facts(environments: Environments, *, quick: bool) -> Rows:
    """Counts of runs: no figure here depends on how busy the machine is."""

    def find(name: str) -> dict[str, Any]:
        worker = Worker(environments.python(LIBRARIES[name]), "fact", name)
        found: dict[str, Any] = {}
        for column in FACTS:
            try:
                found[column] = worker.ask(do=column)["value"]
            except FailedError as error:
                found[column] = f"failed: {error}"
        worker.end()
        return found

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(LIBRARIES, pool.map(find, LIBRARIES), strict=True))


SECTIONS: dict[str, Callable[..., Rows]] = {
    "imports": imports,
    "concerns": concerns,
    "calls": calls,
    "memory": memory,
    "facts": facts,
}
