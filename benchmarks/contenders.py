"""Who is compared: how each server is started, and how one speaks to it."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from benchmarks.names import (
    ECHO,
    PLAIN_DICT,
    REDIS_ALWAYS,
    REDIS_EVERYSEC,
    REDIS_LUA,
    REDIS_PLAIN,
    SESSIOND,
    SESSIOND_COMMIT,
    SESSIOND_RELAXED,
    THREADING_ACTORS,
)
from benchmarks.processes import Server, free_port, started
from benchmarks.redis_dialect import LuaScripts, PlainCommands
from benchmarks.redis_scripts import SCRIPTS
from sessiond.bench.dialect import Dialect, EchoedRpc, MessagePackRpc

__all__ = ["CONTENDERS", "Contender", "Programs"]


@dataclass(frozen=True)
class Programs:
    """What servers are started with."""

    python: str
    redis_server: str
    core: int
    """The only one that a server may use."""
    disk: str | None = None
    """The folder for the files of stores, None for that of temporary files."""


@dataclass(frozen=True)
class Contender:
    """One of those that are compared."""

    name: str
    dialect: Callable[[], Dialect]
    run: Callable[[Programs], contextlib.AbstractContextManager[Server]]


def _python(*arguments: str) -> Callable[[Programs], contextlib.AbstractContextManager[Server]]:
    return lambda programs: started([programs.python, *arguments], programs.core)


_SERVE = (
    *("-m", "sessiond", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
    *("--log-level", "error"),  # it would tell that it starts and stops
)


@contextlib.contextmanager
def _stored(programs: Programs, durability: str) -> Iterator[Server]:
    with _folder(programs) as folder:
        store = "--store-kind", "sqlite", "--store-path", f"{folder}/sessiond.db", "--store-durability", durability
        with started([programs.python, *_SERVE, *store], programs.core) as server:
            yield server


def _folder(programs: Programs) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sessiond-benchmarks-", dir=programs.disk)


@contextlib.contextmanager
def _redis(programs: Programs, **store: str) -> Iterator[Server]:
    port = free_port()
    settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "daemonize": "no", **store}
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with started([programs.redis_server, *flags], programs.core, port) as server:
        with redis.Redis(port=port) as client:
            for script in SCRIPTS:
                client.script_load(script)
        yield server


@contextlib.contextmanager
def _redis_aof(programs: Programs, fsync: str) -> Iterator[Server]:
    with (
        _folder(programs) as folder,
        _redis(programs, dir=folder, appendonly="yes", appendfsync=fsync) as server,
    ):
        yield server


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(SESSIOND, MessagePackRpc, _python(*_SERVE)),
        Contender(SESSIOND_COMMIT, MessagePackRpc, functools.partial(_stored, durability="commit")),
        Contender(SESSIOND_RELAXED, MessagePackRpc, functools.partial(_stored, durability="relaxed")),
        Contender(REDIS_LUA, LuaScripts, _redis),
        Contender(REDIS_PLAIN, PlainCommands, _redis),
        Contender(REDIS_EVERYSEC, LuaScripts, functools.partial(_redis_aof, fsync="everysec")),
        Contender(REDIS_ALWAYS, LuaScripts, functools.partial(_redis_aof, fsync="always")),
        Contender(PLAIN_DICT, MessagePackRpc, _python("-m", "benchmarks.peers.plain_dict")),
        Contender(THREADING_ACTORS, MessagePackRpc, _python("-m", "benchmarks.peers.threading_actors")),
        Contender(ECHO, EchoedRpc, _python("-m", "sessiond.bench.echo")),
    )
}
