"""What of the configuration concerns the store."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sessiond.actors.params import Seconds
from sessiond.actors.settings import Residing

__all__ = ["StoreSettings"]


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept of sessions when the process is gone."""

    kind: Annotated[
        Literal["memory", "sqlite"],
        Meta(description="memory keeps nothing beyond the process; sqlite keeps sessions and call records in a file."),
    ] = "memory"
    path: Annotated[
        str,
        Meta(description="The file of the sqlite store; others stand beside it, so it needs a folder on a local disk."),
    ] = "sessiond.db"
    durability: Annotated[
        Literal["commit", "relaxed"],
        Meta(
            description="commit answers once a change is on the disk; relaxed answers at once, and a crash may cost "
            "what changed within the interval."
        ),
    ] = "commit"
    quiet: Annotated[
        Seconds,
        Meta(
            description="A session of which nothing has been heard for so long leaves memory until it is needed; 0 is "
            "never."
        ),
    ] = Residing().quiet
    residents: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Sessions in memory at most, some 1.5 KB each; of more the quietest leave.",
        ),
    ] = Residing().residents
    interval: Annotated[
        float,
        Meta(gt=0, le=60, description="With relaxed durability changes are put on the disk once in so many seconds."),
    ] = 0.1
