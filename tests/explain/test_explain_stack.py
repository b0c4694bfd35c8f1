"""The tree of a stack: its first line, its findings, layers of strangers, stacks within stacks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from llamina import (
    Budget,
    Cache,
    CircuitBreaker,
    Constant,
    CostMeter,
    Exponential,
    Fibonacci,
    Handler,
    Request,
    Retry,
    SQLiteCache,
    Timeout,
    build_stack,
    map_text,
    middleware,
)
from llamina.explain import duration
from llamina.testing import FakeTransport, simulated_time
from llamina.transports import EchoTransport

ASK = Request.chat("m", "a very private question")
DOUBLING = Exponential(0.5, cap=30, jitter="none")


class Plain:
    """Passes everything on."""

    def __call__(self, call_next: Handler) -> Handler:
        return call_next


def of_class(**attributes: Any) -> Any:
    """A layer of a stranger's with *attributes*."""
    return type("Strange", (Plain,), attributes)()


def first_line(*layers: Any, transport: Any = None, request: Request | None = None) -> str:
    """The sum of a stack."""
    stack = build_stack(layers, transport or EchoTransport(), check="off")
    return stack.explain(request).splitlines()[0]


def test_the_tree_is_outermost_first_and_the_transport_last() -> None:
    """Each with its settings, then what it does."""
    stack = build_stack([Retry(2, backoff=Constant(1)), Timeout(30)], EchoTransport())

    assert stack.explain() == (
        "One call: at most 2 requests to the provider; at most 61 s (126 s where the provider asks for waits).\n"
        "\n"
        "Stack\n"
        "├─ Retry(attempts=2, backoff=Constant(delay=1, jitter='none'))\n"
        "│    tries up to 2 times in all, where another try can help; never once a stream has delivered content\n"
        "│    waits 1 s\n"
        "│    waits for a Retry-After of up to 60 s instead; a longer one ends the call\n"
        "├─ Timeout(seconds=30)\n"
        "│    ends what is below after 30 s\n"
        "│    gives it 1 s to clean up; what takes longer ends in the background\n"
        "└─ EchoTransport()\n"
        "     answers with what was said last, and asks nobody"
    )


def test_a_stack_in_a_stack_is_indented() -> None:
    """And its own transport is its last."""
    inner = build_stack([Timeout(5)], EchoTransport())

    lines = build_stack([Retry(2)], inner).explain().splitlines()

    assert "└─ Stack" in lines
    assert "   ├─ Timeout(seconds=5)" in lines
    assert "   │    ends what is below after 5 s" in lines
    assert "   └─ EchoTransport()" in lines


@pytest.mark.parametrize(
    ("layers", "sum_"),
    [
        ([], "at most 1 request to the provider; no limit of time"),
        (
            [Retry(3, backoff=DOUBLING, retry_after_max=0), Timeout(30)],
            "at most 3 requests to the provider; at most 91.5 s",
        ),
        (
            [Retry(5, backoff=DOUBLING, retry_after_max=0), Timeout(30)],
            "at most 5 requests to the provider; at most 157.5 s",
        ),
        ([Timeout(60), Retry(3, backoff=DOUBLING), Timeout(30)], "at most 3 requests to the provider; at most 60 s"),
        ([Timeout(30), Retry(3)], "at most 3 requests to the provider; at most 30 s"),
        ([Retry(3), Retry(3)], "at most 9 requests to the provider; no limit of time"),
        (
            [Retry(2, backoff=Constant(1)), Timeout(10)],
            "at most 2 requests to the provider; at most 21 s (86 s where the provider asks for waits)",
        ),
        (
            [Cache(SQLiteCache("never-opened.db")), Timeout(10)],
            "at most 1 request to the provider; at most 10.5 s",
        ),
    ],
)
def test_the_first_line_is_the_sum(layers: list[Any], sum_: str) -> None:
    """Tries multiply; limits and waits add up, as the page on the order of layers has it."""
    assert first_line(*layers) == f"One call: {sum_}."


@simulated_time
async def test_the_sum_is_what_happens_at_worst() -> None:
    """A provider that never answers takes as many requests and as much time as the first line says."""
    fake = FakeTransport([[3600.0, "never"]], repeat=True)
    stack = build_stack([Retry(4, backoff=Fibonacci(0.5, jitter="none"), retry_after_max=0), Timeout(20)], fake)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(TimeoutError):
        await stack(ASK)

    sum_ = stack.explain().splitlines()[0]

    assert sum_ == f"One call: at most {fake.calls} requests to the provider; at most {loop.time() - started:g} s."


@simulated_time
async def test_a_deadline_of_the_request_is_in_the_sum() -> None:
    """Where a layer keeps it."""
    request = ASK.evolve(deadline=asyncio.get_running_loop().time() + 7)

    assert first_line(Timeout(30), request=request).endswith("at most 7 s.")
    assert first_line(Retry(3), Timeout(5), request=request).endswith("3 requests to the provider; at most 7 s.")
    assert first_line(request=request).endswith("no limit of time.")


@pytest.mark.parametrize(
    ("attributes", "sum_"),
    [
        ({"effects": {"replays"}, "attempts": 4}, "at most 4 requests to the provider; no limit of time."),
        ({"effects": {"replays"}}, "no limit of requests to the provider; no limit of time."),
        ({"effects": {"limits-rate"}}, "at most 1 request to the provider; no limit of time."),
        ({"effects": {"observes"}}, "at most 1 request to the provider; at most 5 s."),
        ({}, "at most 1 request to the provider; at most 5 s, as far as is known of Strange."),
    ],
)
def test_the_sum_reckons_with_the_effects_of_strangers(attributes: dict[str, Any], sum_: str) -> None:
    """What a layer does not say is said to be unknown."""
    assert first_line(of_class(**attributes), Timeout(5)) == f"One call: {sum_}"


def test_findings_stand_at_the_top() -> None:
    """With their severity, in the words of the rule."""
    stack = build_stack([Retry(), Cache()], EchoTransport(), check="off")

    found = [line for line in stack.explain().splitlines() if line.startswith("wrong: ")]

    assert len(found) == 1
    assert "Cache (layers[1]) stands inside Retry (layers[0])" in found[0]


def test_effects_that_cannot_be_read_do_not_break_the_tree() -> None:
    """The order is then not checked, and that is said."""
    stack = build_stack([of_class(effects={"flies"})], EchoTransport(), check="off")

    shown = stack.explain()

    assert "The order was not checked: the effects of Strange (layers[0]) have an unknown word 'flies'" in shown
    assert "└─ EchoTransport()" in shown


def test_a_layer_of_yours_speaks_for_itself() -> None:
    """Every line of what its explain() gives."""
    layer = of_class(explain=lambda _self, request: f"translates\nfor {request.model if request else 'anybody'}")

    lines = build_stack([layer], EchoTransport()).explain(ASK).splitlines()

    assert lines[-4:-2] == ["│    translates", "│    for m"]


def test_a_layer_without_explain_is_told_by_its_effects() -> None:
    """In the words of the table."""
    layer = of_class(effects=("meters", "observes"))

    shown = build_stack([layer], EchoTransport()).explain()

    assert "│    charges what the attempts below have cost\n│    writes down each call" in shown


def test_a_function_is_told_by_its_docstring() -> None:
    """Where it says nothing else."""

    @middleware
    async def polite(request: Request, call_next: Handler) -> Any:
        """Says please.

        And more.
        """
        return await call_next(request)

    shown = build_stack([polite], EchoTransport()).explain()

    assert "├─ polite\n│    Says please.\n└─" in shown


@dataclass
class Configured(Plain):
    size: int = 3


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (Plain(), "├─ Plain"),
        (Configured(5), "├─ Configured(size=5)"),
        (map_text(str.upper), "├─ map_text(upper)"),
        (lambda call_next: call_next, "├─ <lambda>"),
        (
            CostMeter({}, [Budget("5", period="day"), Budget("1")]),
            "├─ CostMeter(budgets=[Budget(limit=5, period='day'), Budget(limit=1)])",
        ),
        (CircuitBreaker(key=str), "├─ CircuitBreaker(key=str)"),
    ],
)
def test_a_layer_is_shown_with_what_is_not_usual(layer: Any, line: str) -> None:
    """Its repr, or shorter."""
    assert line in build_stack([layer], EchoTransport()).explain().splitlines()


def test_a_partial_has_no_docstring_of_its_own() -> None:
    """Python's words on partial functions explain nothing."""

    def scaled(call_next: Handler, factor: int) -> Handler:
        return call_next

    lines = build_stack([partial(scaled, factor=2)], EchoTransport()).explain().splitlines()

    assert not [line for line in lines if line.startswith("│")]


def raising(*_arguments: Any) -> Any:
    """Fails with a text that nobody may see."""
    raise RuntimeError("the prompt was: a very private question")


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({"explain": raising}, "│    (its explain() raised RuntimeError)"),
        ({"explain": property(raising)}, "│    (its explain() raised RuntimeError)"),
        ({"explain": lambda _self, _request: 7}, "│    (its explain() gave int, which is no text)"),
        ({"__repr__": raising}, "├─ Strange"),
        ({"effects": {"replays"}, "attempts": property(raising)}, "├─ Strange"),
    ],
)
def test_a_layer_that_is_broken_breaks_only_its_own_lines(attributes: dict[str, Any], line: str) -> None:
    """The error is named by its class: its text may quote the prompt."""
    layer = of_class(**{"__repr__": lambda _self: "Strange", **attributes})

    shown = build_stack([layer, Timeout(5)], EchoTransport(), check="off").explain(ASK)

    assert line in shown.splitlines()
    assert "├─ Timeout(seconds=5)" in shown
    assert "private" not in shown


def test_effects_that_raise_are_as_none() -> None:
    """And the order is not checked."""
    shown = build_stack([of_class(effects=property(raising))], EchoTransport(), check="off").explain(ASK)

    assert "The order was not checked" in shown
    assert "├─ Strange" in shown


def test_what_would_steer_a_terminal_is_not_printed() -> None:
    """Escape sequences and line breaks of a hostile name."""
    layer = of_class(__repr__=lambda _self: "evil\x1b[2J\nnext", explain=lambda *_: "a\x1b[31m\u202eb")

    shown = build_stack([layer], EchoTransport()).explain(ASK.evolve(model="m\x1b[0m"))

    assert not [each for each in shown if not each.isprintable() and each != "\n"]
    assert "evil�[2J next" in shown


def test_a_layer_that_changes_requests_is_named() -> None:
    """What is below it sees another one."""
    layer = of_class(effects={"rewrites-request"})

    shown = build_stack([layer], EchoTransport()).explain(ASK)

    assert "For a chat request to 'm' (changed by Strange for what is below):" in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.5 s"),
        (90, "90 s"),
        (600, "600 s"),
        (900, "15 minutes"),
        (7200, "2 hours"),
        (604800, "7 days"),
        (3601, "3601 s"),
    ],
)
def test_lengths_of_time_are_said_as_people_do(seconds: float, words: str) -> None:
    """The largest unit that is exact."""
    assert duration(seconds) == words


def test_print_and_the_tree_agree() -> None:
    """Both show the same layers in the same order."""
    stack = build_stack([Retry(), Timeout(3)], EchoTransport())

    def names(text: str) -> list[str]:
        return [line[3:].partition("(")[0] for line in text.splitlines() if line[:2] in ("├─", "└─")]

    assert names(stack.explain()) == names(str(stack)) == ["Retry", "Timeout", "EchoTransport"]
