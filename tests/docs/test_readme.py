"""README.md: what it shows works when it is pasted. All pages: their links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from pages import ROOT, blocks, page, section

import sessiond

README = page("README.md")
PAGES = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))


def test_it_quotes_what_the_service_says_when_it_listens(service):
    (serve, _) = blocks(section(README, "## Try it"), "sh")
    said = re.search(r"sessiond listening on .*", serve).group()
    assert re.sub(r":[0-9]+", ":N", said) == re.sub(r":[0-9]+", ":N", service.line).strip()


@pytest.mark.needs("curl")
def test_the_screenful_to_try_works_as_pasted(service):
    (_, script) = blocks(section(README, "## Try it"), "sh")
    assert script.startswith("alias sessiond=.venv/bin/sessiond\n")
    script = script.removeprefix("alias sessiond=.venv/bin/sessiond\n").replace(":9600", f":{service.metrics_port}")
    said = service.shell(script)
    assert '"version": 2' in said
    assert '"state": "active"' in said
    assert '"talk_duration"' in said
    assert 'sessiond_sessions_ended_total{reason="normal",type="sip"} 1.0' in said


def test_the_client_of_a_gateway_works(service, capsys):
    (client,) = blocks(section(README, "## From a gateway"), "python")
    run(client.replace("7600", str(service.port)))
    assert float(capsys.readouterr().out) >= 0


def test_the_watch_works(service, capsys):
    (watch,) = blocks(section(README, "## Watching"), "python")
    there = """sessiond call create_session '{"type": "sip", "gateway": "gw-1", "external_id": "a"}'"""
    service.shell(there)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(run, watch.replace("7600", str(service.port)))
        while "sessiond_watchers 1.0" not in metrics_of(service) and not watching.done():
            pass
        service.shell("""sessiond call end_session '{"gateway": "gw-1", "external_id": "a"}' busy""")
        watching.result(20)
    assert capsys.readouterr().out == "busy 0.0\n"


def metrics_of(service):
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=20) as answer:
        return answer.read().decode()


class TestKeepingSessions:
    @pytest.fixture
    def configuration(self, tmp_path):
        """The example, with its files in a folder of the test."""
        (example,) = blocks(section(README, "## Keeping sessions"), "toml")
        return example.replace("/var/lib/sessiond", str(tmp_path))

    def test_a_call_leaves_a_record_and_the_store_a_backup(self, service, tmp_path):
        create = """sessiond call create_session '{"type": "sip", "gateway": "gw-1", "external_id": "a"}'\n"""
        service.shell(create + """sessiond call end_session '{"gateway": "gw-1", "external_id": "a"}' busy""")
        (script,) = blocks(section(README, "## Keeping sessions"), "sh")
        script = script.replace("/backup", str(tmp_path / "backup"))
        (tmp_path / "backup").mkdir()
        said = service.shell(f"cd {tmp_path}\n{script}")
        assert "busy" in said
        assert (tmp_path / "backup" / "sessiond.db").exists()
        assert len((tmp_path / "calls.csv").read_text().splitlines()) == 2

    def test_a_session_is_there_again_after_the_process_was_killed(self, configuration, start):
        first = start(configuration)
        created = first.shell("""sessiond call create_session '{"type": "sip"}'""")
        first.kill()
        again = start(configuration)
        assert '"version": 1' in again.shell(f"sessiond call get_session {json.loads(created)['id']}")


@pytest.mark.needs("nvim")
def test_a_stranger_gets_in(service, tmp_path):
    text = section(README, "## From a gateway")
    (lua,) = blocks(text, "lua")
    (tmp_path / "stranger.lua").write_text(lua.replace("7600", str(service.port)))
    (nvim,) = re.findall(r"`(nvim .*)`", text)
    done = subprocess.run(shlex.split(nvim), cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"[0-9a-f-]{36}", done.stdout + done.stderr)


def test_it_can_be_embedded():
    (embedded,) = blocks(section(README, "## In process"), "python")
    run(embedded)


def test_an_embedded_one_can_be_configured():
    (configured,) = re.findall(r"`(sessiond\.start\(.*?\))`", section(README, "## In process"))
    registry = eval(configured, {"sessiond": sessiond})
    try:
        assert registry.proxy().server_info().get()["limits"]["idle_timeout"] == 600
    finally:
        sessiond.stop(registry)


def run(snippet):
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / name).parent / path if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_the_modules_that_are_named_are_there(name):
    for module in re.findall(r"`((?:[\w]+/)*\w+\.py)`", page(name)):
        assert [*ROOT.glob(module), *ROOT.glob(f"*/{module}"), *ROOT.glob(f"src/sessiond/{module}")], module


@pytest.mark.parametrize("room", ["actors", "transport", "metrics", "stores", "records"])
def test_the_architecture_names_every_file(room):
    """A file that is in none of its tables is one that nobody finds."""
    named = set(re.findall(r"`(?:\w+/)?(\w+\.py)`", page("ARCHITECTURE.md")))
    assert {path.name for path in (ROOT / room).glob("*.py")} - named <= {"__init__.py"}
