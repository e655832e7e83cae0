"""docs/gateways.md: what it shows works, and what it says of the code is so."""

from __future__ import annotations

import re

import pytest
from gateway_peer import serving_gateways
from pages import blocks, page, section

from sessiond.transport import async_commands, client_breaker, gateway, registration
from sessiond.transport.codec import MAX_ARRAY

GATEWAYS = page("docs/gateways.md")


def test_its_gateway_works(capsys):
    (snippet,) = blocks(section(GATEWAYS, "## A gateway"), "python")
    with serving_gateways() as (peer, _):
        peer.methods["update_session_state"] = peer.methods["end_session"] = lambda *_: {
            "version": 2, "ended_at": 2.0, "duration": 1.0, "talk_duration": 1.0,
        }  # fmt: skip
        exec(compile(snippet.replace("7600", str(peer.port)), "gateways.md", "exec"), {"__name__": "__main__"})
        heard = [[method for method, _ in each] for each in peer.heard]
    assert heard[1] == ["register_gateway", "create_session", "update_session_state", "end_session"]
    assert heard[0][:2] == ["register_gateway", "ping"]


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
