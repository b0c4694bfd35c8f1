"""A stack that lives in a file: loaded, explained, changed, written back, and what a mistake in it looks like.

Run: python examples/stack_from_a_file.py
"""

import asyncio
from pathlib import Path

from llamina import ConfigurationError, Request, load_stack

FILE = Path(__file__).with_name("stack.toml")


async def main() -> None:
    stack = load_stack(FILE)
    print(stack)

    async with stack:
        request = Request.chat("echo", "Why is the sky blue?", tags={"user": "ada"})
        for _ in range(2):
            response = await stack(request)
            print(f"{response.text}  [{response.call.cost} USD, {len(response.call.attempts)} attempt(s)]")

    config = stack.to_config()  # plain data: to look at, to change, to store elsewhere
    retry = next(layer for layer in config["layers"] if layer["type"] == "retry")
    retry["attempts"] = 2
    print(load_stack(config).layers[3])

    retry["atempts"] = retry.pop("attempts")
    config["layers"][-1]["seconds"] = "30s"
    try:
        load_stack(config)
    except ConfigurationError as error:
        print(error)


asyncio.run(main())
