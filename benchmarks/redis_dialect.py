"""The workload in the protocol of Redis, once as Lua scripts and once as plain commands.

Like the dialect of sessiond it encodes everything before the first request, and leaves gaps. Texts that differ between
calls have one length each, so even the lengths can stay.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping

from benchmarks.redis_scripts import ANNOTATE, CREATE, END, IDLE_TIMEOUT, MOVE, digest
from sessiond.bench.dialect import UnreadableError
from sessiond.bench.workload import CHANGED_METADATA, Call, Step

__all__ = ["LuaScripts", "PlainCommands"]

NOW = b"1767225600.123"
"""The gateway's clock. Its value does not matter, its length does."""
TIMEOUT = b"%d" % IDLE_TIMEOUT
NOTHING_FOUND = "not_found"
SUCCESS = frozenset(b":+")
ONE_LINE = frozenset(b":+-")
"""What replies of one line begin with: integers, statuses and errors. The others are arrays of texts without ends of
line, two lines for each text; the workload has no further ones."""

_numbers = itertools.count()
"""No two sessions of this process get the same id, whatever connection creates them."""


# Requests: templates for the operator %

ID = b"%(id)b"
KEY = b"s:" + ID
OF_GATEWAY = b"ix:gateway:%(gateway)b"


def _begun(call: Call) -> dict[bytes, bytes]:
    """What is the call's own. In Redis it is the client that gives the id, which happens here."""
    call.session_id = b"00000000-0000-4000-8000-%012x" % next(_numbers)  # as long as those of sessiond
    return {
        b"id": call.session_id,
        b"gateway": call.gateway,
        b"external_id": call.external_id,
        b"caller": call.caller,
        b"callee": call.callee,
        b"account": call.account,
    }


_EXAMPLE = Call(0)
_LENGTHS_AS_IN = _begun(_EXAMPLE)


def _command(*words: bytes) -> bytes:
    """A command; its words may be templates, whose lengths are those that they have in the example."""
    lengths = (len(word % _LENGTHS_AS_IN) for word in words)
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (length, word) for length, word in zip(lengths, words, strict=True)
    )


def _script(script: str, keys: tuple[bytes, ...], *arguments: bytes) -> bytes:
    return _command(b"EVALSHA", digest(script).encode(), b"%d" % len(keys), *keys, *arguments)


def _state(name: bytes) -> bytes:
    return b"ix:state:" + name


_METADATA = {
    name: b"%(account)b" if name == "account" else value.encode()
    for name, value in _EXAMPLE.fields()["metadata"].items()
}
_FIELDS = (
    *(b"type", b"sip", b"state", b"initializing", b"gateway", b"%(gateway)b", b"external_id", b"%(external_id)b"),
    *(b"caller", b"%(caller)b", b"callee", b"%(callee)b", b"direction", b"inbound"),
    *(b"created_at", NOW, b"updated_at", NOW, b"version", b"1"),
    *itertools.chain.from_iterable((b"m:" + name.encode(), value) for name, value in _METADATA.items()),
)
"""Ten fields and four of metadata, with their values."""
_CHANGED = tuple(
    itertools.chain.from_iterable((b"m:" + name.encode(), value.encode()) for name, value in CHANGED_METADATA.items())
)

_COUNTED = _command(b"HINCRBY", KEY, b"version", b"1") + _command(b"EXPIRE", KEY, TIMEOUT)
_GET = _command(b"HGETALL", KEY)
_TOUCH = _command(b"EXPIRE", KEY, TIMEOUT)


def _moves(old: bytes, new: bytes) -> bytes:
    """The plain commands that change a state."""
    moved = _command(b"SMOVE", _state(old), _state(new), ID)
    return moved + _command(b"HSET", KEY, b"state", new, b"updated_at", NOW) + _COUNTED


def _around_id(templates: Mapping[Step, bytes]) -> dict[Step, tuple[bytes, ...]]:
    """Templates in which nothing but the id is open, as the pieces that it joins: quicker than the operator %."""
    return {step: tuple(template.split(ID)) for step, template in templates.items()}


# Replies


class _Resp:
    """One connection. Redis answers in the order of the requests, so who is meant is remembered here."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int]] = deque()
        """For each request under way its slot and the number of replies to its commands."""
        self._missing = 0
        """Replies that are missing of the first of these, if it has some already."""
        self._error: str | None = None
        """What was wrong with these."""
        self._rest = b""

    def decode(self, data: bytes) -> Iterable[tuple[int, str | None]]:
        """See ``Dialect``."""
        lines = (self._rest + data).split(b"\r\n")
        last = len(lines) - 1  # what follows the last end of line, a line that is not whole
        waiting = self._waiting
        missing = self._missing
        at = 0
        while at < last:
            line = lines[at]
            end = at + 1
            if line[0] not in ONE_LINE:
                end += 2 * _count(line)
                if end > last:
                    break
            if line[0] not in SUCCESS:
                self._error = self._error or _code(line)
            at = end
            missing = (missing or waiting[0][1]) - 1
            if not missing:
                error, self._error = self._error, None
                yield waiting.popleft()[0], error
        self._missing = missing
        self._rest = b"\r\n".join(lines[at:])


def _count(line: bytes) -> int:
    """The texts in the array that begins with ``line``."""
    if line[:1] != b"*":
        raise UnreadableError(f"it begins with {line[:16]!r}")
    return int(line[1:])


def _code(line: bytes) -> str | None:
    """What is wrong with the reply that begins with ``line``, an error or an array; None if nothing is."""
    if line[:1] == b"-":
        return line[1:].split(b" ")[0].decode()
    return None if _count(line) else NOTHING_FOUND


class LuaScripts(_Resp):
    """Each operation is one script, and so atomic; a state change finds out the old state itself."""

    _CREATE = _script(CREATE, (KEY, _state(b"initializing"), OF_GATEWAY), ID, TIMEOUT, *_FIELDS)
    _FRAMES = _around_id(
        {
            Step.RINGING: _script(MOVE, (KEY,), ID, b"ringing", NOW, TIMEOUT),
            Step.ACTIVE: _script(MOVE, (KEY,), ID, b"active", NOW, TIMEOUT),
            Step.METADATA: _script(ANNOTATE, (KEY,), TIMEOUT, NOW, *_CHANGED),
            Step.GET: _GET,
            Step.END: _script(END, (KEY,), ID),
            Step.TOUCH: _TOUCH,
        }
    )

    def encode(self, slot: int, step: Step, call: Call) -> bytes:
        """See ``Dialect``."""
        self._waiting.append((slot, 1))
        if step is Step.CREATE:
            return self._CREATE % _begun(call)
        return call.session_id.join(self._FRAMES[step])


_REPLIES = {
    Step.CREATE: 4,
    Step.RINGING: 4,
    Step.ACTIVE: 4,
    Step.METADATA: 3,
    Step.GET: 1,
    Step.END: 3,
    Step.TOUCH: 1,
}
"""To the plain commands of each step."""


class PlainCommands(_Resp):
    """Each operation is a few commands in one write, and nothing keeps them together.

    Another client may see, or change, what is between two of them; and the old state of a session is what this client
    believes that it is. That the session exists it believes as well.
    """

    _CREATE = (
        _command(b"HSET", KEY, *_FIELDS)
        + _command(b"EXPIRE", KEY, TIMEOUT)
        + _command(b"SADD", _state(b"initializing"), ID)
        + _command(b"SADD", OF_GATEWAY, ID)
    )
    _END = _command(b"SREM", _state(b"active"), ID) + _command(b"SREM", OF_GATEWAY, ID) + _command(b"DEL", KEY)
    _FRAMES = _around_id(
        {
            Step.RINGING: _moves(b"initializing", b"ringing"),
            Step.ACTIVE: _moves(b"ringing", b"active"),
            Step.METADATA: _command(b"HSET", KEY, b"updated_at", NOW, *_CHANGED) + _COUNTED,
            Step.GET: _GET,
            Step.TOUCH: _TOUCH,
        }
    )
    _ACTIVE_AT_ONCE = tuple(_moves(b"initializing", b"active").split(ID))

    def __init__(self) -> None:
        super().__init__()
        self._new: set[int] = set()
        """The slots whose call has just been created."""

    def encode(self, slot: int, step: Step, call: Call) -> bytes:
        """See ``Dialect``."""
        self._waiting.append((slot, _REPLIES[step]))
        if step is Step.CREATE:
            self._new.add(slot)
            return self._CREATE % _begun(call)
        if step is Step.END:
            return self._END % {b"id": call.session_id, b"gateway": call.gateway}
        frame = self._FRAMES[step]
        if slot in self._new:
            self._new.remove(slot)
            if step is Step.ACTIVE:
                frame = self._ACTIVE_AT_ONCE
        return call.session_id.join(frame)
