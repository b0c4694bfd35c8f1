"""What is read of a stack, and how a wrong order is told: by whom, where, and in which words."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers_for_order import PRICES, Fallback, Hedge, RateLimit, tries

from llamina import (
    Budget,
    Cache,
    Chaos,
    CircuitBreaker,
    ConfigurationError,
    CostMeter,
    Dedup,
    Logger,
    Recorder,
    Retry,
    Timeout,
    build_stack,
    map_text,
    middleware,
)
from llamina.order import EFFECTS, RULES, StackOrderWarning, findings
from llamina.testing import FakeTransport

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs" / "reference"


def rules(*layers: Any, transport: Any = None) -> list[str]:
    """The names of what is found."""
    return [finding.rule for finding in findings(build_stack(layers, transport or FakeTransport(), check="off"))]


def layer(*effects: str, **attributes: Any) -> Any:
    """A layer function that declares *effects*."""

    def wrap(call_next: Any) -> Any:
        return call_next

    wrap.__dict__.update({"effects": effects, **attributes})
    return wrap


# What the rules say


def test_each_rule_is_shown_to_be_true() -> None:
    """The harm of every rule is shown by a test that runs both orders."""
    tests = "".join([path.read_text() for path in HERE.glob("test_order_of_*.py")])

    forms = {name: (name, name.replace("cache", "{word}"), name.replace("dedup", "{word}")) for name in RULES}

    assert [name for name in RULES if not any([f'"{form}"' in tests for form in forms[name]])] == []


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_is_in_order_itself(rule: Any) -> None:
    """A stable name, words that exist, one sentence, and a mend that can be filled in."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.name)
    assert rule.severity in ("wrong", "note")
    assert {*rule.outer, *rule.inner} <= set(EFFECTS)
    assert rule.says[0].islower()
    assert not rule.says.endswith(".")
    assert rule.mend.format(outer="A", inner="B")


def test_the_page_lists_exactly_the_rules() -> None:
    """Each rule is a row of the page, below its severity, with what goes wrong and the mend."""
    _, wrong, notes = re.split("^## Wrong$|^## Notes$", (PAGES / "order-rules.md").read_text(), flags=re.MULTILINE)

    listed = [
        (severity, *row)
        for severity, text in (("wrong", wrong), ("note", notes))
        for row in re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    ]

    mends = {rule.name: rule.mend.format(outer="the outer", inner="the inner") for rule in RULES.values()}
    assert listed == [(rule.severity, rule.name, rule.says, mends[rule.name]) for rule in RULES.values()]


def test_the_page_lists_exactly_the_words() -> None:
    """Each word for `effects` is a row of the page, with what it means."""
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+?) \|$", (PAGES / "order-rules.md").read_text(), re.MULTILINE)

    assert dict(rows) == EFFECTS


# What is found


def test_a_finding_names_both_layers_with_their_places_the_reason_and_the_mend() -> None:
    """Everything that is needed to act on it, in one line."""
    (finding,) = findings(build_stack([Retry(), Cache()], FakeTransport(), check="off"))

    assert (finding.rule, finding.severity) == ("cache-inside-retry", "wrong")
    assert (finding.outer, finding.inner) == ("Retry (layers[0])", "Cache (layers[1])")
    assert finding.says == RULES["cache-inside-retry"].says
    assert finding.mend == "put Cache outside of Retry"
    assert str(finding) == (
        f"Cache (layers[1]) stands inside Retry (layers[0]): {finding.says}; {finding.mend} [cache-inside-retry]"
    )


def test_a_finding_is_a_value() -> None:
    """Two of the same are equal, and none can be changed."""
    stack = build_stack([Retry(), Cache()], FakeTransport(), check="off")

    (one,), (other,) = findings(stack), findings(stack)

    assert one == other
    with pytest.raises(AttributeError):
        one.rule = "another"  # type: ignore[misc]


def test_a_rule_is_found_once_for_a_layer_with_the_nearest_inside() -> None:
    """Three retries are two findings, not three."""
    found = findings(build_stack([tries(), tries(), tries()], FakeTransport(), check="off"))

    assert [(finding.outer, finding.inner) for finding in found] == [
        ("Retry (layers[0])", "Retry (layers[1])"),
        ("Retry (layers[1])", "Retry (layers[2])"),
    ]


def test_what_is_wrong_comes_before_the_notes() -> None:
    """Who reads only the first line reads what matters."""
    found = findings(build_stack([CircuitBreaker(), Retry(), Cache()], FakeTransport(), check="off"))

    severities = [finding.severity for finding in found]

    assert severities == sorted(severities, reverse=True)
    assert set(severities) == {"wrong", "note"}


def test_the_layers_of_a_nested_stack_are_further_inner_ones() -> None:
    """Two owners of tries are two owners, in however many stacks."""
    inner = build_stack([map_text(str.strip)], build_stack([Retry()], FakeTransport()))

    (finding,) = findings(build_stack([Retry()], inner, check="off"))

    assert (finding.rule, finding.inner) == ("retry-inside-retry", "Retry (transport.transport.layers[0])")


def test_a_transport_may_declare_effects_too() -> None:
    """A handler that tries again by itself is a second owner of tries."""

    async def client(request: Any) -> Any:
        raise NotImplementedError

    client.effects = {"replays"}  # type: ignore[attr-defined]

    (finding,) = findings(build_stack([Retry()], client, check="off"))

    assert (finding.rule, finding.inner) == ("retry-inside-retry", "client (transport)")


@pytest.mark.parametrize("kind", [frozenset, set, list, tuple])
def test_effects_may_be_any_collection_of_words(kind: Any) -> None:
    """A set, a list and a tuple say the same."""
    assert rules(Retry(), layer(effects=kind(["stores"]))) == ["cache-inside-retry"]


def test_effects_may_stand_on_a_class_an_object_or_a_decorated_function() -> None:
    """Whatever a layer is, the attribute is found."""

    class OnClass:
        effects = ("stores",)

        def __call__(self, call_next: Any) -> Any:
            return call_next

    on_object = OnClass()
    on_object.effects = ("shares",)  # type: ignore[assignment]

    @middleware
    async def decorated(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    decorated.effects = ["re-asks"]  # type: ignore[attr-defined]

    assert rules(Retry(), OnClass()) == ["cache-inside-retry"]
    assert rules(Retry(), on_object) == ["dedup-inside-retry"]
    assert rules(Retry(), decorated) == ["reask-inside-retry"]


def test_a_layer_without_effects_is_never_complained_about() -> None:
    """Nothing is known of it: neither what it is, nor whether the same twice does harm."""

    def unknown(call_next: Any) -> Any:
        return call_next

    silent = layer()
    silent.effects = None

    assert rules(unknown, silent, Retry(), unknown, silent, unknown) == []


def test_between_two_limits_an_unknown_layer_gets_the_benefit_of_the_doubt() -> None:
    """It may try again by itself, and the outer limit may be the one of all its tries."""

    def unknown(call_next: Any) -> Any:
        return call_next

    assert rules(tries(), Timeout(60), unknown, Timeout(30)) == []
    assert rules(tries(), Timeout(60), Logger(), Timeout(30)) == ["total-timeout-inside-retry", "logger-inside-retry"]


def test_limits_that_are_no_numbers_are_not_compared() -> None:
    """A layer of somebody's own may bound time without saying how."""
    mine = layer("bounds-time", seconds="soon")

    assert rules(mine, tries(), Timeout(30)) == []
    assert rules(tries(), mine, Timeout(30)) == []


def test_two_limits_of_the_same_length_leave_no_time_for_a_second_try() -> None:
    """Both end with the first try that hangs."""
    assert rules(Timeout(30), tries(), Timeout(30)) == ["timeout-inside-shorter-timeout"]


def test_a_flight_is_a_border_for_limits() -> None:
    """Above it is the patience of a caller, below it the limit of the work, which may be longer."""
    assert rules(Timeout(10), Dedup(), tries(), Timeout(30)) == []


def test_the_same_pure_layer_twice_is_no_mistake() -> None:
    """A redactor counts nothing: twice is only twice."""
    redact = map_text(str.strip)

    assert rules(redact, Logger(), redact) == []


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([Timeout(30), RateLimit()], id="time in the queue is the caller's"),
        pytest.param([tries(), Timeout(60), RateLimit(), Timeout(30)], id="a limit for the queue and one for the try"),
        pytest.param([CircuitBreaker(), RateLimit()], id="a breaker that does not look at the time"),
        pytest.param([Dedup(), tries()], id="nobody has a limit, and none is meant"),
        pytest.param([CostMeter(PRICES), tries()], id="a meter without budgets holds nothing"),
        pytest.param([CostMeter(PRICES), Cache()], id="a hit has nothing that is to be paid"),
        pytest.param([Timeout(60), tries(), Timeout(first_event=5)], id="a stream is cut early enough"),
        pytest.param([tries(), Timeout(60), Hedge(), Timeout(30)], id="a limit for all branches and one for each"),
        pytest.param([Retry(), Timeout(30), Recorder("unused.json")], id="a recorder where the provider would be"),
        pytest.param([Retry(), Timeout(30), Chaos()], id="faults where the provider would fail"),
        pytest.param([Cache(), Cache()], id="two caches, a near one and a far one"),
        pytest.param([CostMeter(PRICES), CostMeter(PRICES)], id="two meters with prices of their own"),
    ],
)
def test_what_only_looks_like_a_mistake_is_none(layers: list[Any]) -> None:
    """Each of these does what it was written for."""
    assert rules(*layers) == []


# What is refused


def test_an_unknown_word_is_refused_with_the_nearest_right_one() -> None:
    """A word with a mistake in it would silently protect from nothing."""
    with pytest.raises(ConfigurationError, match=r"wrap \(layers\[1\]\).*'limit-rate'; did you mean 'limits-rate'\?"):
        build_stack([Retry(), layer("limit-rate")], FakeTransport())


@pytest.mark.parametrize("word", ["zzz", 7, ("stores",), ["stores"]])
def test_a_word_that_is_like_none_is_refused_with_all_of_them(word: Any) -> None:
    """Then the list helps, whatever it was."""
    with pytest.raises(
        ConfigurationError, match="unknown word .*the words are short-circuits, stores|did you mean 'stores'"
    ):
        build_stack([layer(word)], FakeTransport())


@pytest.mark.parametrize("effects", ["stores", 7, {"stores": True}, object()])
def test_effects_that_are_no_set_are_refused(effects: Any) -> None:
    """A single text in place of a set would be taken for its letters."""
    with pytest.raises(ConfigurationError, match=r"wrap \(layers\[0\]\) must be a set of words, got"):
        build_stack([layer(effects=effects)], FakeTransport())


@pytest.mark.parametrize("error", [RuntimeError("broken"), AttributeError("no attribute 'limit'")])
def test_effects_that_cannot_be_read_name_the_layer(error: Exception) -> None:
    """A property of somebody's own that raises is found by its name, also when it raises an AttributeError."""

    class Broken:
        @property
        def effects(self) -> Any:
            raise error

        def __call__(self, call_next: Any) -> Any:
            return call_next

    with pytest.raises(ConfigurationError, match=r"Broken \(layers\[1\]\) could not be read") as caught:
        build_stack([Retry(), Broken()], FakeTransport())
    assert caught.value.__cause__ is error


# check=


def test_a_wrong_order_is_warned_of_by_default_at_the_line_that_builds_it() -> None:
    """One warning for each finding, where the user wrote the order."""
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with pytest.warns(StackOrderWarning) as seen:
        build_stack([Retry(), Cache(), tries()], FakeTransport())

    assert sorted([str(warning.message).rpartition("[")[2] for warning in seen]) == [
        "cache-inside-retry]",
        "retry-inside-retry]",
    ]
    assert {(warning.filename, warning.lineno) for warning in seen} == {(__file__, line)}


def test_the_warning_names_the_layer_that_stands_wrong() -> None:
    """A cache at the innermost place, with a meter that has no budget: it is the cache that is told of."""
    with pytest.warns(StackOrderWarning, match=r"Cache \(layers\[3\]\) stands inside Retry \(layers\[1\]\)"):
        build_stack([CostMeter(prices={}), Retry(), Timeout(5), Cache()], FakeTransport("hi"))


def test_error_refuses_the_stack_and_names_all_that_is_wrong() -> None:
    """One error for everything, so that it is mended at once."""
    with pytest.raises(ConfigurationError) as caught:
        build_stack([CostMeter(PRICES, [Budget("1")]), Retry(), Cache()], FakeTransport(), check="error")

    text = str(caught.value)
    assert [name for name in RULES if f"[{name}]" in text] == [
        "cache-inside-retry",
        "cache-inside-budget",
        "retry-inside-budget",
    ]


def test_off_says_nothing_and_reads_nothing() -> None:
    """Not even an unknown word is noticed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_stack([Retry(), Retry(), layer("zzz")], FakeTransport(), check="off")


def test_a_note_is_no_reason_to_warn_or_refuse() -> None:
    """A breaker outside of Retry is a choice."""
    for check in ("warn", "error"):
        stack = build_stack([CircuitBreaker(), Retry()], FakeTransport(), check=check)

        assert [finding.severity for finding in findings(stack)] == ["note"]


def test_a_check_that_does_not_exist_is_refused() -> None:
    """With the three that do."""
    with pytest.raises(ConfigurationError, match="must be 'warn', 'error' or 'off', got 'maybe'"):
        build_stack([], FakeTransport(), check="maybe")  # type: ignore[arg-type]


def test_without_a_check_the_rules_are_not_loaded() -> None:
    """Who builds a stack without checks pays nothing for them, at import either."""
    code = (
        "import sys; from llamina import build_stack; from llamina.transports import EchoTransport; build_stack([], EchoTransport(), check='off'); "
        "print({'llamina.order', 'llamina._order_rules'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


# What is right


def recommended() -> list[Any]:
    """The order of the page, with everything optional in it."""
    return [
        map_text(str.strip),
        Logger(),
        Timeout(90),
        Cache(),
        Dedup(),
        Timeout(80),
        Retry(),
        CostMeter(PRICES, [Budget("1")]),
        CircuitBreaker(),
        Timeout(30),
    ]


def test_the_recommended_order_is_clean() -> None:
    """No finding at all, not even a note."""
    assert rules(*recommended()) == []


@given(st.lists(st.booleans(), min_size=9, max_size=9))
def test_any_part_of_the_recommended_order_is_not_wrong(kept: list[bool]) -> None:
    """Whatever is left out but the limit of a try, what remains is in order."""
    *layers, limit = recommended()
    layers = [each for each, keep in zip(layers, kept, strict=True) if keep]

    found = findings(build_stack([*layers, limit], FakeTransport(), check="off"))

    assert [str(finding) for finding in found if finding.severity == "wrong"] == []


SHIPPED = st.sampled_from(
    [
        lambda: Timeout(30),
        lambda: Timeout(first_event=5),
        lambda: Timeout(60, idle=5),
        Retry,
        Cache,
        Dedup,
        CircuitBreaker,
        lambda: CircuitBreaker(slow_call=5, slow_rate=0.5),
        lambda: CostMeter(PRICES),
        lambda: CostMeter(PRICES, [Budget("1")]),
        Logger,
        lambda: map_text(str.strip),
        RateLimit,
        Hedge,
        Fallback,
        Chaos,
        lambda: Recorder("unused.json"),
    ]
)


@given(st.lists(SHIPPED, max_size=9), st.lists(SHIPPED, max_size=4))
def test_findings_never_fail_and_are_the_same_each_time(outer: list[Any], inner: list[Any]) -> None:
    """For any layers in any order, nested or not."""
    nested = build_stack([make() for make in inner], FakeTransport(), check="off")
    stack = build_stack([make() for make in outer], nested, check="off")

    first, second = findings(stack), findings(stack)

    assert first == second
    assert all([str(finding) for finding in first])
    assert len({(finding.rule, finding.outer) for finding in first}) == len(first)


def test_a_stack_within_a_stack_was_checked_when_it_was_built() -> None:
    """Who switched that check off is not told of it by whoever builds round it; what crosses the border is told."""
    inner = build_stack([Retry(), Cache()], FakeTransport(), check="off")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        build_stack([Logger()], inner)
        build_stack([Retry()], inner)

    assert {str(each.message).rpartition(" [")[2] for each in told} == {"retry-inside-retry]", "cache-inside-retry]"}
    assert all(["(transport.layers" not in str(each.message).partition("inside")[2] for each in told])


def test_a_budget_that_refuses_nothing_may_stand_anywhere() -> None:
    """A soft one only counts, and outside of the tries it counts as well."""
    assert rules(CostMeter(PRICES, [Budget("5", hard=False)]), tries()) == []
    assert rules(CostMeter(PRICES, [Budget("5")]), tries()) == ["retry-inside-budget"]
