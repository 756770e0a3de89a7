import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


def _picture(width: int, height: int, format: str = "JPEG", **options: object) -> bytes:
    axis_x, axis_y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack(np.broadcast_arrays(axis_x[None], axis_y[:, None], 128.0), axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Return a function from width, height, format to an encoded smooth picture."""
    return _picture


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""

    def reply(self, status: int = 200, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers.get("User-Agent")))
        server.times.append(time.monotonic())
        if self.path == "/robots.txt":
            self.reply(*server.robots[:2], **dict(server.robots[2:]))
            return
        kind, _, rest = self.path.strip("/").partition("/")
        try:
            getattr(self, f"answer_{kind}")(rest)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer_good(self, rest: str) -> None:
        self.reply(body=b"good " + rest.encode())

    def answer_plain(self, rest: str) -> None:
        self.reply(body=rest.replace("_", " ").replace("~", "\n").encode())

    def answer_picture(self, rest: str) -> None:
        size, _, form = rest.partition(".")
        width, height = (int(part) for part in size.partition("-")[0].split("x"))
        self.reply(body=_picture(width, height, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[form]))

    def answer_status(self, rest: str) -> None:
        self.reply(int(rest), b"x" * 1000)

    def answer_once(self, rest: str) -> None:
        times = sum(path == self.path for path, _ in self.server.asked)
        self.reply(int(rest) if times == 1 else 200, b"second time lucky")

    def answer_busy(self, rest: str) -> None:
        status, value, times = rest.split("/")[:3]
        if sum(path == self.path for path, _ in self.server.asked) <= int(times):
            self.reply(int(status), b"later", Retry_After=value.replace("_", " "))
        else:
            self.reply(body=b"now")

    def answer_counted(self, rest: str) -> None:
        server = self.server
        with server.lock:
            server.busy += 1
            server.most = max(server.most, server.busy)
        time.sleep(0.05)
        with server.lock:
            server.busy -= 1
        self.reply(body=b"counted")

    def answer_robots(self, rest: str) -> None:
        self.reply(body=b"private", X_Robots_Tag=rest.replace("_", " "))

    def answer_redirect(self, rest: str) -> None:
        self.reply(302, Location=rest)

    def answer_hops(self, rest: str) -> None:
        self.reply(302, Location=f"/hops/{int(rest) - 1}" if int(rest) > 1 else "/good/end")

    def answer_claimed(self, rest: str) -> None:
        self.reply(body=b"", length=10**10)

    def answer_streamed(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(2000):
            self.wfile.write(b"\xff" * 65536)

    def answer_silent(self, rest: str) -> None:
        self.server.leave.wait(20)

    def answer_stalled(self, rest: str) -> None:
        self.reply(body=b"half", length=8)
        self.server.leave.wait(20)

    def answer_slow(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def answer_short(self, rest: str) -> None:
        self.reply(body=b"half", length=8)
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    """A server on 127.0.0.1 whose paths say how it shall misbehave; `asked` lists (path, user agent), `times` when."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked = []  # type: ignore[attr-defined]
    server.leave = threading.Event()  # type: ignore[attr-defined]
    server.times, server.robots = [], (404, b"")  # type: ignore[attr-defined]
    server.lock, server.busy, server.most = threading.Lock(), 0, 0  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.leave.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
