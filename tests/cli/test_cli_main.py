"""The command itself: its version, its help, and what it says without its extra."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import environment

import llamina
from llamina.cli import main

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_version_is_the_packages(command: Command) -> None:
    """On one line."""
    done = command("--version")

    assert (done.returncode, done.stdout) == (0, f"llamina {llamina.__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_help_names_the_commands(command: Command, arguments: list[str]) -> None:
    """Also without any argument."""
    done = command(*arguments)

    assert done.returncode == 0
    assert "demo" in done.stdout
    assert "ask" in done.stdout


@pytest.mark.parametrize(("name", "options"), [("demo", ["--calls", "--json"]), ("ask", ["--model", "--api-key-env"])])
def test_each_command_explains_its_options(command: Command, name: str, options: list[str]) -> None:
    """On 80 columns and without colours in a pipe."""
    done = command(name, "--help")

    assert done.returncode == 0
    assert all([option in done.stdout for option in options])
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("arguments", [["nothing"], ["demo", "--calls", "3"], ["demo", "--seconds", "nan"]])
def test_a_wrong_use_is_one_line_and_2(command: Command, arguments: list[str]) -> None:
    """No usage text, no box."""
    done = command(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("llamina: ")
    assert done.stderr.count("\n") == 1


def test_each_fault_of_a_file_has_a_line(command: Command, tmp_path: Path) -> None:
    """A list of faults in one long line could not be read."""
    path = tmp_path / "stack.toml"
    path.write_text('transport = "ecko"\nlayers = [{ type = "retry", atempts = 3 }]\n')

    done = command("check", str(path))

    first, *faults = done.stderr.splitlines()
    assert (done.returncode, first.endswith("has 2 faults:")) == (2, True)
    assert ["atempts" in faults[0], "ecko" in faults[1]] == [True, True]


def test_a_warning_is_one_line_without_our_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where in llamina it was raised is nothing to who typed a command; what is secret stays so."""
    path = tmp_path / "stack.toml"
    path.write_text('transport = { type = "http", provider = "openai", api_key = "sk-0123456789abcdef" }\n')

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code = main(["check", str(path)])

    shown = capsys.readouterr()
    assert code == 0
    assert shown.err.startswith("llamina: ")
    assert shown.err.count("\n") == 1
    assert "0123456789" not in shown.err + shown.out


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_names_the_command_that_installs_it(missing: str) -> None:
    """One line, and 2."""
    code = f"import sys; sys.modules[{missing!r}] = None; from llamina.cli import main; sys.exit(main(['demo']))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)

    assert done.returncode == 2
    assert done.stderr == 'llamina: the command line needs typer and rich: pip install "llamina[cli]"\n'


def test_naming_the_command_loads_neither_typer_nor_rich() -> None:
    """They are imported when it runs."""
    code = "import sys, llamina.cli; print([name for name in ('typer', 'rich') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of ours is no traceback either, unless one is asked for."""

    def broken(**_: object) -> int:
        raise TypeError("a bug\nof ours")

    monkeypatch.delenv("LLAMINA_TRACEBACK", raising=False)
    monkeypatch.setattr("llamina.cli.demo.show", broken)

    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "llamina: unexpected TypeError: a bug of ours (LLAMINA_TRACEBACK=1 shows where)\n"
    )


def test_a_traceback_is_shown_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever mends it."""

    def broken(**_: object) -> int:
        raise TypeError("a bug of ours")

    monkeypatch.setenv("LLAMINA_TRACEBACK", "1")
    monkeypatch.setattr("llamina.cli.demo.show", broken)

    with pytest.raises(TypeError, match="a bug of ours"):
        main(["demo"])
