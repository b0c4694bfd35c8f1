"""The kit bites: wrong layers, handlers, stores and backoffs, each caught by the clause named for its mistake."""

from __future__ import annotations

import pytest
from zoo import Wrong, cancellations, errors, lives, permits, sharing, streams, terminals, values

from llamina.testing import ConformanceError, check_backoff, check_handler, check_middleware, check_store
from llamina.testing._middleware_clauses import MIDDLEWARE

LAYERS: dict[str, Wrong] = {
    f"{story.__name__.removeprefix('zoo.')}: {name}": wrong
    for story in (permits, cancellations, values, streams, errors, sharing, lives)
    for name, wrong in story.WRONG.items()
}
MENDED = {name: wrong.mended for name, wrong in LAYERS.items() if wrong.mended is not None}


@pytest.mark.parametrize("name", LAYERS)
def test_a_wrong_layer_is_caught_by_the_clause_named_for_its_mistake(name: str) -> None:
    """Among the clauses that it breaks is that one, and the layer works otherwise."""
    wrong = LAYERS[name]

    with pytest.raises(ConformanceError) as caught:
        check_middleware(wrong.build)

    broken = [one.clause for one in caught.value.broken]
    assert wrong.clause in broken, str(caught.value)
    assert wrong.clause == "answers" or "answers" not in broken
    assert len(broken) < len(MIDDLEWARE.entries) * 0.6, str(caught.value)


@pytest.mark.parametrize("name", MENDED)
def test_the_same_layer_without_the_mistake_keeps_every_clause(name: str) -> None:
    """What was caught is the mistake, not the kind of layer."""
    assert len(check_middleware(MENDED[name])) == len(MIDDLEWARE.entries)


def test_every_clause_for_layers_has_a_layer_that_breaks_it() -> None:
    """A check that nothing can fail checks nothing."""
    named = {wrong.clause for wrong in LAYERS.values()}

    assert [clause.name for clause in MIDDLEWARE.entries if clause.name not in named] == []


@pytest.mark.parametrize("name", terminals.HANDLERS)
def test_a_wrong_handler_is_caught_by_the_clause_named_for_its_mistake(name: str) -> None:
    """As for layers."""
    wrong = terminals.HANDLERS[name]

    with pytest.raises(ConformanceError) as caught:
        check_handler(wrong.build())

    assert wrong.clause in [one.clause for one in caught.value.broken], str(caught.value)


@pytest.mark.parametrize("name", terminals.STORES)
def test_a_wrong_store_is_caught_by_the_clause_named_for_its_mistake(name: str) -> None:
    """As for layers."""
    wrong = terminals.STORES[name]

    with pytest.raises(ConformanceError) as caught:
        check_store(wrong.build)

    assert wrong.clause in [one.clause for one in caught.value.broken], str(caught.value)


@pytest.mark.parametrize("name", terminals.BACKOFFS)
def test_a_wrong_backoff_is_caught_by_the_clause_named_for_its_mistake(name: str) -> None:
    """As for layers."""
    wrong = terminals.BACKOFFS[name]

    with pytest.raises(ConformanceError) as caught:
        check_backoff(wrong.build)

    assert wrong.clause in [one.clause for one in caught.value.broken], str(caught.value)
