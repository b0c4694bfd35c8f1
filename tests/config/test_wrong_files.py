"""Wrong stack files: each fault is told with its place, the value, and what is right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from llamina import ConfigurationError, load_stack

ECHO = 'transport = { type = "echo" }\n'


def layer(text: str) -> str:
    """A file with one layer."""
    return f"{ECHO}[[layers]]\n{text}"


WRONG = {
    "a setting that is misspelt": (
        layer('type = "retry"\natempts = 4'),
        ["layers[0]", "'atempts' of retry", "did you mean 'attempts'?"],
    ),
    "a setting by another library's name": (
        layer('type = "retry"\nmax_attempts = 4'),
        ["layers[0]", "'max_attempts'", "did you mean 'attempts'?"],
    ),
    "a setting that is like none": (
        layer('type = "timeout"\nxyz = 4'),
        ["layers[0]", "'xyz' of timeout", "it has seconds, first_event, idle, grace"],
    ),
    "a layer that is misspelt": (layer('type = "retri"'), ["layers[0].type", "'retri'", "did you mean 'retry'?"]),
    "a layer in the transport's place": ('transport = "retry"', ["transport.type", "'retry'", "retry is a layer"]),
    "a backoff that is misspelt": (
        layer('type = "retry"\nbackoff = { type = "fibonaci" }'),
        ["layers[0].backoff.type", "'fibonaci'", "did you mean 'fibonacci'?"],
    ),
    "a setting of a backoff": (
        layer('type = "retry"\nbackoff = { type = "linear", kap = 3 }'),
        ["layers[0].backoff", "'kap' of linear", "did you mean 'cap'?"],
    ),
    "a value that a backoff refuses": (
        layer('type = "retry"\nbackoff = { type = "exponential", base = 5, cap = 1 }'),
        ["layers[0].backoff.cap", "at least base", "got 1"],
    ),
    "a value that a layer refuses": (
        layer('type = "retry"\nattempts = 0'),
        ["layers[0].attempts", "Retry.attempts must be a whole number of at least 1, got 0", "leave Retry out"],
    ),
    "a table of errors with a wrong error": (
        layer('type = "retry"\nbackoff = { RateLimitErorr = { type = "constant" } }'),
        ["layers[0].backoff.RateLimitErorr", "did you mean 'RateLimitError'?"],
    ),
    "a text for a number": (layer('type = "timeout"\nseconds = "30s"'), ["layers[0].seconds", "'30s'", "write 30,"]),
    "a time for a length": (
        layer('type = "timeout"\nseconds = 00:01:30'),
        ["layers[0].seconds", "the time 00:01:30", "plain seconds: write 90"],
    ),
    "a flag for a number": (layer('type = "retry"\nattempts = true'), ["layers[0].attempts", "got true"]),
    "none where there is no none": (layer('type = "retry"\nattempts = false'), ["layers[0].attempts", "got false"]),
    "a number for a flag": (
        layer('type = "logger"\ncontent = 1'),
        ["layers[0].content", "must be true or false", "got 1"],
    ),
    "a broken number for a whole one": (
        layer('type = "retry"\nattempts = 2.5'),
        ["layers[0].attempts", "a whole number", "got 2.5"],
    ),
    "not a number": (layer('type = "timeout"\nseconds = nan'), ["layers[0].seconds", "Timeout.seconds", "got nan"]),
    "without an end": (layer('type = "timeout"\nidle = inf'), ["layers[0].idle", "Timeout.idle", "got inf"]),
    "money that is not exact": (
        layer('type = "cost_meter"\nprices = {}\nbudgets = [{ limit = 0.5 }]'),
        ["layers[0].budgets[0].limit", "got 0.5", "write '0.5', with quotes"],
    ),
    "a period that is none": (
        layer('type = "cost_meter"\nprices = {}\nbudgets = [{ limit = "1" }, { limit = "5", period = "dya" }]'),
        ["layers[0].budgets[1].period", "'dya'", "'day', 'week', 'month'"],
    ),
    "a price that is not exact": (
        layer('type = "cost_meter"\nprices = { m = { input = 0.5, output = "1" } }'),
        ["layers[0].prices", "prices['m'].input must be exact", "0.5"],
    ),
    "a word that is none of some": (
        layer('type = "map_text"\nfunction = "textwrap:dedent"\nby = "lines"'),
        ["layers[0].by", "'lines'", "did you mean 'line'?"],
    ),
    "a setting that is missing": (layer('type = "map_text"'), ["layers[0].function", "is missing; map_text needs it"]),
    "a function by its name alone": (
        layer('type = "map_text"\nfunction = "dedent"'),
        ["layers[0].function", "'module:name', got 'dedent'"],
    ),
    "a function that is nowhere": (
        layer('type = "map_text"\nfunction = "textwrap:indentt"'),
        ["layers[0].function", "'textwrap:indentt'", "cannot be imported: AttributeError"],
    ),
    "a function that is none": (
        layer('type = "map_text"\nfunction = "config_strangers:WORDS"'),
        ["layers[0].function", "'config_strangers:WORDS' is str"],
    ),
    "a module that is nowhere": (
        layer('type = "nowhere_at_all:Layer"'),
        ["layers[0].type", "'nowhere_at_all:Layer'", "ModuleNotFoundError"],
    ),
    "a list for a text": (
        layer('type = "cache"\nnamespace = ["a"]'),
        ["layers[0].namespace", "must be text, got ['a']"],
    ),
    "a store without a type": (
        layer('type = "cache"\nstore = { maxsize = 3 }'),
        ["layers[0].store.type", "must name a store", "a table (maxsize)", "write type = 'memory'"],
    ),
    "a backoff without a type": (
        layer('type = "retry"\nbackoff = { base = 1 }'),
        ["layers[0].backoff.type", "must name a backoff", "a table (base)"],
    ),
    "a transport among the layers": (
        f'layers = ["echo"]\n{ECHO}',
        ["layers[0].type", "there is no layer 'echo'", "echo is a transport"],
    ),
    "a setting of one letter": (f"a = 1\n{ECHO}", ["unknown setting 'a' of a stack", "it has llamina, transport"]),
    "a stack whose file is a number": (
        'transport = { type = "stack", file = 3 }',
        ["transport.file", "must be a path, got 3"],
    ),
    "a strangers class that leaves": (
        layer('type = "config_strangers:Leaver"\nseconds = 1'),
        ["layers[0]", "SystemExit: not today"],
    ),
    "a layer without a type": (layer("ttl = 3"), ["layers[0].type", "must name a layer", "a table (ttl)"]),
    "a layer named by another key": (layer('name = "cache"'), ["layers[0].name", "did you mean type = 'cache'?"]),
    "a variable for a number": (
        layer('type = "timeout"\nseconds = "${SECONDS}"'),
        ["layers[0].seconds", "must be a number, got '${SECONDS}'", "only where a setting holds a secret"],
    ),
    "a type that is no text": (layer("type = 3"), ["layers[0].type", "must name a layer, got 3"]),
    "a layer that is a number": (f"layers = [3]\n{ECHO}", ["layers[0]", "must be a layer", "got 3"]),
    "one table for a list": (f'{ECHO}[layers]\ntype = "retry"', ["layers", "a list of tables", "write [[layers]]"]),
    "layers by another name": (f'{ECHO}[[layer]]\ntype = "retry"', ["'layer' of a stack", "did you mean 'layers'?"]),
    "no transport": ('[[layers]]\ntype = "retry"', ["transport", "is missing"]),
    "a check that is none": (f'check = "of"\n{ECHO}', ["check", "'of'", "did you mean 'off'?"]),
    "a buffer of nothing": (f"stream_buffer = 0\n{ECHO}", ["stream_buffer must be at least 1", "got 0"]),
    "an inner layer": (
        'transport = { type = "stack", transport = "echo", layers = [{ type = "retry", attempts = "3" }] }',
        ["transport.layers[0].attempts", "got '3'", "write 3, without quotes"],
    ),
    "a variable that is no secret": (
        layer('type = "cache"\nnamespace = "${HOME}"'),
        ["layers[0].namespace", "only settings that hold a secret", "'${HOME}'"],
    ),
    "an object of code": (layer('type = "retry"\nrng = 7'), ["layers[0].rng", "must be Random, got 7"]),
    "a strangers class that raises": (
        layer('type = "config_strangers:Plain"\nseconds = 100'),
        ["layers[0]", "RuntimeError: too patient"],
    ),
    "an amount of a stranger": (
        layer('type = "config_strangers:Typed"\namount = "lots"'),
        ["layers[0].amount", "an amount as text", "'lots'"],
    ),
    "a table that is a list": (
        layer('type = "config_strangers:Typed"\ntable = [1]'),
        ["layers[0].table", "must be a table, got [1]"],
    ),
    "prices that are a number": (
        layer('type = "cost_meter"\nprices = 0'),
        ["layers[0].prices", "a table of prices", "got 0"],
    ),
    "a choice of a stranger": (
        layer('type = "config_strangers:Limit"\nlimit = 1\ncolour = "green"'),
        ["layers[0].colour", "must be Colour, got 'green'"],
    ),
    "a table in a strangers table": (
        layer('type = "config_strangers:Limit"\nlimit = 1\nwindow = { second = 3 }'),
        ["layers[0].window", "'second' of Window", "did you mean 'seconds'?"],
    ),
    "what takes a request": (layer('type = "os:sep"'), ["layers[0].type", "cannot be called"]),
    "what makes no layer": (layer('type = "builtins:int"'), ["build_stack.layers[0]", "got 0"]),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_fault_is_told_with_its_place_and_its_value(text: str, words: list[str]) -> None:
    """One fault is one line, and a ConfigurationError, which is a ValueError."""
    with pytest.raises(ConfigurationError) as caught:
        load_stack(tomllib.loads(text))

    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert isinstance(caught.value, ValueError)
    assert "\n" not in message


def test_all_faults_of_a_file_are_told_at_once() -> None:
    """Nobody has to run it once for each."""
    said: dict[str, Any] = {
        "transport": {"type": "eko"},
        "layers": [
            {"type": "retry", "atempts": 4, "backoff": {"type": "linear", "base": "1", "cap": True}},
            {"type": "timeout", "seconds": -1},
        ],
        "hold_stream": True,
    }

    with pytest.raises(ConfigurationError) as caught:
        load_stack(said)

    lines = str(caught.value).splitlines()
    assert lines[0] == "the stack has 6 faults:"
    assert [line.split(": ")[0].removeprefix("  - ") for line in lines[1:]] == [
        "unknown setting 'hold_stream' of a stack; did you mean 'hold_streams'?",
        "layers[0]",
        "layers[0].backoff.base",
        "layers[0].backoff.cap",
        "layers[1].seconds",
        "transport.type",
    ]


def test_the_error_of_a_class_is_kept_as_the_cause() -> None:
    """Who wrote the class finds the line."""
    with pytest.raises(ConfigurationError) as caught:
        load_stack({"transport": "echo", "layers": [{"type": "config_strangers:Plain", "seconds": 100}]})

    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_long_value_is_cut() -> None:
    """An error is read by people."""
    with pytest.raises(ConfigurationError) as caught:
        load_stack({"transport": "echo", "layers": [{"type": "timeout", "seconds": "x" * 10_000}]})

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stream_buffer = " + "9" * 5000, ["stack.toml is not TOML", "4300 digits"]),
        ("layers = " + "[" * 3000 + "]" * 3000, ["stack.toml nests too deeply"]),
        ("transport = " + '{ type = "stack", transport = ' * 250 + "3" + "}" * 250, ["stack.toml", "nests too deeply"]),
    ],
    ids=["a number of 5000 digits", "lists in lists", "stacks in stacks"],
)
def test_a_file_beyond_all_bounds_is_refused_in_words(tmp_path: Path, text: str, words: list[str]) -> None:
    """No error of the parser or of the stack of Python escapes."""
    file = tmp_path / "stack.toml"
    file.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        load_stack(file)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_text_for_a_count_is_not_called_a_duration() -> None:
    """The remedy is for a number with a unit only."""
    with pytest.raises(ConfigurationError, match=r"attempts: must be a whole number, got 'many'$"):
        load_stack({"transport": "echo", "layers": [{"type": "retry", "attempts": "many"}]})
    with pytest.raises(ConfigurationError, match="durations are plain seconds, like 30"):
        load_stack({"transport": "echo", "layers": [{"type": "timeout", "seconds": "5 minutes"}]})
