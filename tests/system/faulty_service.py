"""``sessiond serve`` with sessions that crash whenever they are touched. Takes its arguments too."""

from __future__ import annotations

import functools
import sys

from sessiond import cli, serve
from sessiond.actors.session import SessionActor


class Faulty(SessionActor):
    """Crashes at every touch; with ``stillborn`` for a type it does not even begin."""

    def __init__(self, context, seq, record, *rest):
        if record.type == "stillborn":
            raise RuntimeError("stillborn")
        super().__init__(context, seq, record, *rest)

    def touch(self):
        local = self.record
        raise RuntimeError(f"touched {local.id}")


serve.Service = functools.partial(serve.Service, session_class=Faulty)
sys.exit(cli.main(["serve", *sys.argv[1:]]))
