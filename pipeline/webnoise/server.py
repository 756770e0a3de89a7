"""The web of a synthetic pool: a real HTTP server on 127.0.0.1 that draws pictures on request and misbehaves.

It runs as a process of its own (`python -m pipeline.webnoise.server '{"seed": 0}'`), prints its port, and ends when its
standard input does: whichever way the parent goes, SIGKILL included, the kernel closes that pipe.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from pipeline.webnoise.draw import render
from pipeline.webnoise.faults import fault_of
from pipeline.webnoise.sample import number_of, sample_at
from pipeline.webnoise.world import World

__all__ = ["serve_world"]

MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_HUGE = 200_000_000  # bytes that an over-large file claims or streams


@contextmanager
def serve_world(world: World) -> Iterator[str]:
    """Run the server for `world` in a process of its own and yield its "127.0.0.1:port"."""
    # in this process's order: were site-packages the first, what some package installs would hide Python's own modules
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.webnoise.server", world.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = process.stdout.readline().decode().strip()
        if not port:
            raise RuntimeError(f"the pool's web server ended at once with status {process.wait()}")
        yield f"127.0.0.1:{port}"
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class _Web:
    """Answer requests for the pictures of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.drawers = ThreadPoolExecutor(max_workers=2)
        self.asked: set[str] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client leaves."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode("latin-1")
                if not await self.answer(target, writer):
                    break
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def answer(self, target: str, writer: asyncio.StreamWriter) -> bool:
        """Write one response; return whether the connection may be kept."""
        path = target.removesuffix("?moved")
        number, moved, fault = number_of(self.world, path), path != target, fault_of(path)
        if number is None:
            return await _send(writer, 404, "text/html", b"<h1>Not found</h1>")
        if fault == "redirect_loop" or (fault == "redirect" and not moved):
            return await _send(writer, 302, "text/html", b"", f"Location: {target if moved else target + '?moved'}")
        if fault == "missing":
            return await _send(writer, 404, "text/html", b"<h1>404</h1>")
        if fault == "flaky" and target not in self.asked:
            self.asked.add(target)
            return await _send(writer, 500, "text/html", b"<h1>Try again</h1>")
        if fault == "html":
            return await _send(
                writer, 200, "text/html", b"<!doctype html><title>Photos</title><p>Welcome to our gallery."
            )
        if fault == "huge_claimed":
            writer.write(_head(200, "image/jpeg", _HUGE))
            await writer.drain()
            return False
        if fault == "huge_streamed":
            writer.write(_head(200, "image/jpeg", None))
            for _ in range(_HUGE // 65536):
                writer.write(b"\xff\xd8\xff\xe0" * 16384)
                await writer.drain()
            return False
        scene = sample_at(self.world, number).scene
        loop = asyncio.get_running_loop()
        body, mime = await loop.run_in_executor(self.drawers, render, scene, self.world.picture_set), MIME[scene.format]
        if fault == "truncated":
            body = body[: len(body) * 2 // 3]
        if fault in ("slow", "stalled"):
            return await self.trickle(writer, mime, body, stall=fault == "stalled")
        robots = "X-Robots-Tag: noai, noimageai" if fault == "noai" else ""
        return await _send(writer, 200, "text/plain" if fault == "mislabelled" else mime, body, robots)

    async def trickle(self, writer: asyncio.StreamWriter, mime: str, body: bytes, stall: bool) -> bool:
        """Send a body in four parts over 0.3 seconds, or half of it and then nothing."""
        writer.write(_head(200, mime, len(body)))
        part = -(-len(body) // 4)
        for count, start in enumerate(range(0, len(body), part)):
            writer.write(body[start : start + part])
            await writer.drain()
            if stall and count == 1:
                await asyncio.sleep(600)
                return False
            await asyncio.sleep(0.1 if count < 3 else 0)
        return True


_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 500: "Internal Server Error"}


def _head(status: int, mime: str, length: int | None, extra: str = "") -> bytes:
    """Return status line and headers; without a length the body lasts until the connection closes."""
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Type: {mime}"]
    lines += [f"Content-Length: {length}"] if length is not None else ["Connection: close"]
    lines += [extra] if extra else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send(writer: asyncio.StreamWriter, status: int, mime: str, body: bytes, extra: str = "") -> bool:
    """Write a whole response and keep the connection."""
    writer.write(_head(status, mime, len(body), extra) + body)
    await writer.drain()
    return True


async def _main(world: World) -> None:
    """Listen, say where, and serve until the process is ended."""
    web = _Web(world)
    server = await asyncio.start_server(web.handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def _end_with_parent() -> None:
    """Wait for the end of standard input, then leave without ceremony."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_main(World.model_validate_json(sys.argv[1])))
