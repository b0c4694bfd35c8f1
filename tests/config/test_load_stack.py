"""`load_stack`: where a stack comes from, and what a file may say."""

from __future__ import annotations

import asyncio
import copy
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import config_strangers as strangers
import pytest

from llamina import ConfigurationError, Request, Retry, Stack, StackOrderWarning, Timeout, load_stack
from llamina._config_settings import settings_of
from llamina.plugins import BUILT_IN, resolve
from llamina.policy.backoff import Fibonacci
from llamina.testing import simulated_time
from llamina.transports import EchoTransport

TOML = """
transport = { type = "echo" }

[[layers]]
type = "logger"

[[layers]]
type = "retry"
attempts = 4
backoff = { type = "fibonacci", base = 0.5, cap = 20 }

[[layers]]
type = "cost_meter"
prices = { echo = { input = "1", output = "2" } }
budgets = [{ limit = "100", period = "day" }, { limit = 3000, period = "month" }]

[[layers]]
type = "timeout"
seconds = 30
"""


ODD = ["x", True, -1, {"a": None}, [[]]]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_no_value_of_any_setting_is_more_than_a_fault(value: Any) -> None:
    """Whatever stands in a file: it is a setting, which comes back, or an error that says where."""
    needed = {"map_text": {"function": "textwrap:dedent"}, "recorder": {"path": "a.json"}, "cost_meter": {"prices": {}}}
    entries = [
        {"type": name, **needed.get(name, {}), setting: value}
        for name in BUILT_IN["layer"]
        for setting in settings_of(resolve("layer", name))[0]
    ]

    for entry in entries:
        try:
            config = loaded(entry, check="off").to_config()
        except ConfigurationError as error:
            refused = str(error)
        else:
            refused = ""
            assert load_stack(config).to_config() == config
        assert not refused or "layers[0]" in refused


def loaded(*layers: Any, **more: Any) -> Stack:
    """A stack of these tables over an echo."""
    return load_stack({"transport": "echo", "layers": list(layers), **more})


@simulated_time
async def test_a_file_becomes_a_stack_that_answers(tmp_path: Path) -> None:
    """Names, settings and the order are those of the file."""
    (tmp_path / "stack.toml").write_text(TOML)

    stack = load_stack(tmp_path / "stack.toml")
    response = await stack(Request.chat("echo", "hi"))

    assert "hi" in response.text
    assert [type(layer).__name__ for layer in stack.layers] == ["Logger", "Retry", "CostMeter", "Timeout"]
    assert stack.layers[1].attempts == 4
    assert stack.layers[1].backoff == Fibonacci(0.5, 20)
    assert [str(budget.limit) for budget in stack.layers[2].budgets] == ["100", "3000"]


def test_the_path_may_be_text(tmp_path: Path) -> None:
    """A path is a text or a Path."""
    (tmp_path / "stack.toml").write_text(TOML)

    stack = load_stack(str(tmp_path / "stack.toml"))

    assert len(stack.layers) == 4


def test_a_file_with_a_mark_and_foreign_line_ends_is_read(tmp_path: Path) -> None:
    """What editors on Windows write is TOML too."""
    (tmp_path / "stack.toml").write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())

    stack = load_stack(tmp_path / "stack.toml")

    assert len(stack.layers) == 4


def test_a_mapping_is_not_changed() -> None:
    """The caller's data can be used again."""
    said = {"transport": {"type": "echo"}, "layers": [{"type": "retry", "backoff": {"type": "constant", "delay": 1}}]}
    before = copy.deepcopy(said)

    load_stack(said)

    assert said == before


def test_a_name_alone_is_a_table_without_settings() -> None:
    """What needs no settings needs no table."""
    stack = loaded("logger", {"type": "retry", "backoff": "fibonacci"})

    assert stack.layers[1].backoff == Fibonacci()
    assert isinstance(stack.transport, EchoTransport)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"transport = echo", "line 1"),
        (b"transport = {", "end of document"),
        (b"\n\n[[layers\n", "line 3"),
        (b"transport = 'x'\nname = 'caf\xe9'", "stack.toml is not UTF-8 (line 2)"),
        (b"transport = null ", "TOML has no null"),
    ],
)
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, content: bytes, words: str) -> None:
    """The name of the file and the line are in the error."""
    (tmp_path / "stack.toml").write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        load_stack(tmp_path / "stack.toml")

    assert words in str(caught.value)
    assert "stack.toml" in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """So is a folder in the place of a file."""
    with pytest.raises(ConfigurationError, match=r"no stack file '.*nowhere\.toml'"):
        load_stack(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match="is a folder"):
        load_stack(tmp_path)


def test_what_is_no_source_is_refused() -> None:
    """A list of layers belongs to `build_stack`, a text of TOML to tomllib."""
    with pytest.raises(ConfigurationError, match=r"got its text; write tomllib\.loads"):
        load_stack(TOML)
    with pytest.raises(ConfigurationError, match="a mapping, or nothing, got list"):
        load_stack([Retry()])  # type: ignore[arg-type]


def test_the_stacks_own_settings_are_read() -> None:
    """`hold_streams` and `stream_buffer` are those of `build_stack`."""
    stack = loaded(hold_streams=True, stream_buffer=3, llamina=1)

    assert stack.to_config() == {"transport": {"type": "echo"}, "layers": [], "hold_streams": True, "stream_buffer": 3}


def test_a_file_of_another_version_is_refused() -> None:
    """Nothing else is said of a file that cannot be understood."""
    with pytest.raises(ConfigurationError, match=r"llamina: must be 1, .* got 2") as caught:
        loaded("nonsense", llamina=2)

    assert "nonsense" not in str(caught.value)


def test_a_wrong_order_warns_where_the_stack_is_loaded() -> None:
    """The warning points at the line that calls `load_stack`."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        load_stack({"transport": "echo", "layers": ["retry", "cache"]})

    assert [warning.category for warning in seen] == [StackOrderWarning]
    assert seen[0].filename == __file__


def test_the_file_decides_what_a_wrong_order_does() -> None:
    """Unless the caller does."""
    said = {"transport": "echo", "layers": ["retry", "cache"]}

    quiet = load_stack({**said, "check": "off"})
    with pytest.raises(ConfigurationError, match="Cache"):
        load_stack({**said, "check": "error"})
    with pytest.raises(ConfigurationError, match=r"load_stack\.check must be 'warn', 'error' or 'off', got 'of'"):
        load_stack(said, check="of")  # type: ignore[arg-type]
    also_quiet = load_stack({**said, "check": "error"}, check="off")

    assert len(quiet.layers) == len(also_quiet.layers) == 2
    assert quiet.to_config()["check"] == "off"


def test_a_stack_may_end_in_a_stack() -> None:
    """Written in place, it is the transport."""
    inner = {"type": "stack", "layers": [{"type": "logger"}], "transport": {"type": "echo", "delay": 1}}

    stack = load_stack({"transport": inner, "layers": ["timeout"]})

    assert isinstance(stack.transport, Stack)
    assert stack.transport.transport.delay == 1
    assert stack.to_config()["transport"] == inner


def test_a_stack_may_end_in_another_file(tmp_path: Path) -> None:
    """It is found beside the file that names it."""
    (tmp_path / "inner.toml").write_text(TOML)
    (tmp_path / "outer.toml").write_text('transport = { type = "stack", file = "inner.toml" }')

    stack = load_stack(tmp_path / "outer.toml")

    assert len(stack.transport.layers) == 4
    assert load_stack(stack.to_config()).to_config() == stack.to_config()


def test_faults_of_another_file_say_which(tmp_path: Path) -> None:
    """The path leads through both files."""
    (tmp_path / "inner.toml").write_text(TOML.replace("attempts", "atempts"))
    (tmp_path / "outer.toml").write_text('transport = { type = "stack", file = "inner.toml" }')

    with pytest.raises(ConfigurationError) as caught:
        load_stack(tmp_path / "outer.toml")

    assert "transport.file(inner.toml): layers[1]" in str(caught.value)
    assert "did you mean 'attempts'?" in str(caught.value)


def test_the_cause_is_kept_through_a_stack_within_a_stack() -> None:
    """Whoever wrote the class finds the line there too."""
    inner = {"type": "stack", "transport": "echo", "layers": [{"type": "config_strangers:Plain", "seconds": 100}]}

    with pytest.raises(ConfigurationError, match=r"transport\.layers\[0\]") as caught:
        load_stack({"transport": inner})

    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_file_says_all_of_its_stack(tmp_path: Path) -> None:
    """Layers beside `file` would be lost."""
    with pytest.raises(ConfigurationError, match=r"transport\.layers: the file says all of that stack"):
        load_stack({"transport": {"type": "stack", "file": "a.toml", "layers": []}})
    with pytest.raises(ConfigurationError, match=r"transport\.file: there is no stack file"):
        load_stack({"transport": {"type": "stack", "file": str(tmp_path / "a.toml")}})


def test_a_file_does_not_end_in_itself(tmp_path: Path) -> None:
    """A circle of files is found, not followed."""
    (tmp_path / "a.toml").write_text('transport = { type = "stack", file = "b.toml" }')
    (tmp_path / "b.toml").write_text('transport = { type = "stack", file = "a.toml" }')

    with pytest.raises(ConfigurationError, match=r"a\.toml stands within itself"):
        load_stack(tmp_path / "a.toml")


def test_loading_leaves_no_loop_and_no_task_behind() -> None:
    """It is plain sync code, also within a running loop."""

    async def within() -> Stack:
        return loaded("retry")

    stack = asyncio.run(within())

    assert len(stack.layers) == 1


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"type": "config_strangers:Limit", "limit": 2}, strangers.Limit(2)),
        (
            {"type": "config_strangers:Limit", "limit": 2, "window": {"seconds": 5, "names": ["a"]}, "colour": "blue"},
            strangers.Limit(2, strangers.Window(5, ("a",)), strangers.Colour.BLUE),
        ),
        ({"type": "config_strangers:Greeter", "times": [1, 2]}, strangers.Greeter(times=[1, 2])),
    ],
    ids=["an attrs class", "a class in a class", "a dataclass"],
)
def test_a_strangers_class_is_built_by_its_fields(entry: dict[str, Any], expected: Any) -> None:
    """Names, types and defaults are those of its signature."""
    stack = loaded(entry)

    assert repr(stack.layers[0]) == repr(expected)
    assert stack.to_config()["layers"] == [entry]


def test_a_plain_class_gets_what_it_takes() -> None:
    """Also what has no annotation, and what only `**settings` take."""
    entry = {"type": "config_strangers:Plain", "seconds": 3, "anything": [1, {"a": "b"}], "on": False, "further": "x"}

    stack = loaded(entry)

    assert stack.layers[0].given == (3, [1, {"a": "b"}], False, {"further": "x"})
    assert stack.to_config()["layers"] == [entry]


def test_a_function_that_makes_a_layer_is_called() -> None:
    """What it was called with is remembered, for the layer cannot tell."""
    entry = {"type": "config_strangers:stamped", "label": "x", "count": 2}

    stack = loaded(entry)

    assert stack.layers[0].made_of == ("x", 2)
    assert stack.to_config()["layers"] == [entry]


def test_settings_of_many_types_are_read() -> None:
    """By their annotations; what an annotation does not tell is passed on as it is."""
    entry = {
        "type": "config_strangers:Typed",
        "amount": "0.10",
        "path": "b/c",
        "names": ["x", "y"],
        "table": {"one": 1},
        "choice": 3,
        "maybe": False,
        "windows": [{"seconds": 2}],
        "pair": [1, "a"],
        "error": "ServerError",
        "call": "config_strangers:shout",
        "unheard": {"of": 1},
    }

    stack = loaded(entry)
    layer = stack.layers[0]

    assert (layer.amount, layer.path, layer.names) == (Decimal("0.10"), Path("b/c"), {"x", "y"})
    assert (layer.maybe, layer.windows, layer.pair) == (False, [strangers.Window(2)], (1, "a"))
    assert (layer.error.__name__, layer.call, layer.unheard) == ("ServerError", strangers.shout, {"of": 1})
    assert stack.to_config()["layers"] == [entry]


def test_an_older_attrs_class_is_read_too() -> None:
    """Its types stand in its fields, or nowhere."""
    stack = loaded({"type": "config_strangers:Older", "seconds": 3, "free": ["x"]})

    assert (stack.layers[0].seconds, stack.layers[0].free) == (3, ["x"])
    with pytest.raises(ConfigurationError, match=r"layers\[0\]\.seconds: must be a number"):
        loaded({"type": "config_strangers:Older", "seconds": "3"})


def test_a_partial_is_called() -> None:
    """It makes a layer; an object of a module is one."""
    stack = loaded("config_strangers:PARTIAL", "config_strangers:OBJECT")

    assert stack.layers[0].made_of == ("from a partial", 1)
    assert stack.layers[1] is strangers.OBJECT
    assert stack.to_config()["layers"] == [{"type": "config_strangers:PARTIAL"}, {"type": "config_strangers:OBJECT"}]


def test_an_object_of_a_module_can_be_the_transport() -> None:
    """As it stands."""
    stack = load_stack({"transport": "config_strangers:ECHO"})

    assert stack.transport is strangers.ECHO


@pytest.mark.parametrize("name", ["as_it_stands", "READY"])
def test_a_layer_that_is_ready_is_taken_as_it_is(name: str) -> None:
    """A `@middleware` function and an object in a module need no settings, and take none."""
    stack = loaded(f"config_strangers:{name}")

    assert stack.layers[0] is getattr(strangers, name)
    with pytest.raises(ConfigurationError, match=r"layers\[0\]\.limit: .* has no settings"):
        loaded({"type": f"config_strangers:{name}", "limit": 3})


@simulated_time
async def test_a_function_can_be_the_transport() -> None:
    """An `async def handler(request)` answers."""
    stack = load_stack({"transport": "config_strangers:answer"})

    response = await stack(Request.chat("m", "hi"))

    assert response.text == "from a function"
    assert stack.to_config() == {"transport": {"type": "config_strangers:answer"}, "layers": []}


@pytest.mark.parametrize(
    "instead",
    [
        {"type": "echo", "delay": 1},
        {"type": "config_strangers:answer"},
        {"type": "stack", "transport": {"type": "echo"}, "layers": [{"type": "retry"}]},
    ],
    ids=["a transport", "a function", "a stack"],
)
def test_a_stranger_may_take_a_transport_or_a_layer(instead: dict[str, Any]) -> None:
    """A setting of the type Handler or Middleware is a table like any other."""
    entry = {"type": "config_strangers:Backup", "instead": instead, "around": {"type": "timeout", "seconds": 2}}

    stack = loaded(entry)

    assert callable(stack.layers[0].instead)
    assert isinstance(stack.layers[0].around, Timeout)
    assert load_stack(stack.to_config()).to_config() == stack.to_config()


def test_functions_are_named_by_their_module() -> None:
    """Settings that take a function take `module:name`."""
    stack = loaded(
        {"type": "map_text", "function": "config_strangers:shout", "by": "line"},
        {"type": "retry", "retry_on": "config_strangers:worth_it"},
        {"type": "circuit_breaker", "key": "config_strangers:shout"},
    )

    assert stack.layers[1].retry_on is strangers.worth_it
    assert stack.layers[2].key is strangers.shout


@pytest.mark.parametrize("value", ["RateLimitError", ["RateLimitError", "builtins:TimeoutError"]])
def test_errors_are_named(value: Any) -> None:
    """Llamina's by their names, others by their module."""
    from llamina import RateLimitError, ServerError

    stack = loaded({"type": "retry", "retry_on": value})

    assert stack.layers[0].retry_on(RateLimitError("slow"))
    assert not stack.layers[0].retry_on(ServerError("down"))


def test_a_backoff_for_each_class_of_errors() -> None:
    """The table of a backoff may be a table by the names of errors."""
    backoff = {"RateLimitError": {"type": "constant", "delay": 2}, "NetworkError": "linear"}

    stack = loaded({"type": "retry", "backoff": backoff})

    assert [kind.__name__ for kind in stack.layers[0].backoff] == ["RateLimitError", "NetworkError"]
    assert stack.to_config()["layers"][0]["backoff"]["NetworkError"] == {"type": "linear"}


def test_false_is_none() -> None:
    """TOML has no null: where None means something, `false` says it."""
    stack = loaded(
        {"type": "retry", "budget": False},
        {"type": "circuit_breaker", "fail_max": False, "failure_rate": 0.5},
        {"type": "timeout", "seconds": 3, "grace": False},
    )

    assert stack.layers[0].budget is None
    assert stack.layers[1].fail_max is None
    assert stack.layers[2].grace is None


def test_prices_may_stand_in_order() -> None:
    """A list of tables: the first that knows a model counts."""
    stack = loaded(
        {"type": "cost_meter", "prices": [{"a": {"input": "1", "output": "2"}}, {"*": {"input": "3", "output": "4"}}]}
    )

    book = stack.layers[0].prices

    assert book.price("a", None).input == 1_000_000
    assert book.price("b", None).input == 3_000_000


def test_objects_in_a_mapping_are_passed_on() -> None:
    """A mapping that code has made may hold what no file can say."""
    stack = loaded({"type": "retry", "retry_on": strangers.worth_it, "backoff": Fibonacci(cap=7)}, Timeout(9))

    assert stack.layers[0].backoff == Fibonacci(cap=7)
    assert stack.layers[1].seconds == 9
