"""Who takes part: names, as the command and the raw results have them, and titles, as tables and plots have them."""

from __future__ import annotations

__all__ = [
    "ASYNC_CLIENT",
    "CLIENT",
    "CLIENTS",
    "ECHO",
    "IN_MEMORY",
    "PEERS",
    "PLAIN_DICT",
    "REDIS_ALWAYS",
    "REDIS_EVERYSEC",
    "REDIS_LUA",
    "REDIS_PLAIN",
    "REDIS_PY",
    "REDIS_PY_ASYNCIO",
    "RIVALS",
    "SESSIOND",
    "SESSIOND_COMMIT",
    "SESSIOND_RELAXED",
    "SHORT",
    "STORES",
    "THREADING_ACTORS",
]

SESSIOND, REDIS_LUA, REDIS_PLAIN = "sessiond", "redis-lua", "redis-plain"
PLAIN_DICT, THREADING_ACTORS, ECHO = "plain-dict", "threading-actors", "echo"
SESSIOND_COMMIT, SESSIOND_RELAXED = "sessiond-commit", "sessiond-relaxed"
REDIS_EVERYSEC, REDIS_ALWAYS = "redis-everysec", "redis-always"
PEERS = {
    SESSIOND: "sessiond",
    REDIS_LUA: "Redis, a Lua script per operation",
    REDIS_PLAIN: "Redis, plain pipelined commands",
    PLAIN_DICT: "dicts behind asyncio streams",
    THREADING_ACTORS: "a stock ThreadingActor per session",
    ECHO: "bare echo server (uvloop)",
    SESSIOND_COMMIT: "sessiond, SQLite, `commit`",
    SESSIOND_RELAXED: "sessiond, SQLite, `relaxed`",
    REDIS_EVERYSEC: "Redis Lua, AOF `everysec`",
    REDIS_ALWAYS: "Redis Lua, AOF `always`",
}
"""Servers."""
IN_MEMORY = {
    SESSIOND_COMMIT: SESSIOND,
    SESSIOND_RELAXED: SESSIOND,
    REDIS_EVERYSEC: REDIS_LUA,
    REDIS_ALWAYS: REDIS_LUA,
}
"""Those that have a store, with the same server without one."""
SHORT = {REDIS_LUA: "Redis Lua", REDIS_PLAIN: "Redis plain", ECHO: "echo", THREADING_ACTORS: "threads"} | {
    SESSIOND: "sessiond",
    REDIS_EVERYSEC: "AOF everysec",
    REDIS_ALWAYS: "AOF always",
}
"""Those that others are compared with, in the head of a column."""
STORES = PEERS | {REDIS_LUA: "Redis"}
"""Servers as they hold sessions; how one speaks to Redis does not matter to that."""

ASYNC_CLIENT, REDIS_PY_ASYNCIO, CLIENT, REDIS_PY = "async-client", "redis-py-asyncio", "client", "redis-py"
CLIENTS = {
    ASYNC_CLIENT: "`sessiond.AsyncClient`",
    REDIS_PY_ASYNCIO: "`redis.asyncio.Redis`",
    CLIENT: "`sessiond.Client`, threads",
    REDIS_PY: "`redis.Redis`, threads",
}
"""Client libraries."""
RIVALS = {ASYNC_CLIENT: REDIS_PY_ASYNCIO, CLIENT: REDIS_PY}
"""Those of sessiond with those that they are compared with."""
