"""The pages that a service shows to its operators: metrics, health and readiness."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.core import Metric

from sessiond.actors.surveyor import Work
from sessiond.metrics.http import Answer, HttpServer
from sessiond.metrics.page import OPENMETRICS, TEXT, Page

__all__ = ["endpoint"]


def endpoint(collecting: Callable[[], Work[list[Metric]]], obstacle: Callable[[], str | None]) -> HttpServer:
    """The server of ``/metrics``, ``/healthz`` and ``/readyz``, not open yet.

    Args:
        collecting: begins to collect the metrics; the work is done on the event loop, between turns.
        obstacle: what keeps the service from taking requests; None if it takes them.
    """
    text, openmetrics = Page(collecting, TEXT), Page(collecting, OPENMETRICS)

    async def metrics(accepted: str) -> Answer:
        page = openmetrics if "application/openmetrics-text" in accepted else text
        return Answer(200, await page.text(), page.content_type)

    async def health(_accepted: str) -> Answer:
        """An event loop that comes round to answering is healthy."""
        return Answer(200, b"ok\n")

    async def readiness(_accepted: str) -> Answer:
        reason = obstacle()
        return Answer(200, b"ok\n") if reason is None else Answer(503, f"{reason}\n".encode())

    return HttpServer({"/metrics": metrics, "/healthz": health, "/readyz": readiness})
