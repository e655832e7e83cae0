"""What Kamailio's workers cannot do for sessiond, as they cannot listen: ``python sidecar.py --help``.

Runs beside Kamailio, whichever of them is started or ends first. It keeps the gateway registered as long as Kamailio
lives, agrees with sessiond about which calls there are, and hangs up when an operator asks for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from calls import END_MARK
from rpc import Rpc, RpcError
from run import Run, look

from sessiond import AsyncGateway, errors

CONFIRMED, ENDED = 3, 5
"""States of dialogs: answered are those from the one to before the other."""
NOT_THERE = 404
LOOK = 0.1
"""Seconds between looks whether Kamailio has been started."""

logger = logging.getLogger("sidecar")


class Sidecar:
    """Speaks for one run of Kamailio."""

    def __init__(self, options: argparse.Namespace, run: Run) -> None:
        """Ask Kamailio by the FIFO in ``options.folder``."""
        host, _, port = options.sessiond.rpartition(":")
        self._name = options.gateway
        self._run = run
        self._every = options.sync
        self._rpc = Rpc(options.folder)
        self._gateway = AsyncGateway(
            options.gateway,
            host=host,
            port=int(port),
            epoch=run.epoch,
            sessions=self._sessions,
            commands={"terminate_session": self._hang_up},
            on_ended=_say_ended,
        )

    async def accompany(self) -> None:
        """Be the gateway until Kamailio's last process has ended."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._run.alive, over.set)
        try:
            async with self._gateway:
                while not over.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._every):
                            await over.wait()
                    # A worker that queued the beginning of a call may report it after another one reported the end.
                    self._gateway.sync_soon()
        finally:
            loop.remove_reader(self._run.alive)

    async def _sessions(self) -> list[Any]:
        """The calls that there are: those of which Kamailio has a dialog, and those that it has forgotten."""
        known = [call for dialog in await self._dialogs() if (call := _session_of(dialog)) is not None]
        return known + [call async for call in self._inherited({call["external_id"] for call in known})]

    async def _inherited(self, known: set[str]) -> AsyncIterator[dict[str, Any]]:
        """Calls that were up when this run began. The last run took what Kamailio knew of them to its grave.

        A proxy that is restarted ends no call: they go on through this run, and their messages tell what becomes of
        them. If none comes any more, it is for sessiond's timeouts.
        """
        async for session in self._gateway.client.sessions(gateway=self._name):
            is_ours = session.suspect or session.epoch == self._run.epoch
            if is_ours and session.created_at < self._run.began_at and session.external_id not in known:
                yield {"external_id": session.external_id, "type": session.type, "state": session.state}

    async def _hang_up(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Send BYE to both sides of a call."""
        dialogs = [each for each in await self._dialogs() if each["call-id"] == arguments["external_id"]]
        if not dialogs and await self._is_inherited(arguments["external_id"]):
            raise errors.Conflict("The call began before Kamailio was restarted, which cannot hang up on it any more")
        if not dialogs:
            raise errors.NotFound("Kamailio has no such call")
        [dialog] = dialogs
        if dialog["state"] < CONFIRMED:  # it would do nothing, and say that it had
            raise errors.Conflict("Kamailio hangs up on nobody before the call is answered")
        reason = f'Reason: SIP;cause=200;text="{END_MARK}"\r\n'
        try:
            await asyncio.to_thread(self._rpc.call, "dlg.end_dlg", dialog["h_entry"], dialog["h_id"], reason)
        except RpcError as error:
            if error.code == NOT_THERE:
                raise errors.NotFound("Kamailio has no such call any more") from None
            raise
        return {}

    async def _is_inherited(self, external_id: str) -> bool:
        return external_id in [call["external_id"] async for call in self._inherited(set())]

    async def _dialogs(self) -> list[dict[str, Any]]:
        dialogs: list[dict[str, Any]] = await asyncio.to_thread(self._rpc.call, "dlg.list")
        return [dialog for dialog in dialogs if dialog["state"] < ENDED]


def _session_of(dialog: dict[str, Any]) -> dict[str, Any] | None:
    """What makes the session of a dialog as it is now, from what ``gateway.py`` keeps there; None if it has ended."""
    text = next((each["session"] for each in dialog["variables"] if each.get("session")), None)
    if text is None:
        return None
    kept = json.loads(text)
    return {**kept["call"], **kept["now"]}


def _say_ended(external_id: str, reason: str) -> None:
    logger.warning("Call %s goes on, though sessiond has ended its session: %s", external_id, reason)


async def serve(options: argparse.Namespace) -> None:
    """Accompany one run of Kamailio after the other, until a signal ends it."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            if (run := look(options.folder)) is None:
                await asyncio.sleep(LOOK)
                continue
            logger.info("Kamailio began at %s", run.epoch)
            try:
                await Sidecar(options, run).accompany()
            except errors.CallerError as error:
                logger.warning("sessiond does not take us for %s: %s", options.gateway, error)
                await asyncio.sleep(1)
            finally:
                os.close(run.alive)


def main() -> None:
    """Serve as the command line says."""
    environ = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--gateway", default=environ("GATEWAY", "kamailio"), help="what sessiond knows Kamailio as")
    parser.add_argument("--sessiond", default=environ("SESSIOND", "127.0.0.1:7600"), help="where sessiond listens")
    parser.add_argument(
        "--folder", type=Path, default=Path(environ("RUNTIME", "/run/kamailio")), help="Kamailio's runtime folder"
    )
    parser.add_argument("--sync", type=float, default=30.0, help="seconds between comparisons of the calls")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
