"""A small HTTP/1.1 server on asyncio, for simulated providers: requests whole, answers as slow and as broken as asked.

    server = await asyncio.get_running_loop().create_server(lambda: Connection(handle, connections), "127.0.0.1", 0)

*handle* gets a request and a `Reply` to write on. It is cancelled when the client leaves.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

__all__ = ["Connection", "HTTPRequest", "Reply"]

_LONGEST_HEAD = 65_536
_LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


@frozen
class HTTPRequest:
    """One request; the names of its headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply:
    """Writes one answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunked = False
        self.seconds_per_byte = 0.0
        """How slowly the body goes out; 0 for at once."""

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A complete answer."""
        await self.begin(status, headers, len(body), body)

    async def begin(
        self, status: int, headers: Mapping[str, str], length: int | None = None, body: bytes = b""
    ) -> None:
        """The headers and the beginning of the body: of *length* bytes, or in chunks until `end`."""
        self._chunked = length is None
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", size]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.seconds_per_byte:
            await self._connection.write(head)
            await self.write(body)
        else:
            await self._connection.write(head + self._framed(body))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """More of the body; *last* ends it in the same breath, so that a client that has all sees its end."""
        framed = self._framed(data)
        if last and self._chunked:
            framed += _LAST_CHUNK
        if not framed:
            return
        if self.seconds_per_byte:
            # A client may leave as soon as it has all data: what only frames it comes with the last byte.
            at_once = 1 + len(b"\r\n" + _LAST_CHUNK) if last and self._chunked else 1
            for place in range(len(framed) - at_once):
                await asyncio.sleep(self.seconds_per_byte)
                await self._connection.write(framed[place : place + 1])
            await asyncio.sleep(self.seconds_per_byte)
            framed = framed[-at_once:]
        await self._connection.write(framed)

    @property
    def left(self) -> bool:
        """Whether the client closed the connection."""
        return self._connection.left

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection now."""
        self._connection.cut(reset=reset)


Handle = Callable[[HTTPRequest, Reply], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One connection of a client: reads requests one after another and has each of them handled.

    Attributes:
        left: whether the client closed it.
    """

    def __init__(self, handle: Handle, connections: set[Connection]) -> None:
        self._handle = handle
        self._connections = connections
        self._received = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = self._closing = self._continued = self._cut = False
        self.left = False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # With no buffer of our own, a write that has returned has left the process, and a cut loses nothing.
        transport.set_write_buffer_limits(high=0)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came: a part of a request, or several."""
        self._received += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        try:
            request = self._parse()
        except (ValueError, IndexError):
            self.cut()
            return
        if request is not None:
            self._continued = False
            self._task = asyncio.get_running_loop().create_task(self._serve(request), name="llamina simulated answer")

    def _parse(self) -> HTTPRequest | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > _LONGEST_HEAD:
                raise ValueError("the head of the request is too long")
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if headers.get("expect", "").lower() == "100-continue" and not self._continued and self._transport is not None:
            self._continued = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            found = _chunks(self._received, end + 4)
        else:
            stop = end + 4 + int(headers.get("content-length", 0))
            found = (bytes(self._received[end + 4 : stop]), stop) if len(self._received) >= stop else None
        if found is None:
            return None
        body, stop = found
        del self._received[:stop]
        self._closing = headers.get("connection", "").lower() == "close"
        return HTTPRequest(method, path, headers, body)

    async def _serve(self, request: HTTPRequest) -> None:
        try:
            await self._handle(request, Reply(self))
        except ConnectionError:
            pass  # the client left while it was written to
        finally:
            self._task = None
        if self._transport is None:
            return
        if self._closing:
            self._transport.close()
        else:
            self._next()

    async def write(self, data: bytes) -> None:
        """Send *data*, and wait until it has left.

        Raises:
            ConnectionResetError: the client has left.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._transport.write(data)
        if self._paused:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection now; *reset* tells the client so by an RST."""
        if self._transport is None:
            return
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._cut = True
        self._transport.abort()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._paused = True

    def resume_writing(self) -> None:
        """All that was written has left."""
        self._paused = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is closed, by the client unless it was cut here."""
        self._transport = None
        self._connections.discard(self)
        if self._task is not None and not self._cut:
            self.left = True
            self._task.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    async def aclose(self) -> None:
        """Cancel what is being answered, and close."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.cut()
        await asyncio.wait([self.closed])


def _chunks(data: bytearray, start: int) -> tuple[bytes, int] | None:
    """The body that came in chunks from *start* on, and where it ends; None while it is not complete."""
    body = bytearray()
    while (end := data.find(b"\r\n", start)) >= 0:
        size = int(bytes(data[start:end]).split(b";")[0], 16)
        start = end + 2
        if size == 0:
            # Trailers end with an empty line.
            if data[start : start + 2] == b"\r\n":
                return bytes(body), start + 2
            stop = data.find(b"\r\n\r\n", start)
            return (bytes(body), stop + 4) if stop >= 0 else None
        if len(data) < start + size + 2:
            return None
        body += data[start : start + size]
        start += size + 2
    return None
