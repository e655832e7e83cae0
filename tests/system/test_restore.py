"""A backup of a running service is what comes back when it is put in the store's place, as docs/durability.md says."""

from __future__ import annotations

import json
import subprocess
import sys

from pages import blocks, page, section
from polling import eventually
from processes import SERVE, process
from wire import peer

from sessiond import Gateway


def sessiond(*arguments):
    done = subprocess.run([sys.executable, "-m", "sessiond", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def restoring(folder):
    """What docs/durability.md has somebody do, in ``folder``, while the service is stopped."""
    (commands,) = blocks(section(page("docs/durability.md"), "## Restore"), "sh")
    lines = [line for line in commands.splitlines() if not line.startswith("systemctl")]
    assert len(lines) == len(commands.splitlines()) - 2
    commands = "\n".join(lines).replace("/var/lib/sessiond", str(folder)).replace("/backup/sessiond.db", "backup.db")
    return commands.replace("sessiond check", f"{sys.executable} -m sessiond check")


def test_a_backup_of_a_running_service_comes_back(tmp_path):
    path, copy = tmp_path / "sessiond.db", tmp_path / "backup.db"
    serving = (tmp_path / "service.log", *SERVE, "--store-kind", "sqlite", "--store-path", str(path))
    with process(*serving) as service, peer(service.port) as gateway:
        up = gateway.call("create_session", {"type": "sip", "state": "active", "metadata": {"trunk": 7}})["id"]
        over = gateway.call("create_session", {"type": "sip"})["id"]
        gateway.call("end_session", over, "busy")
        before = gateway.call("get_session", up), gateway.call("get_session_history", up)
        assert "live sessions                    1" in sessiond("backup", "--store", str(path), str(copy))
        gateway.call("update_session_metadata", up, {"trunk": 8})
        gateway.call("create_session", {"type": "sip"})
        service.popen.kill()
    path.write_bytes(b"rubbish" * 1000)

    subprocess.run(["sh", "-e", "-c", restoring(tmp_path)], check=True)
    assert f"{path} is whole" in sessiond("check", str(path))
    with process(*serving) as service, peer(service.port) as gateway:
        assert gateway.call("count_sessions")["count"] == 1
        assert (gateway.call("get_session", up), gateway.call("get_session_history", up)) == before
        assert gateway.call("get_record", over)["end_reason"] == "busy"
        assert gateway.call("update_session_metadata", up, {"trunk": 9}) == {"version": 2}
        assert f"{path} is whole" in sessiond("check", str(path))


def test_a_call_that_ended_since_the_backup_is_told_to_sinks_twice_and_first_as_it_was(tmp_path):
    path, copy, lines = tmp_path / "sessiond.db", tmp_path / "backup.db", tmp_path / "records.jsonl"
    config = tmp_path / "sessiond.toml"
    config.write_text(
        f'[store]\nkind = "sqlite"\npath = "{path}"\n[[sink]]\nname = "billing"\nkind = "file"\npath = "{lines}"\n'
    )
    serving = (tmp_path / "service.log", *SERVE, "--config", str(config))

    def delivered(count):
        def told():
            records = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
            return records if len(records) == count else []

        return eventually(told, f"the sink has {count} records")

    calls = []
    with process(*serving) as service:
        with Gateway("gw-1", port=service.port, epoch="e1", sessions=lambda: calls) as gateway:
            gateway.synced(30)
            calls.append({"type": "sip", "external_id": "a", "state": "active"})
            created = gateway.client.create_session(**calls[0])
            sessiond("backup", "--config", str(config), str(copy))
            gateway.client.end_session(created.id, "normal", ended_by="caller")
            calls.clear()
        delivered(1)
        service.popen.kill()
    subprocess.run(["sh", "-e", "-c", restoring(tmp_path)], check=True)
    with process(*serving) as service, Gateway("gw-1", port=service.port, epoch="e1", sessions=list) as gateway:
        first, second = delivered(2)
        assert gateway.client.get_record(created.id).end_reason == "failed"
    assert first["id"] == second["id"] == created.id
    assert [each["end_reason"] for each in (first, second)] == ["normal", "failed"]
    assert first["talk_duration"] < second["talk_duration"]
