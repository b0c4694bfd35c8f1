"""Running totals: exact sums, one row for each value, bounded in memory."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.call import Attempt
from llamina.messages import Usage
from llamina.policy import totals
from llamina.policy.totals import OTHER, Rows, Totals

DOLLAR = 10**12  # pico-dollars


def attempt(model="m", provider="p", *, source="exact", tokens=(10, 5, 0, 0)):
    """One physical try that used *tokens*: input, output, read from a cache, reasoning."""
    usage = (
        None if tokens is None else Usage(tokens[0], tokens[1], cache_read_tokens=tokens[2], reasoning_tokens=tokens[3])
    )
    return Attempt(provider, model, usage=usage, usage_source=source)


def fill(rows, values, *, tag="user", units=DOLLAR):
    """One try of one call for each of *values* of *tag*."""
    for value in values:
        rows.add(attempt(), units, {tag: value}, first=True)


@pytest.fixture
def few_kinds(monkeypatch):
    """Kinds of calls are folded into sums after every third."""
    monkeypatch.setattr(totals, "_KINDS", 3)


def test_one_attempt_is_counted_in_all_columns():
    """Tokens of every sort, calls and tries, and what is not certain."""
    rows = Rows(max_rows=10)

    rows.add(attempt(tokens=(10, 5, 4, 2)), 3 * DOLLAR, {}, first=True)
    rows.add(attempt(tokens=(1, 0, 0, 0), source="estimated"), None, {}, first=False)

    assert rows.totals() == Totals(1, 2, 11, 5, 4, 2, estimated=1, unpriced=1, _units=3 * DOLLAR)
    assert rows.totals().cost == 3


@pytest.mark.parametrize("kinds", [1, 3])
def test_every_kind_of_token_that_has_a_price_of_its_own_is_counted(monkeypatch, kinds):
    """What was written to a cache, for how long, and sound; also when rows were folded into sums."""
    monkeypatch.setattr(totals, "_KINDS", kinds)
    rows = Rows(max_rows=10)
    usage = Usage(9, 8, 1, 5, 2, cache_write_long_tokens=4, input_audio_tokens=3, output_audio_tokens=6)

    for user in ("ada", "bob"):
        rows.add(Attempt("p", "m", usage=usage, usage_source="exact"), 1, {"user": user}, first=True)

    row = rows.totals()
    assert (row.cache_read_tokens, row.reasoning_tokens) == (2, 4)
    assert (row.cache_write_tokens, row.cache_write_long_tokens) == (10, 8)
    assert (row.input_audio_tokens, row.output_audio_tokens) == (6, 12)
    assert rows.by("user")["ada"].cache_write_tokens == 5


def test_a_try_without_usage_is_counted_as_not_certain():
    """A try of which nothing is known is a try, and no exact zero."""
    rows = Rows(max_rows=10)

    rows.add(attempt(tokens=None, source="unknown"), None, {}, first=True)

    assert rows.totals() == Totals(requests=1, attempts=1, estimated=1, unpriced=1)


def test_money_is_exact():
    """A thousand times ten cents are a hundred dollars; a cost of 0 is a cost and not an unknown one."""
    rows = Rows(max_rows=10)

    for _ in range(1_000):
        rows.add(attempt(), DOLLAR // 10, {}, first=True)
    rows.add(attempt(), 0, {}, first=True)

    assert rows.totals().cost == Decimal(100)
    assert rows.totals().unpriced == 0


def test_rows_are_kept_by_model_by_provider_and_by_every_tag():
    """The same calls, seen from several sides."""
    rows = Rows(max_rows=10)
    rows.add(attempt("small", "one"), DOLLAR, {"user": "ada", "project": "x"}, first=True)
    rows.add(attempt("large", "two"), 2 * DOLLAR, {"user": "ada"}, first=True)
    rows.add(attempt("large", None), 4 * DOLLAR, {}, first=True)

    costs = {tag: {name: row.cost for name, row in rows.by(tag).items()} for tag in ("model", "provider", "user")}

    assert costs["model"] == {"small": 1, "large": 6}
    assert costs["provider"] == {"one": 1, "two": 2, "unknown": 4}
    assert costs["user"] == {"ada": 3}
    assert rows.by("project")["x"].attempts == 1
    assert rows.by("nobody") == {}


@pytest.mark.parametrize("name", ["model", "provider"])
def test_a_tag_cannot_pass_for_the_model(name):
    """What a caller writes in a tag does not move the rows of the meter itself."""
    rows = Rows(max_rows=10)

    rows.add(attempt("real", "real"), DOLLAR, {name: "forged"}, first=True)

    assert list(rows.by(name)) == ["real"]


@pytest.mark.parametrize("folded", [False, True])
def test_values_beyond_the_bound_are_counted_under_other(folded, monkeypatch):
    """The first values keep their rows, those that come later share one, and nothing is lost."""
    monkeypatch.setattr(totals, "_KINDS", 2 if folded else 4096)
    rows = Rows(max_rows=3)

    fill(rows, [f"u{number}" for number in range(10)])
    fill(rows, ["u0", "u9"])

    table = rows.by("user")
    assert {name: row.requests for name, row in table.items()} == {"u0": 2, "u1": 1, "u2": 1, OTHER: 8}


def test_memory_does_not_grow_with_what_callers_send(few_kinds):
    """Users, sessions and names of tags without end leave a bounded number of rows."""
    rows = Rows(max_rows=5)

    for number in range(2_000):
        rows.add(attempt(f"m{number}"), DOLLAR, {"user": f"u{number}", f"tag{number}": "x"}, first=True)

    tables = [rows.by(tag) for tag in ("model", "user", *[f"tag{number}" for number in range(2_000)])]
    assert max(map(len, tables)) <= 6
    assert sum(1 for table in tables if table) < 50
    assert rows.totals().cost == 2_000


def test_models_keep_their_rows_whatever_tags_come_first(few_kinds):
    """Callers that invent names of tags do not push out the rows of models and providers."""
    rows = Rows(max_rows=100)

    for number in range(50):
        rows.add(attempt(), DOLLAR, {f"{number}-{each}": "x" for each in range(50)}, first=True)

    assert rows.by("model")["m"].requests == 50
    assert rows.by("provider")["p"].requests == 50


def test_what_was_read_does_not_change_afterwards():
    """Totals are handed out as values: later calls do not move them, and changing them moves nothing."""
    rows = Rows(max_rows=10)
    fill(rows, ["ada"])
    total, table = rows.totals(), rows.by("user")

    fill(rows, ["ada"])
    table["ada"].requests = 99

    assert (total.requests, rows.totals().requests, rows.by("user")["ada"].requests) == (1, 2, 2)


def test_two_meters_share_nothing():
    """State is born with the object."""
    one, other = Rows(max_rows=10), Rows(max_rows=10)

    fill(one, ["ada"])

    assert other.totals() == Totals()
    assert other.by("user") == {}


def test_totals_read_as_a_sentence():
    """The repr shows dollars, and says so where tokens are estimated or a model has no price."""
    plain = Totals(2, 3, 10, 5, _units=DOLLAR // 4)
    vague = Totals(1, 1, estimated=1, unpriced=1)

    assert repr(plain) == "Totals(0.25 USD, 2 requests, 3 attempts, 10+5 tokens)"
    assert repr(vague) == "Totals(0 USD, 1 requests, 1 attempts, 0+0 tokens, 1 estimated, 1 unpriced)"


names = st.sampled_from("abcd")
calls = st.lists(
    st.tuples(names, st.dictionaries(st.sampled_from(["user", "team"]), names), st.none() | st.integers(0, 9))
)


@given(calls, st.integers(1, 3), st.integers(1, 5))
def test_rows_add_up_to_the_totals(history, max_rows, kinds):
    """Whatever is folded and when: the rows of models sum up to all, the rows of a tag to the calls that have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(totals, "_KINDS", kinds)
        rows = Rows(max_rows)
        for model, tags, units in history:
            rows.add(attempt(model), units, tags, first=True)

        summed = {tag: Totals() for tag in ("model", "user", "team")}
        for tag, total in summed.items():
            assert len(rows.by(tag)) <= max_rows + 1
            for row in rows.by(tag).values():
                total.include(row)

    assert summed["model"] == rows.totals()
    assert rows.totals()._units == sum([units or 0 for _, _, units in history])
    assert summed["user"].requests == sum(["user" in tags for _, tags, _ in history])
    assert summed["team"].unpriced == sum(["team" in tags and units is None for _, tags, units in history])
