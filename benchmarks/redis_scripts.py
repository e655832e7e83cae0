"""The operations on sessions as Lua scripts, each atomic: what somebody would write who keeps sessions in Redis.

A session is a hash of ten fields and a field for each metadata key, which expires when nothing is heard of it. Its id
is in two sets, one by state and one by gateway, for whoever looks for sessions.
"""

from __future__ import annotations

import hashlib

__all__ = ["ANNOTATE", "CREATE", "END", "IDLE_TIMEOUT", "MOVE", "SCRIPTS", "digest"]

IDLE_TIMEOUT = 3600
"""Seconds, as in the workload."""

CREATE = """\
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
return 1
"""
"""KEYS: the hash, the set of the state, the set of the gateway. ARGV: the id, the timeout, fields and values."""

MOVE = """\
local old = redis.call('HGET', KEYS[1], 'state')
if not old then return redis.error_reply('-NOTFOUND no such session') end
redis.call('SMOVE', 'ix:state:' .. old, 'ix:state:' .. ARGV[2], ARGV[1])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'updated_at', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""
"""KEYS: the hash. ARGV: the id, the new state, the time, the timeout."""

ANNOTATE = """\
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('-NOTFOUND no such session') end
redis.call('HSET', KEYS[1], 'updated_at', unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""
"""KEYS: the hash. ARGV: the timeout, the time, metadata fields and values."""

END = """\
local old = redis.call('HMGET', KEYS[1], 'state', 'gateway')
if not old[1] then return redis.error_reply('-NOTFOUND no such session') end
redis.call('SREM', 'ix:state:' .. old[1], ARGV[1])
redis.call('SREM', 'ix:gateway:' .. old[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""
"""KEYS: the hash. ARGV: the id."""

SCRIPTS = (CREATE, MOVE, ANNOTATE, END)


def digest(script: str) -> str:
    """The name by which Redis calls a script that it has loaded."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
