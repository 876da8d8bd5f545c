"""Serves pictures over kept connections with as little work as Python allows, each with bytes of its own.

    python -m benchmarks.picture_server FOLDER LATENCY_S

Prints its port. A path /N gives one of the folder's JPEGs with a comment that says N.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

START = b"\xff\xd8"  # of every JPEG; a comment may follow it


class Pictures(asyncio.Protocol):
    """One connection: a request at a time, as our clients send them."""

    def __init__(self, files: list[bytes], latency_s: float) -> None:
        self._files, self._latency_s = files, latency_s
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        head, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not found:
            self._buffer = head
            return
        number = int(head.split(b" ", 2)[1].lstrip(b"/"))
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._answer, number)
        else:
            self._answer(number)

    def _answer(self, number: int) -> None:
        comment = str(number).encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        body = START + segment + self._files[number % len(self._files)][len(START) :]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self._transport.write(head + body)


async def main() -> None:
    """Serve until ended."""
    files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Pictures(files, float(sys.argv[2])), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
