"""A copy of a store that is in use, made by another process than the one that uses it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sessiond.actors.store import StoreError
from sessiond.stores.check import Findings, check
from sessiond.stores.database import connect_reader, translated

__all__ = ["backup"]


def backup(path: Path, destination: Path, *, replaces: bool = False) -> Findings:
    """Copy the store ``path``, as it is at one moment, to the file ``destination``; what is in the copy.

    Commits go on meanwhile, but the WAL grows until the copy is made. The copy is complete, on the disk and has been
    checked before it is called ``destination``.

    Raises:
        StoreError: there is no copy; the text says why.
    """
    _refuse(path, destination, replaces=replaces)
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        _copy(path, part)
        findings = check(part)
        if findings.problems:
            raise StoreError(
                f"{path} is not whole, so there is no copy: {findings.problems[0]}; `sessiond check` tells more"
            )
        part.replace(destination)
        _sync(destination.parent)
    except OSError as error:
        raise StoreError(f"{destination}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return findings


def _refuse(path: Path, destination: Path, *, replaces: bool) -> None:
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store")
    if destination.exists() and not replaces:
        raise StoreError(f"{destination} is there already; --replace replaces it")
    if destination.with_name(f"{destination.name}-wal").exists():
        raise StoreError(f"{destination} is a store that is in use; name another file")


def _copy(path: Path, part: Path) -> None:
    """Records tell who called whom: the copy is nobody's but the owner's."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with translated(f"copying {path} to {part}"), contextlib.closing(connect_reader(str(path))) as connection:
        connection.execute("VACUUM INTO ?", (str(part),))
    _sync(part)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
