"""A batch from many threads, in sync code: one budget, one cache and one flight for all of them. Offline.

python examples/threaded_batch.py
"""

from concurrent.futures import ThreadPoolExecutor

from llamina import (
    Budget,
    BudgetExceededError,
    Cache,
    Client,
    Constant,
    CostMeter,
    Dedup,
    LLMError,
    Request,
    Retry,
    ServerError,
    Usage,
    build_stack,
)
from llamina.blocking import BlockingClient
from llamina.testing import FakeTransport, answer

TICKETS = ["The door squeaks.", "I cannot log in.", "The door squeaks.", "Where is my invoice?"] * 50
seen: set[str] = set()


def provider(request: Request) -> object:
    """Fails once for each text, then names a department."""
    text = request.messages[-1].text
    if text not in seen:
        seen.add(text)
        return ServerError("busy")
    return answer("repairs" if "door" in text else "accounts", usage=Usage(20, 2))


def sorted_into(client: BlockingClient, text: str) -> str:
    """What a worker does: sync code, as it was before."""
    try:
        return client.chat(f"Which department? {text}", tags={"job": "tickets"}).text
    except LLMError as error:
        return error.outcome


fake = FakeTransport(provider)
meter = CostMeter(prices={"small": {"input": "0.15", "output": "0.60"}}, budgets=[Budget("0.01", scope="job")])
layers = [Cache(), Dedup(), Retry(attempts=3, backoff=Constant(0.01)), meter]

with Client(build_stack(layers, fake), model="small", max_tokens=5).blocking() as client:
    with ThreadPoolExecutor(32) as pool:
        departments = list(pool.map(lambda text: sorted_into(client, text), TICKETS))
    print({name: departments.count(name) for name in sorted(set(departments))})
    print(f"{len(TICKETS)} tickets from 32 threads, {fake.calls} calls of the provider, ${meter.totals().cost}")

    print("".join(client.stream("And one with an answer that streams: no door").text))

    try:
        client.chat("Everything at once", max_tokens=1_000_000)
    except BudgetExceededError as error:
        print(f"refused before it was sent: {error.spent} of {error.limit} USD are spent")

assert set(departments) == {"repairs", "accounts"}
