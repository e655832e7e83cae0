"""HTTP servers that receive records, and behave as a test says."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Receiver", "Request", "receiver"]

Answered = tuple[int, dict[str, str]]


class Request:
    """What has come."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.path = handler.path
        self.headers = dict(handler.headers.items())
        self.body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.connection = handler.client_address

    @property
    def records(self) -> list[dict[str, Any]]:
        return json.loads(self.body)["records"]

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


class Receiver:
    """A server, and what has come to it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answered | int | None] = lambda _: 200
        """The status, with headers if need be; None leaves without an answer."""
        self.came = threading.Event()
        """Set by each request; a test clears it."""
        self.release = threading.Event()
        """What hangs, hangs until this is set."""
        self.url = ""

    @property
    def ids(self) -> list[str]:
        """All that has come, in its order."""
        return [each for request in self.requests for each in request.ids]

    def hang(self, request: Request) -> None:
        """An answer that never comes."""
        self.release.wait()


@contextlib.contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server on a port of its own, until the block ends."""
    served = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = Request(self)
            served.requests.append(request)
            served.came.set()
            answer = served.answer(request)
            if answer is None:
                self.close_connection = True
                return
            status, headers = (answer, {}) if isinstance(answer, int) else answer
            self.send_response(status)
            for name, value in ({"Content-Length": "2"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that go away are what these tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        served.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/cdr?from=sessiond"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            served.release.set()
            server.shutdown()
            thread.join()
