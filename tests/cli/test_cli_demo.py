"""`llamina demo`: its sums add up, on a terminal, in a pipe and as JSON, and it ends cleanly when it is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from attrs import evolve
from cli_process import environment

from llamina.cli.bill import Bill, Line
from llamina.cli.demo import perform, show
from llamina.cli.display import Quiet, Scene, choose_display
from llamina.cli.scenario import plan
from llamina.cli.summary import Check, Summary

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def printed(command: Command) -> dict[str, object]:
    """The summary of a demo that ran in a process of its own."""
    done = command("demo", "--json", "--calls", "150", "--seconds", "2.5", "--seed", "11")

    assert (done.returncode, done.stderr) == (0, "")
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_all_sums_add_up(printed: dict[str, object]) -> None:
    """Each check has two equal numbers."""
    assert printed["ok"] is True
    assert [check for check in printed["checks"] if check["left"] != check["right"]] == []


def test_every_call_came_to_an_end(printed: dict[str, object]) -> None:
    """Answered, left early, refused or failed: together they are all."""
    calls = printed["calls"]

    ends = [calls[end] for end in ("answered", "left early", "refused", "failed")]

    assert calls["planned"] == sum(ends) == 150
    assert sum(calls["answered_by"].values()) == calls["answered"]
    assert sum(calls["refused_or_failed_by"].values()) == calls["refused"] + calls["failed"]


def test_every_layer_did_something(printed: dict[str, object]) -> None:
    """Hits, joined calls, retries, a budget that ran out, a circuit that opened and was probed, a limit that fired."""
    gates = {gate["name"]: gate for gate in printed["stages"]}

    assert gates["Cache"]["stopped"] > 0
    assert gates["Dedup"]["stopped"] > 0
    assert gates["Retry"]["added"] > 0
    assert gates["CostMeter"]["stopped"] > 0
    assert gates["CircuitBreaker"]["stopped"] > 0
    assert printed["circuit"]["opened"] > 0
    assert printed["circuit"]["half_opened"] > 0


def test_the_providers_count_is_the_meters_to_the_last_digit(printed: dict[str, object]) -> None:
    """What was estimated is apart, and not nothing."""
    money = printed["money"]

    assert money["counted"]["meter_usd"] == money["counted"]["bill_usd"]
    assert Decimal(money["counted"]["meter_usd"]) > 0
    assert Decimal(money["estimated"]["meter_usd"]) > 0
    assert money["estimated"]["by_outcome"]["cancelled"] > 0


def test_the_attempts_add_up_to_what_the_provider_saw(printed: dict[str, object]) -> None:
    """Counted, refused before any work, and estimated ones."""
    money = printed["money"]
    seen = printed["stages"][-1]["entered"]

    parts = [money[name]["attempts"] for name in ("counted", "refused_before_any_work", "estimated")]

    assert sum(parts) == seen


@pytest.mark.parametrize(("seed", "calls"), [(1, 20), (2, 60), (3, 400)])
def test_the_sums_add_up_for_other_traffic_too(seed: int, calls: int) -> None:
    """Few calls and many, another seed."""
    summary = asyncio.run(perform(plan(calls=calls, seed=seed, seconds=1.0), Quiet()))

    assert [check for check in summary.checks if not check.holds] == []


def test_a_demo_whose_sums_do_not_add_up_ends_with_1(
    demo: tuple[Scene, Summary], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a script can rely on it."""
    wrong = evolve(demo[1], checks=[Check("apples = pears", 3, 4)])
    monkeypatch.setattr("llamina.cli.demo.perform", lambda *_: _soon(wrong))

    code = show(calls=20, seed=1, seconds=2.0, plain=True, as_json=True)

    assert code == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


async def _soon(summary: Summary) -> Summary:
    return summary


def test_a_request_that_no_ledger_knows_is_noticed(demo: tuple[Scene, Summary]) -> None:
    """The check compares the ledgers with what the provider saw, not with themselves."""
    scene, summary = demo
    scene.provider.requests.append(scene.provider.requests[0])

    try:
        again = Summary.of(scene.traffic, scene.stack, scene.meter, scene.provider, seconds=1.0)
    finally:
        scene.provider.requests.pop()

    assert [check.name for check in again.checks if not check.holds] == [
        "attempts in the ledgers = requests the provider saw"
    ]
    assert summary.adds_up


def test_an_exact_count_that_is_not_on_the_bill_is_noticed(demo: tuple[Scene, Summary]) -> None:
    """Each attempt is looked for on the bill, each line is found once."""
    attempt = next(each for each in demo[0].traffic.attempts if each.outcome == "ok")
    usage = attempt.usage
    line = Line(attempt.model, usage.input_tokens, usage.output_tokens, 0, 0)

    assert Bill([line]).find([attempt]) == 1
    assert Bill([line]).find([attempt, attempt]) == 1
    assert Bill([line._replace(output_tokens=usage.output_tokens + 1)]).find([attempt]) == 0


def test_nobody_goes_beyond_the_budget_and_one_is_refused(demo: tuple[Scene, Summary]) -> None:
    """The others have room to the end."""
    scene, summary = demo

    refused = {
        each.planned.user for each in scene.traffic.finished if each.error and each.error.outcome == "budget_exceeded"
    }

    assert refused == {"mallory"}
    assert summary.reasons["budget_exceeded"] > 0


def test_a_pipe_gets_lines_without_a_live_display(command: Command) -> None:
    """No escape sequences, the acts, the events, the summary."""
    done = command("demo", "--calls", "40", "--seconds", "1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "-- outage: the provider is down" in done.stdout
    assert "sums add up." in done.stdout


def test_json_and_plain_choose_their_displays() -> None:
    """Without a terminal the live display is never chosen."""
    names = [
        type(choose_display(plain=plain, quiet=quiet)).__name__
        for plain, quiet in ((False, True), (True, False), (False, False))
    ]

    assert names == ["Quiet", "Plain", "Plain"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_the_live_display_and_is_given_back() -> None:
    """It is drawn on the other screen; the summary stays on the first."""
    code, shown = in_a_terminal("demo", "--calls", "40", "--seconds", "1")

    assert code == 0
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    live, _, rest = shown.partition("\x1b[?1049l")
    assert "CircuitBreaker" in live
    assert "sums add up." in rest


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_gives_the_terminal_back() -> None:
    """The exit code is 130, and there is no traceback."""
    code, shown = in_a_terminal("demo", "--seconds", "60", interrupt_after="CircuitBreaker")

    assert code == 130
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert "Traceback" not in shown


def in_a_terminal(*arguments: str, interrupt_after: str | None = None) -> tuple[int, str]:
    """The command on a pseudo-terminal of 80 x 24: its exit code and all that was shown."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "llamina", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**variables, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
        if interrupt_after is not None and interrupt_after.encode() in shown:
            child.send_signal(signal.SIGINT)
            interrupt_after = None
    os.close(ours)
    return child.wait(timeout=30), shown.decode("utf-8", "replace")
