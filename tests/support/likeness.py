"""What a page of the documentation says is answered, beside what is."""

from __future__ import annotations

import json
import re

import msgpack
from pages import blocks

__all__ = ["Likeness", "play"]


class Likeness:
    """Compares what a page says with what is answered: all but moments, and names that the service gives, is equal."""

    given = frozenset({"id", "ids", "cursor", "instance", "sync", "missing"})

    def __init__(self, given=()):
        self.given = self.given | {*given}
        self._names = {}

    def actual(self, said):
        """``said`` with the names that the service gave in place of those on the page."""
        if isinstance(said, list):
            return [self.actual(each) for each in said]
        if isinstance(said, dict):
            return {key: self.actual(value) for key, value in said.items()}
        return self._names.get(said, said)

    def agree(self, said, answered, key=None):
        assert type(said) is type(answered), (key, said, answered)
        if isinstance(said, dict):
            names = said.keys() - {"..."}
            assert names == answered.keys() if names == said.keys() else names < answered.keys()
            for name in names:
                self.agree(said[name], answered[name], name)
        elif isinstance(said, list):
            assert len(said) == len(answered), (said, answered)
            for one, other in zip(said, answered, strict=True):
                self.agree(one, other, key)
        elif key in self.given and said is not None:
            assert self._names.setdefault(said, answered) == answered
        elif not isinstance(said, float) and not (key == "version" and isinstance(said, str)):
            assert said == answered, key


def play(page, connection, given=()):
    """Send what the examples of ``page`` send; what comes must be what they say. The methods that were called.

    ``given`` are further keys whose values the service gives.
    """
    examples = [
        (arrow, json.loads(message))
        for block in blocks(page, "rpc")
        for arrow, message in re.findall(r"([→←]) (.*?)(?=\n[→←]|\Z)", block, re.DOTALL)
    ]
    likeness = Likeness(given)
    messages = received(connection)
    for arrow, message in examples:
        if arrow == "←":
            likeness.agree(message, next(messages))
        else:
            connection.sendall(msgpack.packb(likeness.actual(message)))
    return {message[2] for arrow, message in examples if arrow == "→" and message[0] == 0}


def received(connection):
    """The messages of the service as they come, answers and notifications."""
    unpacker = msgpack.Unpacker()
    while data := connection.recv(65_536):
        unpacker.feed(data)
        yield from unpacker
