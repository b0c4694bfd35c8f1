"""Start the processes, let them take turns, keep the medians; who fails is a row that says why."""

from __future__ import annotations

import json
import os
import queue
import statistics
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from environments import Environments

HERE = Path(__file__).parent
OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "ANY_LLM_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1",
    "OPENAI_API_KEY": "sk",
    "PYTHONWARNINGS": "ignore",
}

PROVIDER = """
import asyncio, sys
from llamina.testing import SimulatedProvider

PIECES = [f"word{number} " for number in range(200)]

def script(request):
    if request.model == "held":
        return ["the first words", asyncio.Event()]
    return PIECES if request.model == "long" else "a short answer of a few words"

async def main():
    async with SimulatedProvider(script) as provider:
        print(provider.base_url, flush=True)
        while True:
            await asyncio.sleep(2)
            provider.requests.clear()  # a long run would keep the bodies of all

asyncio.run(main())
"""

Answer = dict[str, Any]


class FailedError(Exception):
    """A library could not do it; the text says why."""


def surroundings() -> dict[str, str]:
    """The environment of a process: nobody calls home."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **OFFLINE}


class Worker:
    """A process that measures on command."""

    def __init__(self, python: Path, kind: str, name: str, url: str = "") -> None:
        command = [str(python), str(HERE / "worker.py"), kind, name, url]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=HERE,
            env=surroundings(),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._ready = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _answer(self) -> Answer:
        try:
            line = self._lines.get(timeout=120)
        except queue.Empty:
            raise FailedError("no answer within two minutes") from None
        if not line:
            raise FailedError(f"the process ended with status {self._process.wait()}")
        found: Answer = json.loads(line)
        if "failed" in found:
            raise FailedError(found["failed"])
        return found

    def ask(self, **command: Any) -> Answer:
        """Do it and wait for the answer.

        Raises:
            FailedError: it could not be done.
        """
        if not self._ready:
            self._answer()
            self._ready = True
        assert self._process.stdin is not None
        try:
            print(json.dumps(command), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise FailedError("the process ended") from None
        return self._answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def provider(environments: Environments) -> Iterator[str]:
    """The simulated provider in a process of its own; its address."""
    command = [str(environments.python("current")), "-c", PROVIDER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings())
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


class Team:
    """Workers that take turns. Who fails once is out, and `failures` says why."""

    def __init__(self, environments: Environments, kind: str, entries: Mapping[str, Any], url: str = "") -> None:
        self.failures: dict[str, str] = {}
        self._workers = {
            name: Worker(environments.python(entry.environment), kind, name, url) for name, entry in entries.items()
        }

    def rounds(self, count: int, **command: Any) -> dict[str, Answer]:
        """*count* rounds of a command, all workers in turns: for each the median of every figure."""
        seen: dict[str, list[Answer]] = {name: [] for name in self._workers}
        for _ in range(count):
            for name, worker in list(self._workers.items()):
                try:
                    seen[name].append(worker.ask(**command))
                except FailedError as error:
                    self.failures[name] = str(error)
                    self._workers.pop(name).end()
        return {
            name: {key: statistics.median(answer[key] for answer in answers) for key in answers[0]}
            for name, answers in seen.items()
            if answers and name in self._workers
        }

    def leave(self, name: str) -> None:
        """This one takes no further part."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()
