"""A program that embeds the session manager has sinks too."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from receivers import receiver

import sessiond
from sessiond import Config, StoreSettings, WebhookSink


def test_the_records_of_an_embedded_manager_get_to_its_sinks(tmp_path):
    with receiver() as server:
        sink = WebhookSink(name="billing", url=server.url, dead_letters=str(tmp_path / "dead.jsonl"))
        store = StoreSettings(kind="sqlite", path=str(tmp_path / "store.db"))
        registry = sessiond.start(Config(store=store, sink=(sink,)))
        metrics = CollectorRegistry()
        metrics.register(sessiond.collector(registry))
        try:
            manager = registry.proxy()
            made = manager.create_session(type="sip").get().id
            manager.end_session(made, "busy").get()
            while metrics.get_sample_value("sessiond_sink_records_total", {"sink": "billing"}) != 1:
                pass
        finally:
            sessiond.stop(registry)
        ((record,),) = (request.records for request in server.requests)
    assert (record["id"], record["end_reason"]) == (made, "busy")
