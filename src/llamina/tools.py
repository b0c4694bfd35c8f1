"""Tools of a typed Python function: what the model may call, and what goes back to it.

    @tool
    def weather(city: str, days: int = 1) -> str:
        "The weather of a city for the next days."
        return f"sunny in {city}"

    asked = Request.chat("small", "How is the weather in Paris?", tools=[weather])
    answer = await stack(asked)
    answer = await stack(asked.reply(answer, *await run_tools(answer, [weather])))

The function stays what it was: `weather("Paris")` calls it. The JSON schema of its parameters is made from their
types; arguments that do not fit them go back to the model as an error result that says what was wrong.

The one surprise: an exception of the function itself is raised as it is. What the model may read of it is for you to
say: `weather.failure(call, "no such city")`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, cast, overload

import msgspec
from attrs import field, frozen

from ._schema import Arguments, arguments_of, documented, strict_form
from .errors import ConfigurationError, InvalidRequestError, MalformedResponseError
from .messages import Audio, File, Image, Message, Part, Text, ToolCall, ToolResult, UnknownPart
from .protocol import Response

__all__ = ["Tool", "run_tools", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CONTENT = (Text, Image, Audio, File, UnknownPart)


@frozen(repr=False)
class Tool(Generic[P, R]):
    """A function that a model may call; made by `tool`.

    `name`, `description`, `parameters` (a JSON schema of an object) and `strict` are what the model is told;
    `function` is what is called. A list of several tools is a `list[Tool[..., Any]]` to a type checker.
    """

    function: Callable[P, R]
    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)
    strict: bool | None = None
    _arguments: Arguments = field(kw_only=True, eq=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as it is."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, R]:
        return self.function  # so that `inspect.signature` and `help` see the function's own

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as plain data, as `tools=` of a request holds it."""
        function: dict[str, Any] = {"name": self.name, "description": self.description, "parameters": self.parameters}
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    def parse(self, call: ToolCall) -> dict[str, Any]:
        """The keyword arguments of *call*, as values of the annotated types.

        A text of digits is good for a number, and null for a parameter that has a default and cannot be None is the
        same as leaving it out. What the model left out is not in it: the function has its defaults.

        Raises:
            MalformedResponseError: they do not fit, as in `weather: days: expected int, got str`.
            InvalidRequestError: it is a call of another tool.
        """
        self._own(call)
        try:
            data = call.arguments
        except MalformedResponseError as error:
            reason = error.__cause__
            raise MalformedResponseError(f"{self.name}: the arguments are no valid JSON ({reason})") from error
        try:
            return self._arguments.kwargs(data)
        except ValueError as error:
            raise MalformedResponseError(f"{self.name}: {error}") from error

    def result(self, call: ToolCall) -> ToolResult:
        """Run the function for *call*; what it returns is what the model is told.

        A text as it is; parts (an `Image`), or a tuple or list of parts and texts, as parts; anything else as JSON
        (None is `null`). Arguments that do not fit give a result with `is_error`, for the model to try again.

        Raises:
            InvalidRequestError: it is a call of another tool.
            TypeError: the function is async (use `aresult`), or returned what is no JSON.
            Exception: whatever the function raises.
        """
        if inspect.iscoroutinefunction(self.function):
            self._refuse_async()
        arguments = self._parsed(call)
        if isinstance(arguments, ToolResult):
            return arguments
        value: Any = self._run(arguments)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            self._refuse_async()
        return self._told(call, value)

    async def aresult(self, call: ToolCall) -> ToolResult:
        """As `result`, for a function of either kind; one that is not async runs here and now, on the event loop.

        Raises:
            InvalidRequestError: it is a call of another tool.
            TypeError: the function returned what is no JSON.
            Exception: whatever the function raises.
        """
        arguments = self._parsed(call)
        if isinstance(arguments, ToolResult):
            return arguments
        value: Any = self._run(arguments)
        if inspect.isawaitable(value):
            value = await value
        return self._told(call, value)

    def failure(self, call: ToolCall, text: str) -> ToolResult:
        """A result that tells the model that *call* failed, and why."""
        self._own(call)
        return ToolResult(call.id, text, self.name, is_error=True)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def _run(self, arguments: dict[str, Any]) -> Any:
        return cast("Callable[..., Any]", self.function)(**arguments)

    def _own(self, call: ToolCall) -> None:
        if call.name != self.name:
            raise InvalidRequestError(
                f"this is a call of tool {call.name!r}, not of {self.name!r}; "
                "`await run_tools(answer, tools)` finds the tool of each call"
            )

    def _parsed(self, call: ToolCall) -> dict[str, Any] | ToolResult:
        try:
            return self.parse(call)
        except MalformedResponseError as error:
            return self.failure(call, str(error))

    def _refuse_async(self) -> NoReturn:
        raise TypeError(f"tool {self.name!r} is async; write `await {self.name}.aresult(call)`")

    def _told(self, call: ToolCall, value: Any) -> ToolResult:
        return ToolResult(call.id, _content(value, self.name), self.name)


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, strict: bool | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
) -> Any:
    """Make a `Tool` of a function, async or not, by its parameters' types and its docstring.

    A parameter is described by `Annotated[str, msgspec.Meta(description="...")]` or in an `Args:` section of the
    docstring. *strict* asks the provider for arguments that fit the schema in any case: every parameter is then
    required, one with a default may be null (which leaves it out), and free-form types are refused.

    Raises:
        ConfigurationError: a parameter has no type, or one without a JSON schema, or is `*args` or positional-only;
            the name is none that providers take.
    """
    if function is not None:
        return _tool(function, name, description, strict=strict, local=_names_at(function))
    return lambda function: _tool(function, name, description, strict=strict, local=_names_at(function))


def _names_at(function: Any) -> dict[str, Any]:
    """The local names where a function of the same module is decorated: its annotations may be texts that use them."""
    frame = inspect.currentframe()
    caller = frame and frame.f_back and frame.f_back.f_back
    if caller is None or getattr(function, "__globals__", None) is not caller.f_globals:
        return {}
    return {} if caller.f_locals is caller.f_globals else dict(caller.f_locals)


def _tool(
    function: Callable[..., Any],
    name: str | None,
    description: str | None,
    *,
    strict: bool | None,
    local: dict[str, Any],
) -> Tool[..., Any]:
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise ConfigurationError(f"a tool is made of a function, got {function!r}; write a `def` with typed parameters")
    name = function.__name__ if name is None else name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of a tool must be 1 to 64 letters, digits, _ or -, got {name!r}; give it one: tool(name='...')"
        )
    if strict not in (None, True, False):
        raise ConfigurationError(f"strict of tool {name!r} must be True, False or None, got {strict!r}")
    text, parameters = documented(inspect.getdoc(function))
    arguments = arguments_of(function, name, local)
    schema = arguments.schema
    for parameter, words in parameters.items():
        if parameter in schema["properties"]:
            schema["properties"][parameter].setdefault("description", words)
    if strict:
        schema = strict_form(schema, f"tool {name!r}", arguments.spare)
    return Tool(function, name, text if description is None else description, schema, strict, arguments=arguments)


async def run_tools(
    answer: Response | Message | Iterable[ToolCall],
    tools: Iterable[Tool[..., Any]],
    *,
    on_error: Callable[[ToolCall, Exception], str] | None = None,
) -> tuple[ToolResult, ...]:
    """Run every tool call of *answer*, all at once, and give their results in the order of the calls.

    A call of a tool that is not in *tools* gives an error result that names those there are. *on_error* says what the
    model is told of an exception that a function raised. Functions that are not async run one after the other, on the
    event loop: one that waits for something should be async, or hand its work to `asyncio.to_thread`.

    Raises:
        Exception: a function raised, and there is no *on_error*. All the others have ended by then; of several, the
            first in the order of the calls is raised, as it is.
    """
    calls = answer.tool_calls if isinstance(answer, Response | Message) else tuple(answer)
    known = _by_name(tools)

    async def run(call: ToolCall) -> ToolResult | Exception:
        found = known.get(call.name)
        if found is None:
            names = ", ".join(known) or "none"
            return ToolResult(call.id, f"there is no tool {call.name!r}; there are: {names}", call.name, is_error=True)
        try:
            return await found.aresult(call)
        except Exception as error:  # noqa: BLE001 - held back until the other calls have ended
            return error

    # A group waits for its tasks when it is cancelled, so that no tool runs on behind the caller's back.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(call)) for call in calls]
    results: list[ToolResult] = []
    for call, task in zip(calls, tasks, strict=True):
        ended = task.result()
        if isinstance(ended, Exception):
            if on_error is None:
                raise ended
            ended = known[call.name].failure(call, on_error(call, ended))
        results.append(ended)
    return tuple(results)


def _by_name(tools: Iterable[Tool[..., Any]]) -> dict[str, Tool[..., Any]]:
    known: dict[str, Tool[..., Any]] = {}
    for item in tools:
        if not isinstance(item, Tool):
            raise ConfigurationError(f"run_tools runs tools that `@tool` made, got {type(item).__name__}")
        if known.setdefault(item.name, item) != item:
            raise ConfigurationError(f"two tools have the name {item.name!r}; give one another: tool(name='...')")
    return known


def _content(value: Any, name: str) -> str | tuple[Part, ...]:
    if isinstance(value, str):
        return str.__str__(value)  # an enum of texts too is its text
    if isinstance(value, _CONTENT):
        return (value,)
    if isinstance(value, tuple | list) and any(isinstance(item, _CONTENT) for item in value):
        parts = [Text(item) if isinstance(item, str) else item for item in value]
        if all(isinstance(part, _CONTENT) for part in parts):
            return tuple(parts)
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"tool {name!r} returned {type(value).__name__}, which is no JSON ({error}); "
            "return a text, a part, a dataclass, or lists and dicts of plain data"
        ) from error
