"""What of the configuration concerns the front end."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

__all__ = ["Limits"]

Connections: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Requests: TypeAlias = Annotated[int, Meta(ge=1, le=65_536)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1024, le=1 << 30)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one client may take of the service."""

    max_connections: Annotated[
        Connections,
        Meta(
            description="More are closed as they come. Each costs a descriptor, and up to a frame and a write buffer "
            "of memory."
        ),
    ] = 4096
    max_in_flight: Annotated[
        Requests,
        Meta(
            description="Requests of a connection whose answers are pending; at so many it is read no further. These "
            "are long lists and counts, each of which may hold an answer of some 100 KiB."
        ),
    ] = 16
    write_buffer: Annotated[
        Bytes,
        Meta(description="Answers that wait for a client to read them; at so many bytes it is read no further."),
    ] = 1 << 20
    write_timeout: Annotated[
        Seconds, Meta(description="A client that does not read its answers for so long is given up.")
    ] = 30.0
    frame_timeout: Annotated[
        Seconds, Meta(description="A frame that has begun must be whole in this time; it fits into a few packets.")
    ] = 3.0
    drain_timeout: Annotated[
        Seconds,
        Meta(
            description="How long a stop waits for answers to be read; well within the 30 s after which supervisors "
            "kill."
        ),
    ] = 10.0
