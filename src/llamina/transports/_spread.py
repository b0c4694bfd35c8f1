"""The HTTP client that an own SDK client is given: it sends through many small pools and lets nothing pass by unseen.

    http_client = SpreadClient("https://api.openai.com/v1", connections=1000)
    client = openai.AsyncOpenAI(..., http_client=http_client, max_retries=0)

It follows no redirect, keeps no cookie, and takes no credentials from a `.netrc`.

The one surprise: an answer that is no success never reaches the SDK, which would read all of it, however long it is and
however slowly it comes, before it says the status. It is raised as `Refused`, unread.
"""

from __future__ import annotations

from typing import Any

import httpx2

from ._httpx import HttpxAnswer, NoCookies, maker
from ._pools import Pools

__all__ = ["Refused", "SpreadClient", "answer_of"]

_PLACE = "llamina.pool"


class Refused(Exception):  # noqa: N818 - it carries an answer past the SDK
    """An answer that is no success."""

    def __init__(self, answer: HttpxAnswer) -> None:
        super().__init__()
        self.answer = answer


class SpreadClient(httpx2.AsyncClient):
    """An AsyncClient in front of many."""

    def __init__(self, url: str, connections: int) -> None:
        super().__init__(transport=httpx2.AsyncBaseTransport(), cookies=NoCookies(), trust_env=False)
        self.spread = Pools(maker(httpx2, url), connections, httpx2.PoolTimeout)

    async def send(self, request: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - how it is sent is decided here
        """Send *request* through the first pool that has a connection left.

        Raises:
            Refused: the status is no success.
        """
        pool = await self.spread.take(request.extensions["timeout"]["pool"])
        try:
            response = await pool.client.send(request, stream=True, auth=None, follow_redirects=False)
        except BaseException as error:
            pool.note(error)
            pool.leave()
            raise
        if not response.is_success:
            raise Refused(HttpxAnswer(response, pool))
        response.extensions[_PLACE] = pool
        return response

    async def aclose(self) -> None:
        """Close the pools."""
        await self.spread.aclose()
        await super().aclose()


def answer_of(response: Any) -> HttpxAnswer:
    """The answer in a response, which gives its place back when it is closed."""
    return HttpxAnswer(response, response.extensions.get(_PLACE))
