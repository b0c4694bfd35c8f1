"""A terminal without a provider: it answers from the prompt, at once, the same every time.

    stack = build_stack([Cache(), Retry()], EchoTransport())
    response = await stack(Request.chat("echo", "Why is the sky blue?"))
    response.text                                # 'You said: "Why is the sky blue?" ...'

For first steps, examples and demos: it streams word by word, counts tokens, obeys a limit of tokens, and costs what the
price table says of the model that was named.

The one surprise: it knows nothing, it repeats what was said last. For scripts of answers and failures there is
`llamina.testing.FakeTransport`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from llamina.errors import InvalidRequestError
from llamina.events import TextDelta
from llamina.messages import Message, Text, Usage
from llamina.policy._validate import non_negative
from llamina.policy.estimate import estimate_input, estimate_tokens, output_limit
from llamina.protocol import Request, Response

__all__ = ["EchoTransport"]

_WORD = re.compile(r"\S+\s*|\s+")


@define(eq=False, slots=False)
class EchoTransport:
    """Answers every request with a sentence that repeats the last message.

    Args:
        delay: seconds before the answer begins.
        piece_delay: seconds between two words of it.
        provider: the name that the ledger shows.

    Raises:
        ConfigurationError: a delay is no number of seconds.
    """

    delay: float = field(default=0.0, validator=non_negative(remedy="leave it out for none"))
    piece_delay: float = field(default=0.0, validator=non_negative(remedy="leave it out for none"))
    provider: str = field(default="echo", kw_only=True)

    async def __call__(self, request: Request) -> Response:
        """Answer *request*, in pieces of a word each if it streams.

        Raises:
            InvalidRequestError: it asks for something else than words.
        """
        if request.kind != "chat":
            raise InvalidRequestError(f"an echo cannot answer a request of the kind {request.kind!r}", processed=False)
        out = request.begin()
        answer = f'You said: "{_last_words(request)}" That is all I can say; I am only an echo.'
        text, finish_reason = _cut(answer, request.params)
        if self.delay:
            await asyncio.sleep(self.delay)
        for number, word in enumerate(_WORD.findall(text)):
            if number and self.piece_delay:
                await asyncio.sleep(self.piece_delay)
            await out.send(TextDelta(word))
        usage = Usage(estimate_input([_spoken(message) for message in request.messages]), estimate_tokens(text))
        return Response(
            Message("assistant", (Text(text),) if text else ()),
            usage,
            finish_reason,
            request.model,
            id=f"echo-{hashlib.sha256(answer.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}",
            raw_finish_reason=finish_reason,
        )

    def explain(self, _request: Request | None = None) -> str:
        """What it does; no provider is asked."""
        pauses = f" after {self.delay:g} s" if self.delay else ""
        return f"answers with what was said last{pauses}, and asks nobody"


def _last_words(request: Request) -> str:
    return next((spoken for message in reversed(request.messages) if (spoken := _spoken(message))), "nothing")


def _spoken(message: Message) -> str:
    """What a message says, the results of tools included."""
    return message.text or "".join([part.text for part in message.parts if hasattr(part, "text")])


def _cut(text: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """As much of *text* as the request allows, in whole words, and why it ends there."""
    limit = output_limit({name: value for name, value in params.items() if name not in ("n", "best_of")})
    if limit is None or estimate_tokens(text) <= limit:
        return text, "stop"
    kept = ""
    for word in _WORD.findall(text):
        if estimate_tokens(kept + word) > limit:
            break
        kept += word
    return kept, "length"
