"""Budgets: hard limits hold, money is conserved, periods own their calls."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from llamina.errors import BudgetExceededError, ConfigurationError
from llamina.policy.accounts import UNTAGGED, Accounts, Budget, Refusal, Reservation
from llamina.policy.money import UNITS_PER_USD

USD = UNITS_PER_USD
DAY = 86_400.0
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


def balance(accounts, account=None, now=NOW):
    """(spent, held) of one account in USD."""
    return next((b.spent / USD, b.held / USD) for b in accounts.balances(now) if b.account == account)


def test_an_exact_charge_gives_the_rest_back():
    """After a call only what it cost is spent, and nothing is held."""
    accounts = Accounts([Budget("10")])
    held = accounts.reserve(4 * USD, {}, NOW)
    before = balance(accounts)

    accounts.settle(held, 1 * USD)

    assert before == (0, 4)
    assert balance(accounts) == (1, 0)
    assert accounts.in_flight == 0


def test_an_exact_charge_above_what_was_held_counts_in_full():
    """A call that cost more than its worst case is spent as it was billed."""
    accounts = Accounts([Budget("10")])
    held = accounts.reserve(4 * USD, {}, NOW)

    accounts.settle(held, 12 * USD)

    assert balance(accounts) == (12, 0)


@pytest.mark.parametrize(("estimate", "spent"), [(1, 4), (4, 4), (6, 6)])
def test_an_estimate_may_raise_a_charge_but_gives_nothing_back(estimate, spent):
    """Until the provider has counted, the worst case stays charged."""
    accounts = Accounts([Budget("10")])
    held = accounts.reserve(4 * USD, {}, NOW)

    accounts.settle(held, estimate * USD, estimated=True)

    assert balance(accounts) == (spent, 0)


def test_a_release_gives_everything_back():
    """A call that was certainly not worked on costs nothing."""
    accounts = Accounts([Budget("10")])
    held = accounts.reserve(4 * USD, {}, NOW)

    accounts.release(held)

    assert balance(accounts) == (0, 0)


def test_a_reservation_settles_once():
    """Settling or releasing again changes nothing."""
    accounts = Accounts([Budget("10")])
    held = accounts.reserve(4 * USD, {}, NOW)
    accounts.settle(held, 1 * USD)

    accounts.settle(held, 2 * USD)
    accounts.release(held)

    assert balance(accounts) == (1, 0)


def test_a_charge_that_comes_later_lands_on_the_same_accounts():
    """An attempt that ends after its call is still paid for."""
    accounts = Accounts([Budget("10", scope="user")])
    held = accounts.reserve(4 * USD, {"user": "ann"}, NOW)
    accounts.settle(held, 1 * USD)

    accounts.charge(held, 2 * USD)

    assert balance(accounts, "ann") == (3, 0)


def test_what_fits_exactly_is_let_through():
    """A limit is what may be spent, not what must stay below it."""
    accounts = Accounts([Budget("1.00")])

    kinds = [type(accounts.reserve(USD // 2, {}, NOW)) for _ in range(3)]

    assert kinds == [Reservation, Reservation, Refusal]


def test_a_thousand_callers_never_overshoot():
    """However many ask before the first has ended, what is held stays within the limit."""
    accounts = Accounts([Budget("100")])

    held = [accounts.reserve(USD, {}, NOW) for _ in range(1_000)]

    admitted = [each for each in held if isinstance(each, Reservation)]
    assert len(admitted) == 100
    assert {each.busy for each in held[100:]} == {True}


def test_several_budgets_hold_all_or_nothing():
    """A call that one budget refuses holds nothing in the others."""
    accounts = Accounts([Budget("10", scope="user"), Budget("1", scope="project"), Budget("10", scope="model")])

    refused = accounts.reserve(2 * USD, {"user": "ann", "project": "p"}, NOW, model="m")

    assert isinstance(refused, Refusal)
    assert refused.balance.budget.scope == "project"
    assert all(each.held == 0 for each in accounts.balances(NOW))


def test_each_value_of_a_scope_has_an_account_of_its_own():
    """One user's spending is no other user's."""
    accounts = Accounts([Budget("1", scope="user")])
    accounts.settle(accounts.reserve(USD, {"user": "ann"}, NOW), USD)

    assert isinstance(accounts.reserve(USD, {"user": "bob"}, NOW), Reservation)
    assert isinstance(accounts.reserve(USD, {"user": "ann"}, NOW), Refusal)


def test_calls_without_the_tag_share_one_account():
    """Leaving a tag out is no way round a budget, and no value of the tag is that account."""
    accounts = Accounts([Budget("1", scope="user")])
    accounts.settle(accounts.reserve(USD, {}, NOW), USD)

    refused = accounts.reserve(USD, {"project": "p"}, NOW)
    named = accounts.reserve(USD, {"user": UNTAGGED}, NOW)

    assert refused.balance.account == UNTAGGED
    assert isinstance(named, Reservation)


def test_models_and_providers_are_scopes_too():
    """These are not taken from the tags."""
    accounts = Accounts([Budget("5", scope="model"), Budget("5", scope="provider")])

    accounts.reserve(USD, {"model": "a tag"}, NOW, model="m", provider="p")

    assert [each.account for each in accounts.balances(NOW)] == ["m", "p"]


def test_a_refusal_for_what_is_held_says_busy():
    """It may pass once the calls in flight have ended; nothing promises when."""
    accounts = Accounts([Budget("10", period="day")])
    accounts.reserve(8 * USD, {}, NOW)

    refused = accounts.reserve(4 * USD, {}, NOW)

    assert (refused.busy, refused.retry_after) == (True, None)
    assert refused.balance[2:] == (10 * USD, 0, 8 * USD)


def test_of_two_refusals_the_one_that_is_really_spent_is_told():
    """Waiting for calls in flight would not help, so it is not suggested."""
    accounts = Accounts([Budget("10", scope="user"), Budget("10", scope="project", period="day")])
    accounts.settle(accounts.reserve(9 * USD, {"user": "bob", "project": "p"}, NOW), 9 * USD)
    accounts.reserve(1 * USD, {"user": "ann", "project": "p"}, NOW)
    accounts.reserve(8 * USD, {"user": "ann", "project": "q"}, NOW)

    refused = accounts.reserve(2 * USD, {"user": "ann", "project": "p"}, NOW)

    assert (refused.balance.account, refused.busy) == ("p", False)
    assert refused.retry_after == DAY / 2


def test_the_error_says_scope_limit_spent_held_and_reset():
    """Everything that a caller needs to decide what to do."""
    accounts = Accounts([Budget("5.00", period="day", scope="user", tz="Europe/Berlin")])
    accounts.settle(accounts.reserve(5 * USD, {"user": "ann"}, NOW), 5 * USD)

    error = accounts.reserve(USD // 100, {"user": "ann"}, NOW).error(model="m")

    assert isinstance(error, BudgetExceededError)
    assert (error.limit, error.spent, error.held) == (Decimal(5), Decimal(5), Decimal(0))
    assert (error.scope, error.account, error.busy, error.model) == ("user", "ann", False, "m")
    assert error.resets_at.isoformat() == "2026-11-22T00:00:00+01:00"
    assert error.retry_after == 11 * 3600
    assert "the budget of 5 USD a day for user 'ann' has no room for a call of up to 0.01 USD" in str(error)


def test_a_call_that_can_never_fit_is_told_so():
    """More than the whole limit is no matter of waiting."""
    refused = Accounts([Budget("1", period="day")]).reserve(2 * USD, {}, NOW)

    assert (refused.busy, refused.retry_after) == (False, None)
    assert "lower its max_tokens or raise the limit" in str(refused.error())


def test_a_budget_without_a_period_never_resets():
    """Its refusal names no moment."""
    accounts = Accounts([Budget("1")])
    accounts.settle(accounts.reserve(USD, {}, NOW), USD)

    error = accounts.reserve(USD, {}, NOW + 400 * DAY).error()

    assert error.resets_at is None
    assert "it never resets" in str(error)


def test_a_call_that_costs_nothing_is_never_refused():
    """Free models stay usable when the money is spent, overspent even."""
    accounts = Accounts([Budget("1")])
    accounts.settle(accounts.reserve(USD, {}, NOW), 3 * USD)

    assert isinstance(accounts.reserve(0, {}, NOW), Reservation)
    assert isinstance(accounts.reserve(1, {}, NOW), Refusal)


def test_a_soft_budget_counts_and_warns_but_never_refuses():
    """It is there to be seen."""
    accounts = Accounts([Budget("1", hard=False)])

    warnings = [accounts.settle(accounts.reserve(USD, {}, NOW), USD) for _ in range(3)]

    assert [len(each) for each in warnings] == [1, 0, 0]
    assert balance(accounts) == (3, 0)


def test_an_account_warns_once_in_each_period():
    """Crossing the share a second time on one day is no news; on the next day it is."""
    accounts = Accounts([Budget("10", period="day", scope="user")])

    def spend(usd, user, now):
        return accounts.settle(accounts.reserve(usd * USD, {"user": user}, now), usd * USD)

    assert spend(7, "ann", NOW) == ()
    assert [(each.account, each.spent) for each in spend(1, "ann", NOW)] == [("ann", 8 * USD)]
    assert spend(1, "ann", NOW) == ()
    assert len(spend(8, "bob", NOW)) == 1
    assert len(spend(9, "ann", NOW + DAY)) == 1


def test_without_a_share_an_account_never_warns():
    """`warn_at=None` is silence."""
    accounts = Accounts([Budget("1", warn_at=None, hard=False)])

    assert accounts.settle(accounts.reserve(USD, {}, NOW), 2 * USD) == ()


def test_a_new_period_starts_with_nothing_spent():
    """At midnight the money is there again, and the ended day takes no memory."""
    accounts = Accounts([Budget("1", period="day", scope="user")])
    for user in "abc":
        accounts.settle(accounts.reserve(USD, {"user": user}, NOW), USD)

    tomorrow = accounts.reserve(USD, {"user": "a"}, NOW + DAY)

    assert isinstance(tomorrow, Reservation)
    assert [each.account for each in accounts.balances(NOW + DAY)] == ["a"]


def test_a_call_belongs_to_the_period_in_which_it_was_reserved():
    """What ends after midnight is spent yesterday."""
    accounts = Accounts([Budget("1", period="day")])
    held = accounts.reserve(USD, {}, NOW)
    accounts.reserve(USD // 4, {}, NOW + DAY)

    accounts.settle(held, USD)

    assert balance(accounts, now=NOW + DAY) == (0, 0.25)
    assert held.accounts[0].spent == USD


def test_a_clock_set_back_grants_nothing_twice():
    """Yesterday's money was spent; today's account is charged until the clock is right again."""
    accounts = Accounts([Budget("1", period="day")])
    accounts.settle(accounts.reserve(USD, {}, NOW), USD)
    accounts.settle(accounts.reserve(USD, {}, NOW + DAY), USD)

    refused = accounts.reserve(1, {}, NOW)

    assert isinstance(refused, Refusal)
    assert refused.resets_at.timestamp() == NOW + 1.5 * DAY


def test_reading_the_balances_takes_nothing_away():
    """Totals may be read at any time, of budgets with and without a period."""
    accounts = Accounts([Budget("5"), Budget("5", period="month", scope="user")])
    accounts.reserve(USD, {"user": "ann"}, NOW)

    twice = [accounts.balances(NOW), accounts.balances(NOW)]

    assert twice[0] == twice[1]
    assert [each.held for each in twice[0]] == [USD, USD]


def test_a_hold_that_was_forgotten_is_swept_and_still_charged_when_it_settles():
    """A lost reservation does not block a budget for ever, nor make a call free."""
    accounts = Accounts([Budget("1")])
    lost = accounts.reserve(USD, {}, NOW, moment=100.0)
    fresh = accounts.reserve(0, {}, NOW, moment=700.0)

    swept = accounts.sweep(before=400.0)
    between = balance(accounts)
    accounts.settle(lost, USD // 2)
    accounts.settle(fresh, 0)

    assert (swept, between) == (1, (0, 0))
    assert balance(accounts) == (0.5, 0)
    assert accounts.in_flight == 0


def test_an_estimate_for_a_swept_hold_is_charged_at_its_worst_case():
    """Sweeping does not make an unknown smaller."""
    accounts = Accounts([Budget("1")])
    lost = accounts.reserve(USD, {}, NOW)
    accounts.sweep(before=1.0)

    accounts.settle(lost, 1, estimated=True)

    assert balance(accounts) == (1, 0)


def test_threads_together_stay_within_the_limit():
    """One set of accounts may serve several event loops."""
    accounts = Accounts([Budget("1", warn_at=None)])
    admitted = []

    def call():
        for _ in range(300):
            held = accounts.reserve(USD // 100, {}, NOW)
            if isinstance(held, Reservation):
                admitted.append(held)
                accounts.settle(held, USD // 100)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) == 100
    assert balance(accounts) == (1, 0)


def test_a_settle_inside_a_reserve_does_not_block():
    """The garbage collector may close one call while another is being reserved in the same thread."""
    accounts = Accounts([Budget("1", scope="user")])
    held = accounts.reserve(USD // 2, {"user": "ann"}, NOW)

    class Tags(dict):
        def get(self, key):
            accounts.settle(held, USD // 4)
            return "ann"

    assert isinstance(accounts.reserve(USD // 2, Tags(), NOW), Reservation)
    assert balance(accounts, "ann") == (0.25, 0.5)


users = st.sampled_from(["ann", "bob", ""])
amounts = st.integers(0, 60)


class Ledger(RuleBasedStateMachine):
    """Random calls over three budgets, beside a model that adds everything up by hand."""

    reservations = Bundle("reservations")

    def __init__(self):
        super().__init__()
        self.budgets = [
            Budget("0.000000000100", period="day", scope="user"),
            Budget("0.000000000150", scope="model"),
            Budget("0.000000000180", period="month", tz="Europe/Berlin"),
        ]
        self.accounts = Accounts(self.budgets)
        self.now = NOW
        self.spent = 0
        self.held = 0
        self.seen = {}

    def note(self, reservation):
        for account in reservation.accounts:
            self.seen[id(account)] = account

    @rule(target=reservations, amount=amounts, user=users, model=users)
    def reserve(self, amount, user, model):
        """Reserve, all or nothing."""
        before = self.accounts.balances(self.now)
        held = self.accounts.reserve(amount, {"user": user} if user else {}, self.now, model=model)
        if isinstance(held, Refusal):
            after = {each[:2]: each for each in self.accounts.balances(self.now)}
            assert all(after[each[:2]] == each for each in before)
            assert held.balance.spent + held.balance.held + amount > held.balance.limit
            return None
        self.note(held)
        self.held += amount
        return held

    @rule(reservation=consumes(reservations), share=st.floats(0, 1), estimated=st.booleans())
    def settle(self, reservation, share, estimated):
        """Settle with at most what was held."""
        if reservation is None:
            return
        actual = int(reservation.amount * share)
        self.accounts.settle(reservation, actual, estimated=estimated)
        self.held -= reservation.amount
        self.spent += reservation.amount if estimated else actual

    @rule(reservation=consumes(reservations))
    def release(self, reservation):
        """Give back."""
        if reservation is not None:
            self.accounts.release(reservation)
            self.held -= reservation.amount

    @precondition(lambda self: self.now < NOW + 60 * DAY)
    @rule(hours=st.integers(-30, 60))
    def time_passes(self, hours):
        """Forward mostly, back at times."""
        self.now += hours * 3600

    @invariant()
    def limits_hold(self):
        """No account of any period is above its limit, or owes."""
        for account in self.seen.values():
            assert account.held >= 0
            assert account.spent + account.held <= account.book.limit

    @invariant()
    def money_is_conserved(self):
        """Every budget has seen every call, once."""
        for book in self.accounts._books:
            mine = [account for account in self.seen.values() if account.book is book]
            assert sum(account.spent for account in mine) == self.spent
            assert sum(account.held for account in mine) == self.held


TestLedger = Ledger.TestCase


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 150)), max_size=40))
def test_an_overshoot_is_only_what_calls_cost_above_what_was_held(calls):
    """The limit can be passed by exactly the sum of the excesses, not more."""
    accounts = Accounts([Budget("0.000000001000")])
    excess = 0
    for amount, actual in calls:
        held = accounts.reserve(amount, {}, NOW)
        if isinstance(held, Reservation):
            accounts.settle(held, actual)
            excess += max(0, actual - amount)

    for each in accounts.balances(NOW):
        assert each.spent <= 1000 + excess


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit": 5.0}, "Budget.limit must be exact, got the float 5.0"),
        ({"limit": "-1"}, "Budget.limit must be at least 0, got -1"),
        ({"limit": "nan"}, "Budget.limit must be a finite amount"),
        ({"limit": "five"}, "Budget.limit must be an amount of USD, got 'five'"),
        (
            {"limit": "1", "period": "fortnight"},
            "Budget.period must be 'day', 'week', 'month' or None, got 'fortnight'",
        ),
        ({"limit": "1", "scope": ""}, "Budget.scope must be the name of a tag"),
        ({"limit": "1", "scope": 5}, "Budget.scope must be the name of a tag"),
        ({"limit": "1", "tz": "Mars/Base"}, "Budget.tz must be the name of a time zone, got 'Mars/Base'"),
        ({"limit": "1", "hard": "no"}, "Budget.hard must be True or False, got 'no'"),
        ({"limit": "1", "warn_at": 80}, "Budget.warn_at must be a share above 0 and up to 1, got 80"),
        ({"limit": "1", "warn_at": 0}, "Budget.warn_at must be"),
        ({"limit": "1", "warn_at": float("nan")}, "Budget.warn_at must be"),
        ({"limit": "1", "warn_at": "0.8"}, "Budget.warn_at must be"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings, words):
    """The error names the field, the value and what to write."""
    with pytest.raises(ConfigurationError) as caught:
        Budget(**settings)

    assert words in str(caught.value)


def test_a_budget_reads_as_it_was_written():
    """The limit is exact money; the rest has quiet defaults."""
    budget = Budget("5.00", period="day", scope="user")

    assert budget.limit == Decimal("5.00")
    assert (budget.tz, budget.hard, budget.warn_at) == ("UTC", True, 0.8)
    assert budget == Budget(Decimal(5), period="day", scope="user")
    assert str(budget.limit) == "5.00"
