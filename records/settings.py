"""What of the configuration concerns the records of calls."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from sessiond.actors.params import Seconds

__all__ = ["FileSink", "RecordSettings", "SinkSettings", "WebhookSink"]

REFERENCE = r"(env:[^=\x00]+|file:[^\x00]+)"
"""Where a secret is: the configuration itself never holds one, so whoever shows it shows none."""

Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z",
        description="What metrics and the log call it. Its place among the records is kept under this name.",
        extra={"expected": "up to 63 of a-z, 0-9, _ and -, the first a letter or a digit"},
    ),
]
FilePath: TypeAlias = Annotated[str, Meta(pattern=r"\A([^\x00]*/)?[^/\x00]+\Z")]
PATH = {"expected": "the path of a file"}
Bytes: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 40)]


class RecordSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long the records of calls are kept, where there is a store that keeps them."""

    keep: Annotated[
        Seconds,
        Meta(
            description="A record is deleted so long after the end of its call, but not before every sink has had it; "
            "0 is never."
        ),
    ] = 604_800.0


class FileSink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="file"):
    """Records go to a file, each as a line of JSON."""

    name: Name
    path: Annotated[
        FilePath,
        Meta(description="The file. Its directory must be there, and writable.", extra=PATH),
    ]
    rotate_bytes: Annotated[
        Bytes,
        Meta(description="A file that would become larger is renamed, and a new one begun; 0 is never."),
    ] = 100 << 20
    rotate_seconds: Annotated[
        Seconds,
        Meta(
            description="Likewise the first time that something is written in another interval of so long, counted "
            "from 1970: 86400 begins a file for each day in UTC. 0 is never."
        ),
    ] = 0.0
    keep_files: Annotated[
        int,
        Meta(
            ge=0, le=1_000_000, description="As many renamed files are kept, the oldest are deleted; 0 keeps them all."
        ),
    ] = 0


class WebhookSink(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="webhook"
):
    """Records are sent by HTTP, several in a request."""

    name: Name
    url: Annotated[
        str,
        Meta(
            pattern=r"\Ahttps?://[A-Za-z0-9._~:\[\]-]+([/?][\x21-\x22\x24-\x7e]*)?\Z",
            description="Where to POST them. The certificate of an https server is verified, redirects are not "
            "followed.",
            extra={"expected": "http://HOST[:PORT]/PATH or https://..., without user and password", "private": True},
        ),
    ]
    dead_letters: Annotated[
        FilePath,
        Meta(
            description="A file that gets, a line each, the records that were refused or could not be delivered in "
            "time, with the reason. Its directory must be there, and writable.",
            extra=PATH,
        ),
    ]
    batch: Annotated[int, Meta(ge=1, le=1000, description="Records in a request at most.")] = 100
    timeout: Annotated[
        float,
        Meta(gt=0, le=60, description="A request that is not answered in this time has failed."),
    ] = 10.0
    give_up_after: Annotated[
        Seconds,
        Meta(
            description="Once requests have failed for so long, records that have waited for so long become dead "
            "letters; 0 is never."
        ),
    ] = 86_400.0
    secret: Annotated[
        Annotated[str, Meta(pattern=rf"\A{REFERENCE}\Z")] | None,
        Meta(
            description="Where the secret is by which requests are signed; without one they are not.",
            extra={"expected": "env:VARIABLE or file:PATH", "private": True},
        ),
    ] = None
    headers: Annotated[
        dict[
            Annotated[str, Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")],
            Annotated[str, Meta(pattern=r"\A[\x20-\x7e]*\Z")],
        ],
        Meta(
            description="More headers of each request. A value env:VARIABLE or file:PATH is read from there.",
            extra={"expected": "names with values of printable ASCII", "private": True},
        ),
    ] = {}
    ca_file: Annotated[
        FilePath | None,
        Meta(
            description="A file of the certificates to verify the server by, in place of the system's.",
            extra=PATH,
        ),
    ] = None


SinkSettings: TypeAlias = FileSink | WebhookSink
