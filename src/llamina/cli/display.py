"""Ways to show a running demo: live on a terminal, line by line, or not at all.

    display = choose_display(plain=False, quiet=False)
    await display.follow(scene)                  # until cancelled
    display.conclude(summary)

The one surprise: without a terminal a live display makes no sense, so `plain` is chosen by itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, Protocol

import msgspec
from attrs import frozen

from llamina.layers.cost import CostMeter
from llamina.stack import Stack

from .happenings import Event, Happenings
from .scenario import Scenario
from .summary import Summary
from .traffic import Traffic

__all__ = ["Display", "Plain", "Quiet", "Scene", "choose_display"]


@frozen(eq=False)
class Scene:
    """What there is to look at while the demo runs."""

    scenario: Scenario
    traffic: Traffic
    stack: Stack
    meter: CostMeter
    provider: Any
    happenings: Happenings


class Display(Protocol):
    """Something that shows a demo."""

    async def follow(self, scene: Scene) -> None:
        """Show it until cancelled."""

    def conclude(self, summary: Summary) -> None:
        """Show how it went."""


class Quiet:
    """Nothing while it runs, then the summary as JSON."""

    async def follow(self, scene: Scene) -> None:  # noqa: ARG002 - there is nothing to show of it
        """Nothing, until cancelled."""
        await asyncio.get_running_loop().create_future()

    def conclude(self, summary: Summary) -> None:
        """The summary, and nothing else, on standard output."""
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary.as_dict()), indent=2).decode() + "\n")


class Plain:
    """A line for each event, then the summary."""

    async def follow(self, scene: Scene) -> None:
        """Print the acts as they begin and the events as they come, until cancelled."""
        print(f"llamina demo: {len(scene.scenario.calls)} calls through seven layers to {scene.provider.base_url}")
        acts = deque(scene.scenario.acts)
        events: deque[Event] = deque()
        scene.happenings.listener = events.append
        while True:
            while acts and acts[0].since <= scene.traffic.now:
                act = acts.popleft()
                print(f"{act.since:6.2f}  -- {act.name}: {act.title}")
            while events:
                event = events.popleft()
                print(f"{event.at:6.2f}  {event.text}")
            sys.stdout.flush()
            await asyncio.sleep(0.05)

    def conclude(self, summary: Summary) -> None:
        """The summary as text."""
        from .report import print_report

        print_report(summary)


def choose_display(*, plain: bool, quiet: bool) -> Display:
    """The display that fits the options and the terminal."""
    if quiet:
        return Quiet()
    if plain:
        return Plain()
    from rich.console import Console

    from .screen import Live, fits

    console = Console()
    return Live(console) if fits(console) else Plain()
