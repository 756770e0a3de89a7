"""An S3 server on loopback behind a line that can be cut and restored."""

import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

__all__ = ["Line", "bucket_behind"]

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed is reset, as when a machine goes."""


class Line:
    """A TCP proxy; while it is cut, its port refuses connections and the open ones are reset."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.lock = threading.Lock()
        self.pairs: set[socket.socket] = set()
        self.trigger, self.seconds = b"", 0.0
        """Seconds until the line is restored; below zero it stays cut."""
        self.cuts = 0
        self.silent = False
        self.listener = self._listen(0)
        self.port = self.listener.getsockname()[1]

    def cut_at(self, request: bytes, seconds: float) -> None:
        """Cut the line once, for so many seconds, when a request that holds these bytes passes."""
        self.trigger, self.seconds = request, seconds

    def cut(self) -> None:
        """Cut the line until `restore`."""
        with self.lock:
            self.cuts += 1
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            for end in self.pairs:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()
            self.pairs.clear()

    def restore(self) -> None:
        """Listen at the same port again."""
        self.listener = self._listen(self.port)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Pass nothing on: connections are taken, and hang."""
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
                with self.lock:
                    self.pairs |= {client, server}
                for source, sink, watched in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._copy, args=(source, sink, watched), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.silent:
                    continue
                if watched and self.trigger and self.trigger in data:
                    self.trigger = b""
                    self.cut()
                    if self.seconds >= 0:
                        time.sleep(self.seconds)
                        self.restore()
                    return
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def bucket_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Line]]:
    """Start a server and a line to it, and yield a bucket and the line; address and keys lie in os.environ."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    line = Line(server.get_host_and_port())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the client's own retries would hide short cuts
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"winnow-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}", line
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
