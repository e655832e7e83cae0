"""What of the configuration concerns the store."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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
    interval: Annotated[
        float,
        Meta(gt=0, le=60, description="With relaxed durability changes are put on the disk once in so many seconds."),
    ] = 0.1
