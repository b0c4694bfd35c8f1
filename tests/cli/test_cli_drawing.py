"""What the demo draws: bars, columns and strips, figures from statistics, events in words, whole pictures."""

from __future__ import annotations

import pytest
from attrs import evolve
from rich.console import Console
from rich.text import Text

from llamina.cli.display import Scene
from llamina.cli.figures import percentile, stages
from llamina.cli.happenings import Event, Happenings
from llamina.cli.report import print_report
from llamina.cli.screen import fits, frame
from llamina.cli.summary import Check, Summary
from llamina.cli.widgets import ASCII, UNICODE, bar, clip, columns, strip

NAMES = ["Logger", "Cache", "Dedup", "Retry", "CostMeter", "CircuitBreaker", "Timeout", "the provider"]


def test_a_bar_shows_its_parts_in_proportion() -> None:
    """And is as wide as it should be."""
    drawn = bar([(5, "cyan"), (5, "red")], scale=20, width=20, glyphs=ASCII)

    assert drawn.plain == "==========----------"
    assert [(span.start, span.end, span.style) for span in drawn.spans[:2]] == [(0, 5, "cyan"), (5, 10, "red")]


def test_a_small_part_of_a_bar_is_never_invisible() -> None:
    """One refusal among a thousand calls is seen."""
    drawn = bar([(1000, "cyan"), (1, "red")], scale=2000, width=10, glyphs=ASCII)

    assert drawn.plain == "======----"


def test_a_bar_never_grows_beyond_its_width() -> None:
    """More than the scale is a full bar; an empty scale is an empty one."""
    assert len(bar([(50, "red"), (3, "red")], scale=10, width=8, glyphs=ASCII)) == 8
    assert bar([(0, "red")], scale=0, width=4, glyphs=ASCII).plain == "----"


def test_columns_fill_several_lines_from_below() -> None:
    """The highest line comes first."""
    lines = columns([0, 1, 8, 16, 99], rows=2, style="green", glyphs=UNICODE, peak=16)

    assert [line.plain for line in lines] == ["   ██", " ▁███"]


def test_a_strip_tells_states_apart_without_colours() -> None:
    """Each state has a letter of its own, what is to come has none."""
    drawn = strip(["closed", "open", "half-open", ""], {}, ASCII)

    assert drawn.plain == "-X? "


def test_a_text_that_is_too_long_ends_with_an_ellipsis() -> None:
    """It is cut where the line ends."""
    assert clip("abcdef", 4, UNICODE) == "abc…"
    assert clip("abcd", 4, UNICODE) == "abcd"


def test_a_percentile_is_one_of_the_values() -> None:
    """And 0 where there is none."""
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 1.0) == 3.0
    assert percentile([], 0.95) == 0.0


def test_the_gates_follow_from_the_statistics(demo: tuple[Scene, Summary]) -> None:
    """What leaves one layer enters the next; only Retry adds some."""
    gates = demo[1].stages

    passed = [gate.entered - gate.stopped + gate.added for gate in gates]

    assert [gate.name for gate in gates] == NAMES
    assert passed[:-1] == [gate.entered for gate in gates[1:]]


def test_the_gates_can_be_drawn_before_anything_happened(demo: tuple[Scene, Summary]) -> None:
    """A statistic that is not there yet is 0."""
    empty = {"cost.total": 0, "circuit.state": "closed"}

    gates = stages(empty, requests=0)

    assert [gate.entered for gate in gates] == [0] * len(NAMES)


def test_what_happens_again_and_again_is_one_line() -> None:
    """The last of its kind, with their number; the listener hears of the first."""
    heard: list[Event] = []
    happenings = Happenings(clock=lambda: 1.0, listener=heard.append)

    happenings.note("ada refused", "bad", "budget")
    happenings.note("grace refused", "bad", "budget")
    happenings.note("the circuit opens", "bad")

    assert [(event.text, event.times) for event in happenings.last(5)] == [
        ("grace refused", 2),
        ("the circuit opens", 1),
    ]
    assert len(heard) == 2


def test_the_circuit_is_remembered_over_time() -> None:
    """Its changes are events, and a history that can be drawn."""
    happenings = Happenings(clock=lambda: 4.5)

    happenings.circuit_changes("simulated", "closed", "open")

    assert happenings.circuit == [(0.0, "closed"), (4.5, "open")]
    assert "the circuit opens" in happenings.last(1)[0].text


def test_the_events_of_a_demo_tell_its_story(demo: tuple[Scene, Summary]) -> None:
    """Retries with their waits, the circuit, the budget, streams that were left."""
    told = "\n".join([event.text for event in demo[0].happenings.last(200)])

    for part in ("waited", "answered", "the circuit opens", "the circuit closes", "refused", "left a stream"):
        assert part in told


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (72, 20), (200, 60)])
def test_a_picture_fits_its_terminal(demo: tuple[Scene, Summary], width: int, height: int) -> None:
    """No line is too long, none too many, and every layer is on it."""
    picture = frame(_at_the_end(demo[0]), width, height, UNICODE)

    lines = picture.plain.split("\n")

    assert len(lines) <= height
    assert max([Text(line).cell_len for line in lines]) <= width
    assert all([any([line.startswith(name) for line in lines]) for name in NAMES])


def test_a_picture_for_a_terminal_without_block_letters_is_ascii(demo: tuple[Scene, Summary]) -> None:
    """Old terminals see the same."""
    assert frame(_at_the_end(demo[0]), 80, 24, ASCII).plain.isascii()


def _at_the_end(scene: Scene) -> Scene:
    """*scene* with its clock stopped: it is drawn outside of the loop that it was played in."""

    class Stopped:
        now = scene.scenario.seconds
        in_flight = 0

        def __getattr__(self, name: str) -> object:
            return getattr(scene.traffic, name)

    return evolve(scene, traffic=Stopped())


def test_the_live_display_wants_a_terminal_that_is_large_enough() -> None:
    """Otherwise lines are printed."""
    assert fits(Console(force_terminal=True, width=80, height=24))
    assert not fits(Console(force_terminal=True, width=60, height=24))
    assert not fits(Console(force_terminal=False, width=80, height=24))


def test_the_report_says_that_the_sums_add_up(demo: tuple[Scene, Summary], capsys: pytest.CaptureFixture[str]) -> None:
    """With the ends of all calls, and lines that fit."""
    print_report(demo[1], Console(width=80, highlight=False))

    printed = capsys.readouterr().out
    assert "All 17 sums add up." in printed
    assert f"120 calls = {demo[1].ends['answered']} answered" in printed
    assert all([line == line.rstrip() and len(line) <= 80 for line in printed.splitlines()])


def test_the_report_names_the_sums_that_do_not(demo: tuple[Scene, Summary], capsys: pytest.CaptureFixture[str]) -> None:
    """With both numbers."""
    wrong = evolve(demo[1], checks=[*demo[1].checks, Check("apples = pears", 3, 4)])

    print_report(wrong, Console(width=80, highlight=False))

    assert "apples = pears: 3 and 4" in capsys.readouterr().out
    assert not wrong.adds_up
