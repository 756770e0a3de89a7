"""A web server for the download benchmark: pictures from memory, one process, as little work a request as possible.

It prints its port, and ends when its standard input does.
"""

import asyncio
import os
import sys
import threading
from pathlib import Path

__all__: list[str] = []


class _Answers(asyncio.Protocol):
    """Answer every request of a connection with the picture whose number its path ends in."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.pictures = pictures
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write to."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head, self.waiting = self.waiting[:end], self.waiting[end + 4 :]
            path = head.split(b" ", 2)[1]
            found = path.startswith(b"/p/")
            body = self.pictures[int(path[3:]) % len(self.pictures)] if found else b""
            status = b"200 OK" if found else b"404 Not Found"
            self.transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 %b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
            )
            if b"connection: close" in head.lower():
                self.transport.close()


async def _serve(folder: Path) -> None:
    """Serve the files of a folder, by number."""
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    server = await asyncio.get_running_loop().create_server(lambda: _Answers(pictures), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    asyncio.run(_serve(Path(sys.argv[1])))
