"""The sink that writes records to a file, line by line, and begins a new one now and then."""

from __future__ import annotations

import glob
import itertools
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sessiond.actors.clock import Clock
from sessiond.records import json_lines
from sessiond.records.settings import FileSink
from sessiond.records.sink import Failed, Interrupted

__all__ = ["FileWriter"]

logger = logging.getLogger(__name__)


class FileWriter:
    """Writes what a ``FileSink`` is for; a ``Sink``."""

    batch = 500
    patience = 5.0
    """Disks answer, or nothing helps."""

    def __init__(self, settings: FileSink, clock: Clock) -> None:
        """Write as ``settings`` say; ``clock`` tells when a file is old."""
        self._settings = settings
        self._path = Path(settings.path)
        self._clock = clock
        self._is_interrupted = False

    def prepare(self) -> None:
        """See ``Sink``."""
        json_lines.prepare(self._path)

    def deliver(self, records: Sequence[bytes]) -> None:
        """See ``Sink``; never refuses anything."""
        if self._is_interrupted:
            raise Interrupted
        try:
            if self._is_full(sum(map(len, records)) + len(records)):
                self._rotate()
            json_lines.append(self._path, records)
        except OSError as error:
            raise Failed(f"{self._path}: {error.strerror}") from None

    def interrupt(self) -> None:
        """See ``Sink``."""
        self._is_interrupted = True

    def close(self) -> None:
        """See ``Sink``; nothing is held between deliveries."""

    def _is_full(self, more: int) -> bool:
        """Whether a new file is to begin before so many bytes are added."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return False
        settings = self._settings
        is_large = 0 < settings.rotate_bytes < state.st_size + more
        return state.st_size > 0 and (is_large or self._interval(state.st_mtime) < self._interval(self._now()))

    def _interval(self, at: float) -> float:
        return at // self._settings.rotate_seconds if self._settings.rotate_seconds else 0

    def _now(self) -> float:
        return self._clock.read().wall

    def _rotate(self) -> None:
        """Give the file a name of its own. The names of those that come later sort after it."""
        at = datetime.fromtimestamp(self._now(), UTC)
        names = (f"{self._path.stem}-{at:%Y%m%dT%H%M%SZ}-{count:04}{self._path.suffix}" for count in itertools.count())
        self._path.rename(next(path for path in map(self._path.with_name, names) if not path.exists()))
        json_lines.sync_folder(self._path)
        if self._settings.keep_files:
            self._delete_old()

    def _delete_old(self) -> None:
        pattern = f"{glob.escape(self._path.stem)}-{'[0-9]' * 8}T{'[0-9]' * 6}Z-*{glob.escape(self._path.suffix)}"
        for path in sorted(self._path.parent.glob(pattern))[: -self._settings.keep_files]:
            path.unlink(missing_ok=True)
            logger.info("Deleted %s: there are %d younger files", path, self._settings.keep_files)
