"""What the tests of the command line share: the command in a process of its own, and one short demo for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from cli_process import environment

from llamina.cli.demo import perform
from llamina.cli.display import Scene
from llamina.cli.scenario import plan
from llamina.cli.summary import Summary


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, run to its end."""

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "llamina", *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            env=environment(**more),
            check=False,
        )

    return run


class KeepsTheScene:
    """A display that draws nothing and keeps what there was to see."""

    scene: Scene

    async def follow(self, scene: Scene) -> None:
        self.scene = scene
        await asyncio.get_running_loop().create_future()

    def conclude(self, summary: Summary) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def demo() -> tuple[Scene, Summary]:
    """A short demo that has ended: what there was to see, and its sums."""
    display = KeepsTheScene()

    summary = asyncio.run(perform(plan(calls=120, seed=7, seconds=1.5), display))

    return display.scene, summary
