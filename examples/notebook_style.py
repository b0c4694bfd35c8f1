"""A notebook as a script of cells: blocking calls, a stream, a table of what it cost. Offline.

python examples/notebook_style.py
"""

# %% Once, at the top: what every call goes through
import asyncio

from llamina import Budget, Cache, Client, Constant, CostMeter, Request, Retry, ServerError, build_stack
from llamina.testing import FakeTransport, answer

PRICES = {"small": {"input": "0.15", "output": "0.60"}, "large": {"input": "2.50", "output": "10"}}


def provider(request: Request) -> object:
    """Stands in for a provider: it is busy at first, then it counts words."""
    text = request.messages[-1].text
    if fake.calls == 1:
        return ServerError("busy")
    return ["Once ", "upon ", "a time."] if "story" in text else answer(f"{len(text.split())} words")


fake = FakeTransport(provider)
meter = CostMeter(prices=PRICES, budgets=[Budget("1.00", period="day")])
stack = build_stack([Cache(), Retry(attempts=3, backoff=Constant(0.01)), meter], fake)
client = Client(stack, model="small", temperature=0, tags={"project": "notebook"}).blocking()

# %% Ask; run the cell again, and the answer comes from the cache
for _ in range(2):
    response = client.chat("How many words are these?")
    print(response.text, f"{len(response.call.attempts)} tries, ${response.call.cost}", response.call.cache or "")

# %% Watch an answer grow
for piece in client.stream("Tell me a story").text:
    print(piece, end="", flush=True)
print()

# %% Try another model on many texts
for text in ["one", "one two", "one two three"]:
    print(f"{text:15}", client.chat(text, model="large").text)

# %% What did it cost?
for model, row in meter.by("model").items():
    print(f"{model:6} {row.attempts} tries {row.input_tokens:3} tokens in {row.output_tokens:3} out  ${row.cost}")
print(f"{fake.calls} requests were made, ${meter.totals().cost} of 1.00 are spent")


# %% A notebook runs an event loop already: the same cells work there
async def a_notebook() -> str:
    """What the kernel does: it runs a cell inside its loop."""
    return client.chat("How many words are these?").text


print(asyncio.run(a_notebook()))
