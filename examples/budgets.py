"""A budget that holds for a thousand callers at once, and what it says when it is used up. Time is simulated.

python examples/budgets.py
"""

import asyncio
from collections import Counter
from decimal import Decimal

from llamina import Budget, BudgetExceededError, CostMeter, Request, Stack, Usage, build_stack
from llamina.testing import FakeTransport, answer, simulated_time

CENT = answer("an answer", usage=Usage(0, 10_000))  # 10,000 tokens at 1 USD per million


async def ask(stack: Stack, user: str) -> str:
    """Ask once; how it ended."""
    try:
        await stack(Request.chat("small", "hi", max_tokens=10_000, tags={"user": user}))
    except BudgetExceededError as error:
        return f"no room for {'the user' if error.scope else 'anybody'}"
    return "answered"


def main() -> None:
    meter = CostMeter(
        prices={"small": {"input": "1", "output": "1"}},
        budgets=[Budget("1.00", period="day", scope="user"), Budget("4.00", period="month")],
    )
    stack = build_stack([meter], FakeTransport([[0.5, CENT]], repeat=True))

    async def rush() -> None:
        """A thousand calls at the same moment."""
        users = ["ada", "bob", "eve"]
        ended = await asyncio.gather(*[ask(stack, users[number % 3]) for number in range(1000)])
        print("calls:   ", dict(Counter(ended)))

    with simulated_time(start="2026-03-30T12:00:00Z") as clock:
        for day in ("Monday", "Tuesday", "Wednesday, a new month"):
            print(f"--- {day}, {clock.now():%d %B}")
            clock.run(rush())
            for user, row in sorted(meter.by("user").items()):
                print(f"{user}:      {row.cost:f} USD since Monday, {row.requests} calls")
            clock.advance(86_400)

    total = meter.totals().cost
    assert total <= Decimal(4 + 3), total
    print(f"--- {total:f} USD, and never a cent too much")


main()
