"""What the measurements were made on: so that somebody else can tell how far theirs may differ."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks.results import Machine

__all__ = ["described"]

OF_SERVERS = ("sessiond", "msgspec", "msgpack", "pykka", "uvloop")
OPTIMIZATIONS = ("--enable-optimizations", "--with-lto")
"""Options of Python's configure."""

PROBE = """
import importlib.metadata, json, platform, sys, sysconfig
print(json.dumps({
    "python": f"{platform.python_implementation()} {platform.python_version()}",
    "arguments": sysconfig.get_config_var("CONFIG_ARGS") or "",
    "compiler": platform.python_compiler(),
    "versions": {name: importlib.metadata.version(name) for name in sys.argv[1:]},
}))
"""


def described(python: str, redis_server: str) -> Machine:
    """This machine, the servers' interpreter ``python``, and the versions of what takes part."""
    probe = json.loads(_output(python, "-c", PROBE, *OF_SERVERS))
    # A distribution may optimize by other means than these, as Debian does, so their absence proves nothing.
    chosen = [option for option in OPTIMIZATIONS if option in probe["arguments"]]
    return Machine(
        cpu=_first_match(r"^model name\s*: (.+)$", "/proc/cpuinfo") or platform.machine(),
        cores=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=probe["python"],
        python_build=f"{probe['compiler']}, configured with {' '.join(chosen) or 'no option that optimizes'}",
        versions={
            **probe["versions"],
            "Redis": _redis_version(redis_server),
            "redis-py": importlib.metadata.version("redis"),
            "hiredis": importlib.metadata.version("hiredis"),
        },
    )


def _redis_version(redis_server: str) -> str:
    found = re.search(r"\bv=([0-9.]+)", _output(redis_server, "--version"))
    return found[1] if found else "unknown"


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def _first_match(pattern: str, path: str) -> str | None:
    found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else None
