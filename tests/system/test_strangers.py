"""Clients that nobody wrote for this service follow a call through it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
GATEWAYS = HERE / "strangers"
PATIENCE = 60
"""Seconds after which the test has failed; a stranger needs one."""


@pytest.fixture
def followed(serve):
    """What a stranger's program saw, as it printed it."""

    def run(*command, **environ):
        service = serve()
        done = subprocess.run(
            command,
            env=os.environ | environ | {"PORT": str(service.port)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def node_modules():
    """Where the packages of tests/system/npm are installed: outside of what is tracked, once for each lock file."""
    lock = HERE / "npm" / "package-lock.json"
    folder = ROOT / ".cache" / "npm" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not (folder / "installed").exists():
        shutil.copytree(HERE / "npm", folder, dirs_exist_ok=True)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm ci failed: {done.stderr}")
        (folder / "installed").touch()
    return folder / "node_modules"


def check(seen):
    """Every stranger sees the same, but for how it shows an error."""
    session = seen["session"]
    assert seen["created"] == {"id": session["id"], "version": 1, "state": "ringing", "created": True}
    assert seen["stale"] == {"version": 2, "stale": True}
    assert seen["changed"] == {"version": 3}
    assert (session["state"], session["caller"], session["callee"]) == ("active", "+15550100", None)
    assert session["metadata"] == {"attempt": 1, "Zoë": True}
    assert seen["pongs"] == 100
    assert seen["listed"] == {"sessions": [{"id": session["id"], "state": "active"}], "cursor": None}
    assert set(seen["ended"]) == {"version", "ended_at", "duration", "talk_duration"}
    assert seen["ended"]["version"] == 4
    assert seen["left"] == {"count": 0}


@pytest.mark.needs("nvim")
def test_neovim_follows_a_call(followed):
    """It shows the text of an error only where there is nothing else, and ours has details too."""
    seen = followed("nvim", "--clean", "--headless", "-S", str(GATEWAYS / "gateway.lua"), "+qa!")
    check(seen)
    assert seen["failed"]


def test_pynvim_follows_a_call(followed):
    seen = followed(sys.executable, str(GATEWAYS / "gateway_pynvim.py"))
    check(seen)
    assert seen["error"] == "A session that is active cannot become initializing"


@pytest.mark.needs("node", "npm")
def test_npm_follows_a_call(followed, node_modules):
    seen = followed("node", str(GATEWAYS / "gateway.cjs"), NODE_PATH=str(node_modules))
    check(seen)
    details = {"code": "invalid_transition", "state": "active", "wanted": "initializing"}
    assert json.loads(seen["error"]) == [1, "A session that is active cannot become initializing", details]
