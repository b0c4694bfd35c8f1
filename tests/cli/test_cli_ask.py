"""`llamina ask`: the answer on standard output as it comes, what there is to say about it on standard error."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cli_process import KEYS, environment

from llamina.call import Attempt, Call, Ledger
from llamina.cli.ask import Question, _Printer, describe, find_terminal
from llamina.errors import ConfigurationError
from llamina.messages import Usage
from llamina.protocol import Response
from llamina.testing import SimulatedProvider, cut, status
from llamina.transports import EchoTransport

Command = Callable[..., subprocess.CompletedProcess[str]]
KEY = "sk-canary-0123456789abcdef"


@contextmanager
def provider(*script: Any) -> Iterator[tuple[SimulatedProvider, list[str]]]:
    """A provider on a thread, and the arguments that lead to it."""
    simulated = SimulatedProvider(list(script))
    with simulated.in_thread() as url:
        yield simulated, ["ask", "--base-url", url, "--model", "sim"]


def test_without_a_key_an_echo_answers_and_says_so(command: Command) -> None:
    """The answer alone is on standard output."""
    done = command("ask", "Why is the sky blue?")

    assert done.returncode == 0
    assert done.stdout == 'You said: "Why is the sky blue?" That is all I can say; I am only an echo.\n'
    assert done.stderr.splitlines()[0] == (
        "no provider is named and no key is set: an echo answers (see llamina ask --help)"
    )
    assert "1 attempt" in done.stderr


def test_a_prompt_of_several_words_needs_no_quotes(command: Command) -> None:
    """They are joined by spaces."""
    done = command("ask", "hello", "there")

    assert '"hello there"' in done.stdout


def test_a_prompt_is_read_from_standard_input(command: Command) -> None:
    """Without the end of its last line."""
    done = command("ask", "-", stdin="first\nsecond\n")

    assert '"first\nsecond"' in done.stdout


def test_the_answer_of_a_server_is_streamed(command: Command) -> None:
    """With the line about tokens, seconds and attempts."""
    with provider(["Hel", 0.01, "lo"]) as (simulated, arguments):
        done = command(*arguments, "hi")

    assert (done.returncode, done.stdout) == (0, "Hello\n")
    assert simulated.requests[0].json["stream"] is True
    assert done.stderr.startswith("4 + 2 tokens · ")
    assert done.stderr.endswith(" s · 1 attempt · sim\n")


def test_the_options_reach_the_provider(command: Command) -> None:
    """Those that are not given are not sent."""
    with provider("ok", "ok") as (simulated, arguments):
        command(*arguments, "--no-stream", "--system", "be brief", "--max-tokens", "9", "--temperature", "0.5", "hi")
        command(*arguments, "--no-stream", "hi")

    assert simulated.requests[0].json == {
        "model": "sim",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
    }
    assert simulated.requests[1].json == {"model": "sim", "messages": [{"role": "user", "content": "hi"}]}


def test_the_key_comes_from_the_variable_that_is_named(command: Command) -> None:
    """And goes to the server as a bearer."""
    with provider("ok") as (simulated, arguments):
        done = command(*arguments, "--api-key-env", "MY_KEY", "hi", MY_KEY=KEY)

    assert done.returncode == 0
    assert simulated.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_failed_try_is_repeated(command: Command) -> None:
    """The last line counts the attempts."""
    with provider(status(503, headers={"retry-after-ms": "1"}), "ok") as (_, arguments):
        done = command(*arguments, "hi")

    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "2 attempts" in done.stderr


def test_an_error_is_one_line_without_the_key(command: Command) -> None:
    """Whatever the server wrote, line breaks and an echo of the key included."""
    refusal = status(401, message=f"the key {KEY}\nis wrong\x1b[31m")
    with provider(refusal) as (_, arguments):
        done = command(*arguments, "--api-key-env", "MY_KEY", "hi", MY_KEY=KEY)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llamina: AuthenticationError: ")
    assert done.stderr.count("\n") == 1
    assert "canary" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_stream_that_breaks_off_shows_what_came_and_fails(command: Command) -> None:
    """The line says that the answer is not complete."""
    with provider(["part", 0.01, cut()]) as (simulated, arguments):
        done = command(*arguments, "hi")

    assert (done.returncode, done.stdout) == (1, "part\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("; the answer is not complete\n")
    assert len(simulated.requests) == 1


def test_a_server_that_is_not_there_is_one_line(command: Command) -> None:
    """With the question that helps."""
    done = command("ask", "--base-url", "http://127.0.0.1:1/v1", "--model", "sim", "hi")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llamina: NetworkError")
    assert done.stderr.endswith("; is the server running, and --base-url right?\n")


def test_a_limit_of_time_names_the_option(command: Command) -> None:
    """Each attempt has its own."""
    with provider([30.0, "late"], [30.0, "late"], [30.0, "late"]) as (_, arguments):
        done = command(*arguments, "--timeout", "0.1", "hi")

    assert done.returncode == 1
    assert done.stderr.startswith("llamina: RequestTimeoutError after 3 attempts: ")
    assert done.stderr.endswith("; --timeout sets the limit\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ask"], "Missing argument"),
        (["ask", "--wrong", "hi"], "No such option: --wrong"),
        (["ask", "  "], "the prompt is empty"),
        (["ask", "--provider", "groq", "hi"], "there is no key for groq; export GROQ_API_KEY"),
        (["ask", "--provider", "nobody", "hi"], "'nobody' is no provider that is known; use one of openai,"),
        (["ask", "--base-url", "http://127.0.0.1:1/v1", "hi"], "no model is named for 127.0.0.1; write --model"),
        (["ask", "--base-url", "ftp://x", "--model", "m", "hi"], "must be an http or https address"),
        (["ask", "--api-key-env", "MISSING_KEY", "hi"], "--api-key-env names MISSING_KEY, which is not set"),
        (["ask", "--timeout", "nan", "hi"], "--timeout"),
    ],
)
def test_a_wrong_use_is_one_line_and_2(command: Command, arguments: list[str], words: str) -> None:
    """It says what to do instead."""
    done = command(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("llamina: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_key_that_is_typed_in_the_place_of_its_variable_is_not_repeated(command: Command) -> None:
    """It would stand in the log of whoever runs the command."""
    done = command("ask", "--api-key-env", KEY, "hi")

    assert done.returncode == 2
    assert "canary" not in done.stderr


def test_ctrl_c_ends_the_answer_and_closes_the_connection() -> None:
    """What came stays, the exit code is 130, nothing else is said."""
    with provider(["first ", 60.0, "never"]) as (simulated, arguments):
        child = started(*arguments, "hi")
        first = child.stdout.read(6)
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=30)
        wait_until(lambda: simulated.in_flight == 0)

    assert (child.returncode, first + rest, errors) == (130, b"first \n", b"")
    assert simulated.aborted == 1


def test_a_reader_who_leaves_ends_the_call() -> None:
    """As in `llamina ask ... | head -c 5`."""
    with provider(["word ", *[0.02, "word "] * 500]) as (simulated, arguments):
        child = started(*arguments, "hi")
        child.stdout.read(5)
        child.stdout.close()
        errors = child.stderr.read()
        child.stderr.close()
        code = child.wait(timeout=30)
        wait_until(lambda: simulated.in_flight == 0)

    assert (code, errors) == (141, b"")
    assert simulated.aborted == 1


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """The command, still running."""
    return subprocess.Popen(
        [sys.executable, "-m", "llamina", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=environment(),
    )


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for another thread, at most ten seconds."""
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without keys."""
    for name in KEYS:
        for ending in ("_API_KEY", "_BASE_URL"):
            monkeypatch.delenv(name + ending, raising=False)
    return monkeypatch


def test_the_first_provider_with_a_key_is_asked(no_keys: pytest.MonkeyPatch) -> None:
    """Where none is named."""
    no_keys.setenv("GROQ_API_KEY", KEY)

    transport, model = find_terminal(Question("hi", model="m"))

    assert (transport.provider, model) == ("groq", "m")
    assert KEY not in repr(transport)


def test_a_named_provider_is_asked_whatever_keys_there_are(no_keys: pytest.MonkeyPatch) -> None:
    """One that needs no key too."""
    no_keys.setenv("GROQ_API_KEY", KEY)

    transport, _ = find_terminal(Question("hi", model="m", provider="ollama"))

    assert transport.provider == "ollama"


def test_an_address_without_a_provider_gets_no_key(no_keys: pytest.MonkeyPatch) -> None:
    """A key of the environment belongs to its provider."""
    no_keys.setenv("OPENAI_API_KEY", KEY)

    transport, _ = find_terminal(Question("hi", model="m", base_url="http://127.0.0.1:1/v1"))

    assert transport.api_key is None


def test_a_provider_without_a_model_is_refused(no_keys: pytest.MonkeyPatch) -> None:
    """Names of models age; none is guessed."""
    no_keys.setenv("OPENAI_API_KEY", KEY)

    with pytest.raises(ConfigurationError, match="no model is named for openai"):
        find_terminal(Question("hi"))


def test_without_anything_the_echo_is_chosen(no_keys: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so."""
    transport, model = find_terminal(Question("hi"))

    assert isinstance(transport, EchoTransport)
    assert model == "echo"
    assert "an echo answers" in capsys.readouterr().err


@pytest.mark.parametrize(("terminal", "shown"), [(True, "a[2Jb\n\tc\n"), (False, "a\x1b[2Jb\n\tc\x07\n")])
def test_a_model_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool, shown: str) -> None:
    """Control characters are dropped where the answer is looked at, and kept where it is piped."""
    output = io.StringIO()
    output.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", output)
    printer = _Printer()

    printer.write("a\x1b[2Jb\n\tc\x07")
    printer.end()

    assert output.getvalue() == shown


def answered(*attempts: Attempt, **fields: Any) -> Response:
    """A response of a call with these attempts."""
    return Response.of("text", usage=Usage(10, 20), model="m", **fields).evolve(
        call=Call({}, Ledger(None, list(attempts)))
    )


def test_the_cost_is_that_of_all_attempts() -> None:
    """With the word "about" where a part of it is an estimate."""
    good = Attempt(outcome="ok", cost_units=20_000_000, usage_source="exact")
    failed = Attempt(outcome="server_error", cost_units=1_000_000, usage_source="estimated")

    assert describe(answered(good), 1.26, priced=True) == "10 + 20 tokens · 0.00002 USD · 1.3 s · 1 attempt · m"
    assert "about 0.000021 USD · 1.0 s · 2 attempts" in describe(answered(failed, good), 1.0, priced=True)


def test_a_price_that_nobody_knows_is_not_0() -> None:
    """And without a price list there is no word of it."""
    response = answered(Attempt(outcome="ok", usage_source="exact"))

    assert "price unknown" in describe(response, 1.0, priced=True)
    assert "USD" not in describe(response, 1.0, priced=False)


def test_an_answer_that_was_cut_by_its_limit_says_so() -> None:
    """It looks complete and is not."""
    response = answered(Attempt(outcome="ok", usage_source="exact"), finish_reason="length")

    assert describe(response, 1.0, priced=False).endswith("ended by length")
