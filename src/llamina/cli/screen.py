"""The demo on a terminal, drawn ten times a second from what the stack counts.

    display = Live(console)
    await display.follow(scene)

From top to bottom: what is going on, what happened over time, the layers in the order in which calls meet them, the
budgets, latency, what a stream is saying, the last events. A larger terminal shows higher columns, more events and the
log.

The one surprise: it is drawn on the terminal's other screen and is gone at the end; what stays is the summary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from .figures import Stage, percentile, stages
from .scenario import USERS
from .widgets import ASCII, UNICODE, Glyphs, bar, clip, columns, strip

if TYPE_CHECKING:
    from .display import Scene
    from .summary import Summary

__all__ = ["Live", "fits", "frame"]

_INTERVAL = 0.1
_TONES = {"pass": "cyan", "saved": "green", "refused": "red", "failed": "red", "added": "yellow"}
_EVENTS = {"good": "green", "bad": "red", "wait": "yellow", "plain": "default"}
_CIRCUIT = {"closed": "green", "half-open": "yellow", "open": "red"}
_TELLING = ("half-open", "open", "closed")


def fits(console: Console) -> bool:
    """Whether *console* is a terminal that is large and able enough."""
    return console.is_terminal and not console.is_dumb_terminal and console.width >= 72 and console.height >= 20


@define(eq=False)
class Live:
    """The live display."""

    console: Console

    async def follow(self, scene: Scene) -> None:
        """Draw until cancelled, and leave the terminal as it was."""
        glyphs = ASCII if self.console.options.ascii_only else UNICODE
        with RichLive(console=self.console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
            while True:
                live.update(frame(scene, self.console.width, self.console.height, glyphs), refresh=True)
                await asyncio.sleep(_INTERVAL)

    def conclude(self, summary: Summary) -> None:
        """The summary, on the screen that stays."""
        from .report import print_report

        print_report(summary, self.console)


def frame(scene: Scene, width: int, height: int, glyphs: Glyphs) -> Text:
    """One picture of *scene*, *height* lines of at most *width* letters."""
    page = _Page(scene, width, height, glyphs)
    roomy = height >= 34
    lines = [*page.head(), Text(), *page.history(rows=3 if roomy else 1), Text(), *page.layers(), Text()]
    lines += page.budgets(1 if roomy else 2)
    lines += [Text(), *page.pulse()] if roomy else page.pulse()
    if roomy:
        lines += [Text(), *page.log(3), Text()]
    lines += page.events(height - len(lines))
    for line in lines:
        line.truncate(width)
    return Text("\n", no_wrap=True, overflow="crop").join(lines[:height])


@frozen
class _Page:
    scene: Scene
    width: int
    height: int
    glyphs: Glyphs
    _label: int = field(init=False, default=10)

    def head(self) -> list[Text]:
        scenario, traffic = self.scene.scenario, self.scene.traffic
        act = scenario.act_at(traffic.now)
        clock = f"{traffic.started}/{len(scenario.calls)} calls {traffic.now:5.1f} s"
        left = Text.assemble(("llamina demo  ", "bold"), clip(act.title, self.width - len(clock) - 16, self.glyphs))
        left.append(" " * (self.width - len(left) - len(clock)))
        return [left.append(clock, "dim")]

    def history(self, rows: int) -> list[Text]:
        """What happened over time: the acts, answers, refusals and failures, the circuit."""
        scenario, traffic = self.scene.scenario, self.scene.traffic
        room = self.width - self._label - 1
        span = 1.04 * scenario.seconds  # the last calls end after the last was sent
        now = int(room * traffic.now / span)
        answered, stopped = [0.0] * room, [0.0] * room
        for finished in traffic.finished:
            place = min(room - 1, int(room * finished.at / span))
            chart = answered if finished.end in ("answered", "left early") else stopped
            for near, share in ((place - 1, 0.25), (place, 0.5), (place + 1, 0.25)):  # spread, so that it is a curve
                if 0 <= near < room:
                    chart[near] += share
        peak = 2.5 * len(scenario.calls) / room
        good = columns(answered, rows=rows, style="green", glyphs=self.glyphs, peak=peak)
        bad = columns(stopped, rows=rows, style="red", glyphs=self.glyphs, peak=peak)
        states = self._states(room, span, min(now, room - 1))
        return [
            self._row("", self._acts(room, span)),
            *self._rows("answered", good),
            *self._rows("refused", bad),
            self._row("circuit", strip(states, _CIRCUIT, self.glyphs)),
        ]

    def _acts(self, room: int, span: float) -> Text:
        now = self.scene.traffic.now
        line = Text()
        for act in self.scene.scenario.acts:
            line.append(" " * (int(room * act.since / span) - len(line)))
            is_on = act.since <= now < act.until
            length = int(room * (act.until - act.since) / span) - 1
            line.append(
                clip(act.name, length, self.glyphs), "bold reverse" if is_on else "dim" if now < act.since else ""
            )
        return line

    def _states(self, room: int, span: float, now: int) -> list[str]:
        """The state of the circuit in each column up to now: the rarest, where it changed within one."""
        changes = [(int(room * at / span), state) for at, state in self.scene.happenings.circuit]
        states = []
        current = "closed"
        for place in range(room):
            within = [state for at, state in changes if at == place]
            states.append(min([current, *within], key=_TELLING.index) if place <= now else "")
            current = within[-1] if within else current
        return states

    def layers(self) -> list[Text]:
        scene = self.scene
        gates = stages(scene.stack.stats(), requests=len(scene.provider.requests), attempts=scene.traffic.attempts)
        length = min(44, max(16, self.width - 15 - 5 - 2 - 42))
        scale = max(len(scene.scenario.calls), *[gate.entered + gate.added for gate in gates])
        return [self._layer(gate, length, scale) for gate in gates]

    def _layer(self, gate: Stage, length: int, scale: int) -> Text:
        drawn = bar(
            [(count, _TONES[tone]) for count, tone in gate.parts], scale=scale, width=length, glyphs=self.glyphs
        )
        line = Text.assemble((f"{gate.name:<15}", "bold"), f"{gate.entered:>4} ", drawn, "  ")
        if gate.name == "CircuitBreaker":
            state, comma, rest = gate.words.partition(",")
            return line.append(f"{self.glyphs.point} {state}", f"bold {_CIRCUIT.get(state, '')}").append(comma + rest)
        return line.append(clip(gate.words, self.width - len(line), self.glyphs))

    def budgets(self, side_by_side: int) -> list[Text]:
        balances = {balance.account: balance for balance in self.scene.meter.balances()}
        limit = float(self.scene.scenario.budget)
        share = self.width // side_by_side
        cells = []
        for user in USERS:
            balance = balances.get(user)
            spent = 0.0 if balance is None else float(balance.spent)
            held = 0.0 if balance is None else float(balance.held)
            figures = f" {spent:.4f} of {limit:.4f} USD" if share > 50 else f" {spent:.4f} of {limit:.4f}"
            style = "red" if spent + held > 0.95 * limit else "yellow" if spent > 0.8 * limit else "green"
            drawn = bar(
                [(spent, style), (0, ""), (held, style)],
                scale=limit,
                width=share - self._label - len(figures) - 2,
                glyphs=self.glyphs,
            )
            cells.append(Text.assemble((f"{user:<{self._label}}", "bold"), drawn, figures, "  "))
        return [Text().join(cells[place : place + side_by_side]) for place in range(0, len(cells), side_by_side)]

    def pulse(self) -> list[Text]:
        """Latency, what is in flight, and what a stream is saying."""
        traffic = self.scene.traffic
        asked = [each for each in traffic.finished if each.end == "answered" and each.source == "provider"]
        took = [each.latency for each in asked]
        firsts = [each.first for each in asked if each.first is not None]
        numbers = (
            f"{traffic.in_flight} in flight   latency {percentile(took, 0.5):.2f} s median, "
            f"{percentile(took, 0.95):.2f} s p95, {percentile(firsts, 0.5):.2f} s first words"
        )
        user, said = traffic.speaking
        room = self.width - self._label
        return [self._row("now", Text(numbers)), self._row(f"{user}", Text(said[-room:], "italic cyan"))]

    def log(self, number: int) -> list[Text]:
        lines = list(self.scene.happenings.log.lines)[-number:]
        texts = [self._row("log" if place == 0 else "", Text(line, "dim")) for place, line in enumerate(lines)]
        return texts + [Text()] * (number - len(texts))

    def events(self, number: int) -> list[Text]:
        texts = []
        for event in self.scene.happenings.last(number):
            times = f" ({event.times} times)" if event.times > 1 else ""
            texts.append(self._row(f"{event.at:.2f} s", Text(event.text + times, _EVENTS[event.tone])))
        return texts

    def _row(self, label: str, content: Text) -> Text:
        return Text.assemble((f"{label:<{self._label}}", "dim"), content)

    def _rows(self, label: str, lines: Iterable[Text]) -> list[Text]:
        return [self._row(label if place == 0 else "", line) for place, line in enumerate(lines)]
