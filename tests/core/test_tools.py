"""Tools of typed functions: what the model is told, how its calls are read, and what goes back."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    ConfigurationError,
    Image,
    InvalidRequestError,
    MalformedResponseError,
    Message,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    build_stack,
)
from llamina.testing import FakeTransport, simulated_time, tool_call
from llamina.tools import Tool, run_tools, tool


class Unit(enum.Enum):
    """A scale."""

    C = "celsius"
    F = "fahrenheit"


@dataclasses.dataclass
class Place:
    """Somewhere."""

    city: str
    country: str | None = None


class Tree(msgspec.Struct):
    """A tree."""

    label: str
    children: list[Tree] = []


class Range(TypedDict):
    """From and to."""

    low: int
    high: NotRequired[int]


@attrs.define
class Wind:
    """How it blows."""

    speed: float
    gusts: bool = False


@tool
def weather(city: str, days: int = 1) -> str:
    """The weather of a city for the next days."""
    return f"sunny in {city} for {days} day(s)"


@tool
async def time_of(city: str) -> str:
    """The time in a city."""
    await asyncio.sleep(5)
    return f"noon in {city}"


@tool
def broken(reason: str) -> str:
    """Fails."""
    raise LookupError(reason)


def properties(annotation: Any, *default: Any, strict: bool | None = None) -> dict[str, Any]:
    """The schema of the parameters of a tool with one parameter of that type."""

    def thing(value): ...  # type: ignore[no-untyped-def]

    thing.__annotations__["value"] = annotation
    thing.__defaults__ = default
    return dict(tool(strict=strict)(thing).parameters)


def call(name: str, arguments: str, key: str = "call_1") -> ToolCall:
    """A call as a model writes it."""
    return ToolCall(key, name, arguments)


# what the model is told


def test_a_tool_is_told_by_the_name_docstring_and_types_of_its_function() -> None:
    """The definition is the neutral one of the chat dialect, with a closed object of parameters."""
    assert weather.definition == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city for the next days.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }


def test_a_request_holds_tools_as_plain_data() -> None:
    """So it has the same identity as one whose tools were written by hand, and can be pickled."""
    by_hand = Request.chat("m", "hi", tools=[weather.definition])

    request = Request.chat("m", "hi", tools=[weather])

    assert request.params["tools"] == [weather.definition]
    assert request.identity == by_hand.identity


def test_the_function_stays_what_it_was() -> None:
    """A tool is called as the function, and shows its signature."""
    assert weather("Paris", days=2) == "sunny in Paris for 2 day(s)"
    assert inspect.signature(weather) == inspect.signature(weather.function)
    assert repr(weather) == "Tool('weather')"


def test_the_name_the_description_and_strictness_can_be_given() -> None:
    """The decorator takes them as keywords, and says strict only where it was said."""

    @tool(name="forecast", description="What comes.", strict=False)
    def foretell(city: str) -> str:
        return city

    assert foretell.definition["function"]["name"] == "forecast"
    assert foretell.definition["function"]["description"] == "What comes."
    assert foretell.definition["function"]["strict"] is False
    assert "strict" not in weather.definition["function"]


def test_parameters_are_described_by_annotations_and_by_the_docstring() -> None:
    """An annotation goes before the `Args:` section, which is no part of the description."""

    @tool
    def find(
        words: Annotated[str, msgspec.Meta(description="what to look for")],
        limit: Annotated[int, "how many"] = 3,
        place: Place | None = None,
    ) -> str:
        """Find something.

        It may take long.

        Args:
            words: never shown
            place (Place): where to look, which
                may be anywhere
            nobody: no parameter

        Returns:
            The first hit.
        """
        return words

    found = find.parameters["properties"]

    assert find.description == "Find something.\n\nIt may take long.\n\nReturns:\n    The first hit."
    assert found["words"]["description"] == "what to look for"
    assert found["limit"]["description"] == "how many"
    assert found["place"]["description"] == "where to look, which may be anywhere"


def test_a_tool_without_a_docstring_has_an_empty_description() -> None:
    """What the name says may be enough."""

    @tool
    def now() -> str:
        return "noon"

    assert now.description == ""
    assert now.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Annotated[int, msgspec.Meta(ge=1)], {"type": "integer", "minimum": 1}),
    ],
    ids=str,
)
def test_a_plain_type_has_its_schema(annotation: Any, schema: dict[str, Any]) -> None:
    """The schema of a parameter is that of its type."""
    assert properties(annotation)["properties"]["value"] == schema


@pytest.mark.parametrize(
    ("annotation", "required"),
    [(Unit, None), (Place, ["city"]), (Range, ["low"]), (Wind, ["speed"]), (Tree, ["label"])],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_type_of_ones_own_stands_under_defs(annotation: Any, required: list[str] | None) -> None:
    """An enum, dataclass, TypedDict, attrs class and Struct is referred to by its name."""
    schema = properties(annotation)

    assert schema["properties"]["value"] == {"$ref": f"#/$defs/{annotation.__name__}"}
    assert schema["$defs"][annotation.__name__].get("required") == required


def test_a_type_that_holds_itself_refers_to_itself() -> None:
    """A tree is told once."""
    schema = properties(Tree)

    assert list(schema["$defs"]) == ["Tree"]
    assert schema["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


@pytest.mark.parametrize(
    ("default", "said"), [(Unit.F, "fahrenheit"), (Place("Rome"), {"city": "Rome", "country": None})]
)
def test_a_default_is_told_as_json(default: Any, said: Any) -> None:
    """Also one of a type of one's own."""
    assert properties(type(default), default)["properties"]["value"]["default"] == said


@pytest.mark.parametrize("default", [object(), float("inf")])
def test_a_default_that_is_no_json_is_the_functions_own(default: Any) -> None:
    """The parameter is not required, and the model is told nothing of the mark."""
    schema = properties(float, default)

    assert schema["required"] == []
    assert "default" not in schema["properties"]["value"]


def test_a_default_of_none_admits_null() -> None:
    """`unit: str = None` means what its author meant."""
    assert {"type": "null"} in properties(str, None)["properties"]["value"]["anyOf"]


def test_annotations_may_name_local_types() -> None:
    """The annotations of this module are texts; the type is looked up where the decorator is."""

    @dataclasses.dataclass
    class Here:
        x: int

    @tool
    def go(to: Here) -> str:
        return str(to.x)

    assert go.result(call("go", '{"to": {"x": 3}}')).text == "3"


def test_annotations_may_name_what_the_function_closes_over() -> None:
    """A type that the body uses is known wherever the tool is made."""

    def make() -> Callable[..., int]:
        @dataclasses.dataclass
        class Here:
            x: int

        def go(to: Here) -> int:
            return Here(to.x + 1).x

        return go

    assert tool(make()).result(call("go", '{"to": {"x": 3}}')).text == "4"


def test_a_function_that_calls_itself_is_a_tool() -> None:
    """Its own name is not bound yet when it is decorated."""

    @tool
    def down(to: int) -> int:
        return down(to - 1) if to else 0

    assert down.result(call("down", '{"to": 3}')).text == "0"


def test_a_return_type_that_cannot_be_resolved_is_no_matter() -> None:
    """Only a type checker reads it."""

    @tool
    def go(to: str) -> OnlyForCheckers:  # type: ignore[name-defined]  # noqa: F821
        return to

    assert go.parameters["required"] == ["to"]


def test_a_bound_method_is_a_tool() -> None:
    """Its object is given already."""

    class Account:
        def __init__(self) -> None:
            self.sum = 5

        def pay(self, amount: int) -> int:
            """Pay."""
            self.sum -= amount
            return self.sum

    account = Account()

    pay = tool(account.pay)

    assert list(pay.parameters["properties"]) == ["amount"]
    assert pay.result(call("pay", '{"amount": 2}')).text == "3"


def test_a_wrapped_function_keeps_its_parameters() -> None:
    """A decorator that says what it wraps does not hide the types."""

    def twice(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> str:
            return function(*args, **kwargs) * 2

        return wrapper

    @tool
    @twice
    def say(word: str) -> str:
        return word

    assert say.result(call("say", '{"word": "ha"}')).text == "haha"


# what cannot be told


# fmt: off
def no_type(city): ...  # type: ignore[no-untyped-def]  # noqa: D103
def many(*cities: str) -> None: ...  # noqa: D103
def further(**cities: str) -> None: ...  # noqa: D103
def by_place(city: str, /) -> None: ...  # noqa: D103
def by_object(city: object) -> None: ...  # noqa: D103
def by_callable(city: Callable[[], int]) -> None: ...  # noqa: D103
def by_unknown(city: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: D103, F821
def by_two(city: Place | Wind) -> None: ...  # noqa: D103
# fmt: on


@pytest.mark.parametrize(
    ("function", "remedy"),
    [
        (no_type, "annotate it"),
        (many, "give each argument a parameter"),
        (further, "give each argument a parameter"),
        (by_place, "leave out the '/'"),
        (by_object, "a dataclass"),
        (by_callable, "a dataclass"),
        (by_unknown, "import the type at runtime"),
        (by_two, "a dataclass"),
    ],
)
def test_a_parameter_that_no_model_can_give_is_refused(function: Callable[..., Any], remedy: str) -> None:
    """The error names the function, the parameter and what to do."""
    with pytest.raises(ConfigurationError) as caught:
        tool(function)

    assert f"of tool '{function.__name__}'" in str(caught.value)
    assert "parameter 'cit" in str(caught.value)
    assert remedy in str(caught.value)


def test_a_method_is_refused_with_the_way_to_do_it() -> None:
    """There is no object yet when a class is made."""
    with pytest.raises(ConfigurationError, match=r"tool\(thing\.method\)"):

        class Account:
            @tool
            def pay(self, amount: int) -> None: ...


@pytest.mark.parametrize("name", ["", "has space", "ümlaut", "x" * 65, 3])
def test_a_name_that_providers_refuse_is_refused(name: Any) -> None:
    """The error says what a name looks like."""
    with pytest.raises(ConfigurationError, match="1 to 64 letters"):
        tool(name=name)(weather.function)


def test_what_is_no_function_is_refused() -> None:
    """A class, a partial or a tool of a tool has no parameters to tell."""
    for thing in (Place, functools.partial(len), weather, "weather", print):
        with pytest.raises(ConfigurationError, match="made of a function"):
            tool(thing)  # type: ignore[arg-type]


# strict


def test_strict_requires_every_property_of_every_object() -> None:
    """A parameter with a default may be null; a field of a type in it is always written."""

    @tool(strict=True)
    def go(to: Place, days: int = 1, unit: Unit | None = None) -> None: ...

    schema = go.parameters

    assert schema["required"] == ["to", "days", "unit"]
    assert schema["properties"]["days"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert schema["properties"]["unit"] == {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]}
    assert schema["$defs"]["Place"]["required"] == ["city", "country"]
    assert schema["$defs"]["Place"]["additionalProperties"] is False
    assert go.definition["function"]["strict"] is True


def test_a_null_for_what_cannot_be_none_is_left_to_the_default() -> None:
    """Strict has no other way to leave a parameter out, and models write it without being asked."""
    assert weather.result(call("weather", '{"city": "Paris", "days": null}')).text == "sunny in Paris for 1 day(s)"


def test_strict_lets_a_reference_stand_alone() -> None:
    """A description beside a reference is moved round it."""
    schema = properties(Annotated[Tree, "where to climb"], strict=True)

    assert schema["properties"]["value"] == {"description": "where to climb", "anyOf": [{"$ref": "#/$defs/Tree"}]}


@pytest.mark.parametrize(
    "annotation", [Any, dict, dict[str, int], list, tuple[int, str], list[dict[str, int]]], ids=str
)
def test_strict_refuses_what_is_free_form(annotation: Any) -> None:
    """The provider would, with a status 400; the error says what to use instead."""
    with pytest.raises(ConfigurationError, match="tool 'thing': value.*leave strict out"):
        properties(annotation, strict=True)


# what the model called


def test_arguments_are_read_as_the_annotated_types() -> None:
    """What the model left out is left to the function."""

    @tool
    def go(to: Place, unit: Unit, bounds: Range, winds: list[Wind], limit: int = 3) -> None: ...

    found = go.parse(
        call("go", '{"to": {"city": "Rome"}, "unit": "celsius", "bounds": {"low": 1}, "winds": [{"speed": 2}]}')
    )

    assert found == {"to": Place("Rome"), "unit": Unit.C, "bounds": {"low": 1}, "winds": [Wind(2.0)]}


@pytest.mark.parametrize("days", ['"2"', "2.0", "2"])
def test_a_number_may_be_written_as_text(days: str) -> None:
    """Models do that, and it is clear what they mean."""
    assert weather.parse(call("weather", f'{{"city": "Paris", "days": {days}}}')) == {"city": "Paris", "days": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"city": "Paris", "days": "two"}', "weather: days: expected int, got str"),
        ('{"city": null}', "weather: city: expected str, got null"),
        ("", "weather: object missing required field city"),
        ('{"city": "Paris", "day": 2}', "weather: object contains unknown field day"),
        ("[]", "weather: expected object, got array"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: str, said: str) -> None:
    """The message has the tool, the place and what was wrong."""
    with pytest.raises(MalformedResponseError) as caught:
        weather.parse(call("weather", arguments))

    assert str(caught.value) == said


def test_a_place_deep_in_the_arguments_is_named() -> None:
    """As a path that a model understands."""

    @tool
    def go(to: list[Place]) -> None: ...

    with pytest.raises(MalformedResponseError, match=r"^go: to\[1\]\.city: expected str, got int$"):
        go.parse(call("go", '{"to": [{"city": "Rome"}, {"city": 3}]}'))


def test_a_null_deep_in_a_tree_is_named() -> None:
    """Only a parameter of the function itself may be null for left out."""

    @tool
    def plant(tree: Tree) -> None: ...

    with pytest.raises(MalformedResponseError, match="tree.children: expected array, got null"):
        plant.parse(call("plant", '{"tree": {"label": "a", "children": null}}'))


def test_arguments_that_are_no_json_are_named() -> None:
    """What the model wrote stays in the call."""
    with pytest.raises(MalformedResponseError, match="weather: the arguments are no valid JSON"):
        weather.parse(call("weather", '{"city": "Par'))


@pytest.mark.parametrize("method", [weather.parse, weather.result, lambda of: weather.failure(of, "no")])
def test_a_call_of_another_tool_is_refused(method: Callable[[ToolCall], Any]) -> None:
    """Its arguments mean something else."""
    with pytest.raises(InvalidRequestError, match="a call of tool 'time_of', not of 'weather'"):
        method(call("time_of", "{}"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_a_model_writes_gives_a_result(data: Any) -> None:
    """No JSON makes `result` raise: it runs the function or tells the model what was wrong."""
    text = msgspec.json.encode(data).decode() if _encodable(data) else "{"

    result = weather.result(call("weather", text))

    assert result.id == "call_1"
    assert result.text


def _encodable(data: Any) -> bool:
    try:
        msgspec.json.encode(data)
    except (UnicodeEncodeError, OverflowError):
        return False
    return True


# what goes back


class Sky(str, enum.Enum):  # noqa: UP042 - its str() is not its text
    """How it looks up there."""

    BLUE = "blue"


@dataclasses.dataclass
class Report:
    """What was found."""

    sky: str
    degrees: float


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("sunny", "sunny"),
        ("", ""),
        (None, "null"),
        (3, "3"),
        (Report("blue", 12.5), '{"sky":"blue","degrees":12.5}'),
        ([Report("grey", 1)], '[{"sky":"grey","degrees":1}]'),
        ({"a": Unit.C}, '{"a":"celsius"}'),
        (Sky.BLUE, "blue"),
        (Image(b"x", "image/png"), (Image(b"x", "image/png"),)),
        (("the map:", Image(b"x", "image/png")), (Text("the map:"), Image(b"x", "image/png"))),
        ([Text("a"), Text("b")], (Text("a"), Text("b"))),
    ],
    ids=repr,
)
def test_what_a_function_returns_is_what_the_model_is_told(value: Any, content: Any) -> None:
    """Text as it is, parts as parts, all else as JSON."""

    @tool
    def give() -> Any:
        return value

    assert give.result(call("give", "")) == ToolResult("call_1", content, "give")


def test_what_is_no_json_is_refused() -> None:
    """The error is the programmer's, not the model's."""

    @tool
    def give() -> object:
        return object()

    with pytest.raises(TypeError, match="tool 'give' returned object, which is no JSON"):
        give.result(call("give", ""))


def test_arguments_that_do_not_fit_go_back_to_the_model() -> None:
    """It can try again, and the function did not run."""
    result = weather.result(call("weather", '{"city": 3}'))

    assert result == ToolResult("call_1", "weather: city: expected str, got int", "weather", is_error=True)


def test_an_exception_of_the_function_is_raised_as_it_is() -> None:
    """What the model may read of it is for the app to say."""
    with pytest.raises(LookupError, match="no such city"):
        broken.result(call("broken", '{"reason": "no such city"}'))


def test_an_error_of_the_functions_own_is_not_taken_for_wrong_arguments() -> None:
    """A MalformedResponseError of a model that the tool itself asks is no fault of this call."""

    @tool
    def ask() -> str:
        raise MalformedResponseError("the other model is broken")

    with pytest.raises(MalformedResponseError, match="the other model"):
        ask.result(call("ask", ""))


def test_a_failure_tells_the_model_what_the_app_says() -> None:
    """It is marked as an error."""
    assert weather.failure(call("weather", ""), "no such city") == ToolResult(
        "call_1", "no such city", "weather", is_error=True
    )


def test_an_async_function_needs_aresult() -> None:
    """The error names it, and no coroutine is left behind."""
    with pytest.raises(TypeError, match=r"await time_of\.aresult\(call\)"):
        time_of.result(call("time_of", '{"city": "Rome"}'))


def test_a_function_that_turns_out_to_be_async_needs_aresult_too() -> None:
    """A plain wrapper of an async function returns a coroutine, which is closed."""

    @tool
    def late(city: str) -> Any:
        return time_of(city)

    with pytest.raises(TypeError, match=r"await late\.aresult\(call\)"):
        late.result(call("late", '{"city": "Rome"}'))


@simulated_time
async def test_aresult_runs_functions_of_either_kind() -> None:
    """Awaited where there is something to wait for."""
    assert (await time_of.aresult(call("time_of", '{"city": "Rome"}'))).text == "noon in Rome"
    assert (await weather.aresult(call("weather", '{"city": "Rome"}'))).text == "sunny in Rome for 1 day(s)"
    assert (await weather.aresult(call("weather", "[]"))).is_error


# all calls of an answer


CALLS = (
    call("time_of", '{"city": "Rome"}', "a"),
    call("weather", '{"city": "Rome"}', "b"),
    call("time_of", '{"city": "Oslo"}', "c"),
)


@simulated_time
async def test_all_calls_run_at_once_and_their_results_are_in_order() -> None:
    """Two waits of five seconds take five seconds."""
    loop = asyncio.get_running_loop()
    before = loop.time()

    results = await run_tools(CALLS, [weather, time_of])

    assert [result.id for result in results] == ["a", "b", "c"]
    assert [result.text for result in results] == ["noon in Rome", "sunny in Rome for 1 day(s)", "noon in Oslo"]
    assert loop.time() - before == pytest.approx(5)


@simulated_time
async def test_a_conversation_goes_on_with_the_results() -> None:
    """Each becomes a message after the answer that asked for it."""
    stack = build_stack([], FakeTransport([tool_call("weather", {"city": "Paris"}), "take a hat"]))
    asked = Request.chat("m", "weather?", tools=[weather])
    answer = await stack(asked)

    asked = asked.reply(answer, *await run_tools(answer, [weather]))

    assert (await stack(asked)).text == "take a hat"
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]


@simulated_time
async def test_an_unknown_tool_is_told_to_the_model() -> None:
    """With the names of those that there are."""
    (result,) = await run_tools([call("wether", "{}")], [weather, time_of])

    assert result == ToolResult(
        "call_1", "there is no tool 'wether'; there are: weather, time_of", "wether", is_error=True
    )


@simulated_time
async def test_the_first_exception_is_raised_when_all_have_ended() -> None:
    """No call is cut short by the failure of another."""
    ended = []

    @tool
    async def slow() -> None:
        await asyncio.sleep(60)
        ended.append("slow")

    with pytest.raises(LookupError, match="^one$"):
        await run_tools(
            [call("broken", '{"reason": "one"}'), call("slow", ""), call("broken", '{"reason": "two"}')],
            [broken, slow],
        )

    assert ended == ["slow"]


@simulated_time
async def test_on_error_says_what_the_model_is_told() -> None:
    """The results of the others are kept."""
    results = await run_tools(
        [call("broken", '{"reason": "boom"}'), call("weather", '{"city": "Rome"}')],
        [broken, weather],
        on_error=lambda failed, error: f"{failed.name} said {error}",
    )

    assert [(result.text, result.is_error) for result in results] == [
        ("broken said boom", True),
        ("sunny in Rome for 1 day(s)", False),
    ]


@simulated_time
async def test_a_cancellation_ends_every_call_before_it_comes_out() -> None:
    """No tool runs on behind the caller's back."""
    left = []

    @tool
    async def slow(seconds: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(seconds)
            left.append(seconds)

    calls = [call("slow", '{"seconds": 1}'), call("slow", '{"seconds": 9}')]
    running = asyncio.create_task(run_tools(calls, [slow]))
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
    assert left == [1, 9]


@simulated_time
async def test_an_answer_without_calls_has_no_results() -> None:
    """So a loop over turns needs no special case."""
    assert await run_tools(Response.of("done"), [weather]) == ()
    assert await run_tools(Message.assistant("done"), [weather]) == ()


@simulated_time
async def test_tools_that_cannot_be_told_apart_are_refused() -> None:
    """Two of one name, and what is no tool."""

    @tool(name="weather")
    def other() -> None: ...

    with pytest.raises(ConfigurationError, match="two tools have the name 'weather'"):
        await run_tools([], [weather, other])
    with pytest.raises(ConfigurationError, match="got dict"):
        await run_tools([], [weather.definition])  # type: ignore[list-item]


def test_a_tool_is_a_value() -> None:
    """Equal for the same function, hashable, and not to be changed."""
    assert tool(weather.function) == weather
    assert {weather: 1}[tool(weather.function)] == 1
    assert isinstance(weather, Tool)
    with pytest.raises(AttributeError):
        weather.name = "x"  # type: ignore[misc]
