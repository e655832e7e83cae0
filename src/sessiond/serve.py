"""``sessiond serve``: the process around the service, from its limits and signals to its exit code."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable

from sessiond.actors.store import StoreError
from sessiond.config import Config
from sessiond.garbage import YoungCollector
from sessiond.records.sink import SinkError
from sessiond.service import Service, split_address
from sessiond.sources import ConfigError
from sessiond.watch import LoopWatch

loop_factory: Callable[[], AbstractEventLoop] | None
try:
    import uvloop
except ImportError:  # there is none for this platform
    loop_factory = None
else:
    loop_factory = uvloop.new_event_loop

__all__ = ["serve"]

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SWITCH_SECONDS = 0.002
"""For which the event loop keeps the interpreter to itself while a thread of the store wants it. With Python's own 5 ms
single requests were measured to wait longer for their commits, with 0.5 ms a tenth fewer were answered at full load."""
SPARE_DESCRIPTORS = 64
"""File descriptors beside those of the gateways: listeners, scrapes, logs, the loop's own."""


def serve(config: Config) -> int:
    """Serve until a signal ends it, or a failure; the exit code is 0 or 1.

    SIGTERM and SIGINT drain; a second one ends the process at once.

    Raises:
        ConfigError: it would listen to the world without being told so.
    """
    for key, address in (("listen", config.listen), ("metrics", config.metrics)):
        if not config.allow_unauthenticated and not is_loopback(split_address(address)[0]):
            raise ConfigError(
                f"{key} = {address}: refused, since whoever reaches it could do everything. Listen on 127.0.0.1, "
                "or pass --allow-unauthenticated if the network keeps strangers away"
            )
    _raise_descriptor_limit(config.limits.max_connections + SPARE_DESCRIPTORS)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve(config))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``, which is a name or an IP address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(config: Config) -> int:
    call_later = asyncio.get_running_loop().call_later
    if config.store.kind != "memory":
        sys.setswitchinterval(SWITCH_SECONDS)
    watch = LoopWatch(call_later)
    service = Service(config, watch=watch)
    stopping = _stop_on_signals()
    try:
        await service.start()
    except OSError as error:
        reason = error.strerror or error  # alone: the trace of an address in use helps nobody
        logger.error("Cannot listen on %s and %s: %s", config.listen, config.metrics, reason)  # noqa: TRY400
        return 1
    except (StoreError, SinkError) as error:
        logger.error("%s", error)  # noqa: TRY400  (as above)
        return 1
    YoungCollector(call_later, watch.pauses.observe).start()
    watch.start()
    _announce(config, service)
    ends = [asyncio.create_task(each.wait()) for each in (stopping, service.failed)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await service.stop()
    return 1 if service.failed.is_set() else 0


def _stop_on_signals() -> asyncio.Event:
    """An event that the first signal sets. The second one meets what it does by default, even if the loop hangs."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop(name: str) -> None:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        logger.info("Draining on %s", name)
        stopping.set()

    for each in SIGNALS:
        loop.add_signal_handler(each, stop, each.name)
    return stopping


def _announce(config: Config, service: Service) -> None:
    """Say on standard output where the service listens, for whoever started it on port 0 or waits for it."""
    listen = f"{_host(config.listen)}:{service.port}"
    metrics = f"{_host(config.metrics)}:{service.metrics_port}"
    print(f"sessiond listening on {listen}, metrics on http://{metrics}/metrics", flush=True)  # noqa: T201


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _raise_descriptor_limit(wanted: int) -> None:
    """Allow as many open files as the system lets us have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        logger.debug("The limit of open files stays as it is", exc_info=True)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        logger.warning("Only %d files may be open: fewer gateways can connect than limits.max_connections", soft)
