"""``sessiond backup`` and ``sessiond check``: the file of a store, from outside of the service that uses it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sessiond.actors.store import StoreError
from sessiond.flags import Add, add_config, command
from sessiond.sources import ConfigError, load
from sessiond.stores.backup import backup
from sessiond.stores.check import Findings, check

__all__ = ["add_store_commands"]

BACKUP_EXAMPLES = """\
The copy is the store as it was at one moment; the service goes on meanwhile. FILE is written beside its place, checked,
and put there once it is whole and on the disk.

examples:
  sessiond backup --config /etc/sessiond.toml /backup/sessiond.db
  sessiond backup --store /var/lib/sessiond/sessiond.db --replace /backup/sessiond.db

To restore: stop the service, remove the store with its -wal and -shm, put the copy in its place, start the service.
Exit codes: 0 copied, 1 there is no copy, 2 wrong command line or configuration.
"""

CHECK_EXAMPLES = """\
Reads all of it: pages, indexes, sessions, histories and records. Changes nothing; the service may go on.

examples:
  sessiond check /backup/sessiond.db
  sessiond check --config /etc/sessiond.toml

Exit codes: 0 whole, 1 not whole or not readable, 2 wrong command line or configuration.
"""


def add_store_commands(add: Add) -> None:
    """Add the commands to those of the command line."""
    parser = command(add, "backup", _backup, "Copy the store of a service, which may run.", BACKUP_EXAMPLES)
    parser.add_argument("destination", metavar="FILE", type=Path, help="where the copy goes")
    parser.add_argument("--store", metavar="PATH", type=Path, help="the store (default: that of the configuration)")
    add_config(parser, "CONFIG", "the service's TOML file")
    parser.add_argument("--replace", action="store_true", help="replace FILE if it is there")
    parser = command(add, "check", _check, "Tell whether a store, or a backup of one, is whole.", CHECK_EXAMPLES)
    parser.add_argument(
        "store", metavar="PATH", type=Path, nargs="?", help="its file (default: the store of the configuration)"
    )
    add_config(parser, "CONFIG", "the service's TOML file")


def _backup(parsed: argparse.Namespace) -> int:
    path = parsed.store or _configured(parsed.config, "--store")
    folder = parsed.destination.parent
    if not folder.is_dir():
        return _failed(f"{parsed.destination}: there is no folder {folder}; make it first")
    try:
        findings = backup(path, parsed.destination, replaces=parsed.replace)
    except StoreError as error:
        return _failed(str(error))
    print(_table(parsed.destination, findings))
    return 0


def _configured(config: Path | None, name: str) -> Path:
    """The store of the configuration; ``name`` is how else to name one."""
    store = load(config, os.environ, {}).store
    if store.kind == "memory":
        raise ConfigError(f"the configuration keeps nothing in a file; name the store by {name} or --config")
    return Path(store.path)


def _check(parsed: argparse.Namespace) -> int:
    path = parsed.store or _configured(parsed.config, "PATH")
    try:
        findings = check(path)
    except StoreError as error:
        return _failed(str(error))
    print(_table(path, findings))
    for problem in findings.problems:
        print(problem, file=sys.stderr)
    return 1 if findings.problems else 0


def _failed(text: str) -> int:
    print(f"sessiond: {text}", file=sys.stderr)
    return 1


def _table(path: Path, findings: Findings) -> str:
    rows = {
        "live sessions": findings.live,
        "call records": findings.records,
        "entries of the log": findings.log,
        "last position": findings.last,
    }
    verdict = "is not whole" if findings.problems else "is whole"
    return "\n".join([f"{path} {verdict}", *(f"{name:<18} {count:>15,}" for name, count in rows.items())])
