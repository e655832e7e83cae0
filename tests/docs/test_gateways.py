"""docs/gateways.md: what it shows works, and what it says of the code is so."""

from __future__ import annotations

import re

import pytest
from pages import blocks, page, section
from serving import serving

from sessiond import Client, Reporter
from sessiond.transport import async_commands, client_breaker, gateway, registration
from sessiond.transport.codec import MAX_ARRAY

GATEWAYS = page("docs/gateways.md")


@pytest.mark.parametrize("first", ["the report", "the sync"])
def test_its_gateway_works(first, monkeypatch):
    """The service knows the gateway, and its call from ring to end, whoever tells it of the call first."""
    (snippet,) = blocks(section(GATEWAYS, "## A gateway"), "python")
    names = {"__name__": "__main__"}
    if first == "the sync":
        create = Reporter.create_session

        def create_late(reporter, **fields):
            names["gateway"].sync_soon()
            names["gateway"].synced(20)
            create(reporter, **fields)

        monkeypatch.setattr(Reporter, "create_session", create_late)
    with serving() as served, Client(port=served.port) as client:
        exec(compile(snippet.replace("7600", str(served.port)), "gateways.md", "exec"), names)
        (session,) = client.sessions(ended=True)
        (gateway,) = client.list_gateways().gateways
        entries = client.get_session_history(session.id).entries
    assert (names["reporter"].refused, names["reporter"].dropped) == (0, 0)
    assert (session.gateway, session.end_reason, session.ended_by) == ("gw-1", "normal", "caller")
    assert [each.change for each in entries] == ["created", "state", "ended"]
    assert {each.author.gateway for each in entries} == {gateway.name} == {"gw-1"}


def test_its_reporter_works(service, capsys):
    (snippet,) = blocks(section(GATEWAYS, "## A worker's reports"), "python")
    exec(compile(snippet.replace("7600", str(service.port)), "gateways.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "0 0 0\n"


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        (r"parts of (\d+)", MAX_ARRAY),
        (r"At most (\d+) are carried out at once", async_commands.MAX_COMMANDS),
        (r"(\d+) by a `Gateway` of threads", gateway.THREADS),
        (r"\(([\d.]+) s later, doubled", registration.FIRST_PAUSE),
        (r"later, doubled to (\d+) s\)", registration.MAX_PAUSE),
        (r"After a pause \(([\d.]+) s", client_breaker.FIRST_PAUSE),
        (r"After a pause \([\d.]+ s, doubled to (\d+) s\)", client_breaker.MAX_PAUSE),
    ],
)
def test_its_figures_are_the_code_s(said, holds):
    (figure,) = re.findall(said, GATEWAYS)
    assert float(figure) == holds


def test_it_draws_what_happens():
    """A diagram for each thing that can go wrong, and for a command."""
    assert len(blocks(GATEWAYS, "mermaid")) == 5
