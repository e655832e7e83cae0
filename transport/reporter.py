"""What a worker of a gateway tells the service, without ever depending on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack

from sessiond.actors.arguments import CreateArguments, EndArguments, Target, UpdateArguments
from sessiond.actors.errors import SessiondError
from sessiond.actors.record import Scalar
from sessiond.actors.supervision import LogRate
from sessiond.transport import client_requests as requests
from sessiond.transport.client import Client
from sessiond.transport.client_requests import Request
from sessiond.transport.report_queue import Key, Outcome, Report, ReportQueue, judge, key_of

__all__ = ["Reporter"]

BATCH = 64
"""Reports that are sent together."""
AT_ONCE = 1024
"""Queued reports that are sent before a new one, at most: some 50 ms of a worker's time. The next report sends more."""

logger = logging.getLogger("sessiond.reporter")


class Reporter:
    """Reports the events of calls through a ``Client``; any number of threads may use it at once.

    Its methods are those of ``Client`` that change a session. They return nothing, and none of them raises because of
    the service. While the service is away reports wait in order, each with the time of its event, and are sent before
    later ones once it is back; or they are dropped, if ``when_away`` says so. What the service refuses is logged and
    counted.

    A report waits for its answer, so it costs a worker two timeouts of the client at most before the circuit opens,
    and nothing from then on. Name each session in one way throughout, best by its address: what is reported about one
    name is carried out in the order of the reports, and each report once. Reports are of the past and carry no
    ``if_version``.
    """

    def __init__(
        self,
        client: Client,
        *,
        when_away: Literal["queue", "drop"] = "queue",
        capacity: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Report through ``client``, which stays the caller's; queue ``capacity`` reports at most.

        ``clock`` gives the time of an event that is reported without one, in epoch seconds.
        """
        self._client = client
        self._is_dropping = when_away == "drop"
        self._clock = clock
        self._lock = threading.Lock()
        """Guards all that follows."""
        self._queue = ReportQueue(capacity)
        self._busy: set[Key] = set()
        """Sessions about which a report is under way that is not in the queue."""
        self._is_draining = False
        """Whether a thread is sending what is queued."""
        self.dropped = 0
        """Reports that nobody will hear of: there was no room for them, or they are not to wait."""
        self.refused = 0
        """Reports that the service answered with an error."""
        self._log_rate = LogRate()

    @property
    def queued(self) -> int:
        """Reports that wait for the service."""
        return len(self._queue)

    # What happens to calls

    def create_session(self, /, **fields: Unpack[CreateArguments]) -> None:
        """See ``Client.create_session``. Without an ``external_id`` nothing can be reported about it later.

        Without ``at`` it is now. Give it if a sync may create the session too: with the same ``request_id`` both must
        say the same, whoever is first.
        """
        fields.setdefault("at", self._clock())
        if self._client.gateway is not None:
            fields.setdefault("gateway", self._client.gateway.name)
        self._report(lambda: requests.create_session(fields))

    def update_session(self, target: Target, /, **changes: Unpack[UpdateArguments]) -> None:
        """See ``Client.update_session``."""
        self._report(lambda: requests.update_session(target, changes, None))

    def update_session_state(self, target: Target, state: str, *, at: float | None = None) -> None:
        """See ``Client.update_session_state``."""
        since = self._clock() if at is None else at
        self._report(lambda: requests.update_session_state(target, state, None, since))

    def update_session_metadata(self, target: Target, metadata: Mapping[str, Scalar | None]) -> None:
        """See ``Client.update_session_metadata``."""
        self._report(lambda: requests.update_session_metadata(target, metadata, None))

    def touch_session(self, target: Target) -> None:
        """See ``Client.touch_session``."""
        self._report(lambda: requests.touch_session(target))

    def end_session(self, target: Target, /, reason: str | None = None, **options: Unpack[EndArguments]) -> None:
        """See ``Client.end_session``."""
        options.setdefault("at", self._clock())
        self._report(lambda: requests.end_session(target, reason, options))

    def flush(self) -> bool:
        """Send what is queued, if the service is there; whether nothing is left.

        Reports do this themselves. Call it now and then in a worker that may have nothing to report for long.
        """
        self._drain(None)
        return not self._queue

    # Inside

    def _report(self, make: Callable[[], Request[Any]]) -> None:
        try:
            request = make()
            report = Report(request, key_of(request))
        except SessiondError as error:  # it can never be sent
            with self._lock:
                self._count_refused(error)
            return
        if self._queue:
            self._drain(AT_ONCE)
        with self._lock:
            if self._queue or report.key in self._busy:
                self._count_dropped(0 if self._queue.add(report) else 1)
                return
            self._busy.add(report.key)
        self._send(report)

    def _send(self, report: Report) -> None:
        """Send a report that nothing waits before."""
        try:
            [error] = self._errors([report])
        except BaseException:
            with self._lock:
                self._busy.discard(report.key)
            raise
        outcome = judge(error)
        with self._lock:  # at once, lest another thread overtakes what is put back
            self._busy.discard(report.key)
            if outcome is Outcome.AWAY:
                is_kept = not self._is_dropping and self._queue.put_back(report)
                self._count_dropped(0 if is_kept else 1)
            elif outcome is Outcome.REFUSED:
                self._count_refused(error)
        if self._queue and outcome is not Outcome.AWAY:  # something came for the session meanwhile
            self._drain(AT_ONCE)

    def _drain(self, most: int | None) -> None:
        """Send what is queued, ``most`` reports at most, as long as the service is there."""
        with self._lock:
            if self._is_draining:  # that thread sends what is added meanwhile, too
                return
            self._is_draining = True
        sent, batch = 0, self._next_batch()
        while batch:
            is_away = self._send_batch(batch)
            sent += len(batch)
            batch = self._next_batch(is_over=is_away or (most is not None and sent >= most))

    def _next_batch(self, *, is_over: bool = False) -> list[Report]:
        """What to send next; nothing if that is all, of which the others learn at the same moment."""
        with self._lock:
            batch = [] if is_over else self._queue.batch(BATCH, self._busy)
            self._is_draining = bool(batch)
            return batch

    def _send_batch(self, batch: list[Report]) -> bool:
        """Send reports together; whether the service is away."""
        try:
            errors = self._errors(batch)
        except BaseException:
            self._next_batch(is_over=True)
            raise
        with self._lock:
            for report, error in zip(batch, errors, strict=True):
                self._settle(report, error)
        return any(judge(error) is Outcome.AWAY for error in errors)

    def _errors(self, batch: list[Report]) -> list[SessiondError | None]:
        """What went wrong with each report, when all of them were sent."""
        outcomes = self._client.perform_all([report.request.renewed() for report in batch])
        return [outcome if isinstance(outcome, SessiondError) else None for outcome in outcomes]

    def _settle(self, report: Report, error: SessiondError | None) -> None:
        """A queued report was sent."""
        outcome = judge(error)
        if outcome is Outcome.AWAY and not self._is_dropping:
            return
        self._queue.remove(report)
        if outcome is Outcome.AWAY:
            self._count_dropped(1)
        elif outcome is Outcome.REFUSED:
            self._count_refused(error)

    def _count_dropped(self, count: int) -> None:
        self.dropped += count
        if count:
            self._log("A report to the service was dropped", f"it is away, and {len(self._queue)} reports wait")

    def _count_refused(self, error: SessiondError | None) -> None:
        self.refused += 1
        self._log("The service refused a report", str(error))

    def _log(self, what: str, why: str) -> None:
        more = self._log_rate.admits(time.monotonic())
        if more is not None:
            logger.warning("%s: %s%s", what, why, more)
