"""The blocking client in a process that was forked off."""

from __future__ import annotations

import subprocess
import sys

import pytest
from serving import serving

FORK = """
import os, sys, threading
from sessiond import Client

client = Client(port=int(sys.argv[1]), timeout=20)
sessions = [client.create_session(type="sip").id for _ in range(3)]
line = client._line
if sys.argv[2] == "busy":  # another thread is in the middle of everything, and stays there for ever in the child
    for lock in (line._sending, line._writing, line._connecting, line._link._lock):
        lock.acquire()
child = os.fork()
if child == 0:
    descriptor = line._link._socket.fileno()
    assert [client.get_session(each).id for each in sessions] == sessions
    assert client._line is not line and line._link._socket.fileno() == -1 != descriptor
    client.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if sys.argv[2] == "busy":
    for lock in (line._sending, line._writing, line._connecting, line._link._lock):
        lock.release()
assert client.ping() == "pong" and client._line is line and line._link.lost is None
client.close()
"""


@pytest.fixture(scope="module")
def service():
    with serving() as served:
        yield served


@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_a_forked_process_gets_a_connection_of_its_own(service, parent):
    """And the parent's goes on undisturbed."""
    subprocess.run([sys.executable, "-c", FORK, str(service.port), parent], check=True, timeout=60)
