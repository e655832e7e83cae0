"""The sink that sends records by HTTP, and what becomes of those that it cannot deliver."""

from __future__ import annotations

import hmac
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from sessiond._version import __version__
from sessiond.actors.clock import Clock
from sessiond.records import json_lines
from sessiond.records.answers import judge
from sessiond.records.post import Poster
from sessiond.records.settings import WebhookSink
from sessiond.records.sink import Failed, SinkError

__all__ = ["SIGNATURE", "DeadLetterFile", "Webhook"]

SIGNATURE = "X-Sessiond-Signature"
"""The header that holds ``sha256=`` and the HMAC-SHA256 of the body under the shared secret, in hexadecimal."""

_encode = msgspec.json.Encoder().encode


class Webhook:
    """Sends what a ``WebhookSink`` is for; a ``Sink``."""

    def __init__(self, settings: WebhookSink, clock: Clock, environ: Mapping[str, str] = os.environ) -> None:
        """Send as ``settings`` say; secrets may be in ``environ``."""
        self.batch = settings.batch
        self.patience = settings.timeout
        self._settings = settings
        self._clock = clock
        self._environ = environ
        self._secret: bytes | None = None
        self._headers: list[tuple[str, str]] = []
        self._poster: Poster

    def prepare(self) -> None:
        """See ``Sink``."""
        json_lines.prepare(Path(self._settings.dead_letters))
        if self._settings.secret is not None:
            self._secret = self._dereferenced(self._settings.secret).encode()
        self._headers = self._all_headers()
        self._poster = self._made_poster()

    def deliver(self, records: Sequence[bytes]) -> None:
        """See ``Sink``."""
        body = b'{"records":[' + b",".join(records) + b"]}"
        headers = self._headers
        if self._secret is not None:
            headers = [*headers, (SIGNATURE, "sha256=" + hmac.digest(self._secret, body, "sha256").hex())]
        answer = self._poster.post(headers, body)
        judge(*answer, self._clock.read().wall)

    def interrupt(self) -> None:
        """See ``Sink``."""
        self._poster.interrupt()

    def close(self) -> None:
        """See ``Sink``."""
        self._poster.close()

    def _all_headers(self) -> list[tuple[str, str]]:
        """Those of the service, and those of the configuration."""
        sink = self._settings.name
        own = {"Content-Type": "application/json", "User-Agent": f"sessiond/{__version__}", "X-Sessiond-Sink": sink}
        taken = {name.lower() for name in (*own, SIGNATURE, "Host", "Content-Length", "Transfer-Encoding")}
        given = {name: self._dereferenced(value) for name, value in self._settings.headers.items()}
        for name, value in given.items():
            if name.lower() in taken:
                raise SinkError(f"the header {name} is the service's own")
            if not (value.isascii() and value.isprintable()):
                raise SinkError(f"the header {name} must be printable ASCII")
        return [*own.items(), *given.items()]

    def _made_poster(self) -> Poster:
        settings = self._settings
        try:
            url = urlsplit(settings.url)
            if not url.hostname or url.port == 0:
                raise SinkError(f"{settings.url} names no server")
            tls = ssl.create_default_context(cafile=settings.ca_file) if url.scheme == "https" else None
        except OSError as error:  # ssl's errors too
            raise SinkError(f"{settings.ca_file}: {error.strerror}") from None
        except ValueError as error:
            raise SinkError(f"{settings.url}: {error}") from None
        return Poster(url, tls, settings.timeout, lambda: self._clock.read().monotonic)

    def _dereferenced(self, value: str) -> str:
        """``value``, or what is found where it points to; never told to anybody."""
        kind, _, place = value.partition(":")
        if kind == "env":
            if not (found := self._environ.get(place)):
                raise SinkError(f"{place} is not in the environment, or empty")
            return found
        if kind == "file":
            try:
                return Path(place).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise SinkError(f"{place} cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}") from None
        return value


class DeadLetterFile:
    """Keeps what a webhook did not get; ``courier.DeadLetters``."""

    def __init__(self, settings: WebhookSink) -> None:
        """Keep it where ``settings`` say."""
        self.give_up_after = settings.give_up_after
        self._path = Path(settings.dead_letters)

    def bury(self, records: Sequence[bytes], reason: str, at: float) -> None:
        """See ``DeadLetters``."""
        lines = [_encode({"at": at, "reason": reason, "record": msgspec.Raw(record)}) for record in records]
        try:
            json_lines.append(self._path, lines)
        except OSError as error:
            raise Failed(f"{self._path}: {error.strerror}") from None
