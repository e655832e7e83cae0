"""What the metrics say: the books of a service as families of Prometheus samples."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from sessiond._version import __version__
from sessiond.actors.commanding import COMMANDS, OUTCOMES
from sessiond.actors.context import Context
from sessiond.actors.events import DROP_REASONS
from sessiond.actors.limits import MAX_SESSIONS
from sessiond.actors.registration import EVENTS
from sessiond.actors.residence import Residence
from sessiond.actors.tally import DURATION_BOUNDS, OTHER, RING_BOUNDS, Histogram
from sessiond.metrics.tallies import FrontEndTallies, KeepingTallies, LoopTallies, SinkTallies

__all__ = ["Live", "families", "types"]

Live: TypeAlias = dict[tuple[str, str], int]
"""Numbers of sessions by type and state."""

L = TypeVar("L", bound=tuple[str, ...])
F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)

ACTORS = ("session", "registry", "surveyor", "herald", "reaper", "gateway", "commander", "ender", "keeper", "front_end")
CODES = ("ok", "internal")
"""Codes that are there before the first request has one: a rate begins with the second sample of a series, so an
alert on the first ``internal`` needs a zero before it. So do all types, reasons and actors below."""


def families(
    context: Context,
    live: Live,
    front_end: FrontEndTallies | None = None,
    bounds: Sequence[float] = (),
    loop: LoopTallies | None = None,
    keeping: KeepingTallies | None = None,
) -> list[Metric]:
    """All metrics as they are at this moment; call it in a turn.

    Args:
        context: the books of the service.
        live: how many sessions are live, by type and state.
        front_end: the tallies of its front end, if it has one.
        bounds: the upper bounds, in seconds, of the buckets in these tallies.
        loop: the tallies of its event loop, if it is watched.
        keeping: those of its store and of all sinks of call records, if it keeps anything.
    """
    found = [
        *_sessions(context, live),
        *_histories(context),
        *_limits(context),
        *_gateways(context),
        *_commands(context),
        *_watching(context),
        *_sinks(() if keeping is None else keeping.sinks, context.clock.read().wall),
        *_internals(context),
    ]
    if front_end is not None:
        found += (*_requests(front_end, bounds), *_connections(front_end))
    if loop is not None:
        found += _standstills(loop)
    if keeping is not None:
        found += _store(context, keeping)
    return found


def types(context: Context) -> tuple[str, ...]:
    """The labels of all types."""
    return (*context.tally.types, OTHER)


def _sessions(context: Context, live: Live) -> Iterable[Metric]:
    sessions = GaugeMetricFamily("sessiond_sessions", "Sessions that are live.", labels=("type", "state"))
    yield _filled(sessions, live)
    retained = context.directory.retained_count
    yield GaugeMetricFamily("sessiond_sessions_retained", "Sessions that have ended and are still readable.", retained)


def _histories(context: Context) -> Iterable[Metric]:
    tally = context.tally
    kinds = types(context)
    none = dict.fromkeys(itertools.product(kinds), 0)
    created = CounterMetricFamily("sessiond_sessions_created", "Sessions that were created.", labels=("type",))
    yield _filled(created, none | _by_label(tally.created))
    answered = CounterMetricFamily("sessiond_sessions_answered", "Sessions that were answered.", labels=("type",))
    yield _filled(answered, none | _by_label(tally.answered))
    ended = CounterMetricFamily("sessiond_sessions_ended", "Sessions that ended.", labels=("type", "reason"))
    yield _filled(ended, dict.fromkeys(itertools.product(kinds, _reasons(context)), 0) | dict(tally.ended))
    ring = HistogramMetricFamily(
        "sessiond_session_ring_seconds",
        "Time from the first ringing, or else the creation, to the answer.",
        labels=("type",),
    )
    yield _observed(ring, {kind: Histogram(RING_BOUNDS) for kind in kinds} | tally.ring)
    duration = HistogramMetricFamily(
        "sessiond_session_duration_seconds", "Time from creation to the end, of ended sessions.", labels=("type",)
    )
    yield _observed(duration, {kind: Histogram(DURATION_BOUNDS) for kind in kinds} | tally.duration)


def _commands(context: Context) -> Iterable[Metric]:
    commands = CounterMetricFamily(
        "sessiond_commands", "Commands to gateways that are over, by what came of them.", labels=("command", "outcome")
    )
    yield _filled(commands, dict.fromkeys(itertools.product(COMMANDS, OUTCOMES), 0) | dict(context.tally.commands))
    waiting = 0 if context.commander is None else len(context.commander.lanes)
    yield GaugeMetricFamily("sessiond_commands_waiting", "Commands to gateways that are not over.", waiting)


def _limits(context: Context) -> Iterable[Metric]:
    admission = context.admission
    refusals = CounterMetricFamily(
        "sessiond_limit_refusals", "Sessions that were not created, by the limit that was reached.", labels=("limit",)
    )
    none = dict.fromkeys((MAX_SESSIONS, *admission.limits), 0)
    yield _filled(refusals, _by_label(none | dict(context.tally.refused)))
    sessions = GaugeMetricFamily(
        "sessiond_limit_sessions", "Live sessions that a limit with a value of its own counts.", labels=("limit",)
    )
    maxima = GaugeMetricFamily("sessiond_limit_maximum", "As many as may live by that limit.", labels=("limit",))
    for name, limit in admission.limits.items():
        if limit.value is not None and limit.concurrent is not None:
            sessions.add_metric((name,), admission.current(limit, limit.value))
            maxima.add_metric((name,), limit.concurrent)
    yield sessions
    yield maxima


def _gateways(context: Context) -> Iterable[Metric]:
    states = {("live",): 0, ("lost",): 0}
    for incarnation in context.incarnations:
        states["live" if incarnation.loss is None else "lost",] += 1
    gateways = GaugeMetricFamily(
        "sessiond_gateways", "Incarnations of gateways that have registered.", labels=("state",)
    )
    yield _filled(gateways, states)
    suspect = sum(map(len, context.directory.suspects.values()))
    yield GaugeMetricFamily("sessiond_suspect_sessions", "Live sessions whose gateway is lost.", suspect)
    events = CounterMetricFamily("sessiond_gateway_events", "What happened to gateways.", labels=("event",))
    yield _filled(events, _by_label(dict.fromkeys(EVENTS, 0) | dict(context.tally.gateways)))
    syncs = CounterMetricFamily("sessiond_syncs", "Syncs of gateways that are over.", labels=("outcome",))
    yield _filled(syncs, _by_label(context.syncs.outcomes))


def _watching(context: Context) -> Iterable[Metric]:
    tally = context.tally
    yield GaugeMetricFamily("sessiond_watchers", "Watches that there are.", tally.watchers)
    yield CounterMetricFamily(
        "sessiond_watch_notifications", "Changes and sessions that watchers were told of.", tally.notifications
    )
    dropped = CounterMetricFamily(
        "sessiond_watchers_dropped", "Watches that the service ended, by its reason.", labels=("reason",)
    )
    yield _filled(dropped, _by_label(dict.fromkeys(DROP_REASONS, 0) | dict(tally.watchers_dropped)))
    yield GaugeMetricFamily("sessiond_watch_log_changes", "Changes that are kept for watchers.", len(context.changes))


def _store(context: Context, keeping: KeepingTallies) -> Iterable[Metric]:
    store = keeping.figures
    yield GaugeMetricFamily("sessiond_store_up", "Whether the store keeps what is changed.", store.is_up)
    yield GaugeMetricFamily(
        "sessiond_store_unsettled_changes", "Changes that the store has not kept yet.", keeping.unsettled_changes
    )
    yield CounterMetricFamily("sessiond_store_changes", "Changes that the store has kept.", store.kept)
    yield HistogramMetricFamily(
        "sessiond_store_commit_seconds",
        "Time that a commit took until it was on the disk.",
        buckets=_summed_up(store.commits.bounds, store.commits.counts),
        sum_value=store.commits.sum,
    )
    yield CounterMetricFamily(
        "sessiond_store_failures", "How often the store could keep nothing any more.", store.failures
    )
    yield GaugeMetricFamily(
        "sessiond_store_log_changes", "Changes that are in the log and not in the table of sessions.", store.log_entries
    )
    yield GaugeMetricFamily("sessiond_store_log_bytes", "Bytes of these.", store.log_bytes)
    yield CounterMetricFamily(
        "sessiond_store_folded_sessions", "Sessions that went from the log into their table.", store.folded
    )
    if context.residence is not None:
        yield from _residence(context.residence)
    yield GaugeMetricFamily(
        "sessiond_recovered_sessions", "Live sessions that were there at the start.", keeping.recovered_sessions
    )
    yield GaugeMetricFamily("sessiond_recovery_seconds", "Time that it took to take them in.", keeping.recovery_seconds)


def _residence(residence: Residence) -> Iterable[Metric]:
    yield GaugeMetricFamily("sessiond_resident_sessions", "Live sessions that are in memory.", residence.resident_count)
    yield CounterMetricFamily("sessiond_sessions_left_memory", "Sessions that have left memory.", residence.left)
    yield CounterMetricFamily(
        "sessiond_sessions_returned", "Sessions that were needed and have come back to memory.", residence.returned
    )


def _sinks(sinks: Iterable[SinkTallies], now: float) -> Iterable[Metric]:
    delivered = CounterMetricFamily("sessiond_sink_records", "Call records that a sink has had.", labels=("sink",))
    failures = CounterMetricFamily("sessiond_sink_failures", "Attempts to deliver that failed.", labels=("sink",))
    dead = CounterMetricFamily("sessiond_sink_dead_letters", "Call records that a sink will not get.", labels=("sink",))
    behind = GaugeMetricFamily("sessiond_sink_lag_records", "Call records that wait for a sink.", labels=("sink",))
    lag = GaugeMetricFamily("sessiond_sink_lag_seconds", "For how long the first of them has waited.", labels=("sink",))
    for sink in sinks:
        labels = (sink.name,)
        delivered.add_metric(labels, sink.delivered)
        failures.add_metric(labels, sink.failures)
        dead.add_metric(labels, sink.dead)
        behind.add_metric(labels, max(0, sink.behind))
        oldest = sink.oldest  # read once: its thread goes on
        lag.add_metric(labels, 0.0 if oldest is None else max(0.0, now - oldest))
    return (delivered, failures, dead, behind, lag)


def _internals(context: Context) -> Iterable[Metric]:
    restarts = CounterMetricFamily("sessiond_actor_restarts", "Actors restarted after a crash.", labels=("actor",))
    yield _filled(restarts, _by_label(dict.fromkeys(ACTORS, 0) | dict(context.tally.restarts)))
    yield GaugeMetricFamily(
        "sessiond_reaper_backlog",
        "Sessions that are due to be looked at by the reaper.",
        context.wheel.backlog + context.incarnations.graces.backlog,
    )
    depths = GaugeMetricFamily(
        "sessiond_mailbox_messages", "Messages that wait in the mailboxes of actors.", labels=("actor",)
    )
    counts = {kind: waiting.messages for kind, waiting in context.dispatcher.waiting.items()}
    yield _filled(depths, _by_label(dict.fromkeys(ACTORS, 0) | counts))
    build = GaugeMetricFamily("sessiond_build_info", "What runs; always 1.", labels=("version", "python"))
    yield _filled(build, {(__version__, platform.python_version()): 1})


def _requests(front_end: FrontEndTallies, bounds: Sequence[float]) -> Iterable[Metric]:
    requests = CounterMetricFamily(
        "sessiond_requests", "Requests, by the error code of their answers or ok.", labels=("method", "code")
    )
    seconds = HistogramMetricFamily(
        "sessiond_request_duration_seconds", "Time from the arrival of a request to its answer.", labels=("method",)
    )
    for method, tally in front_end.methods.items():
        succeeded = sum(tally.buckets) - sum(tally.errors.values())
        codes = dict.fromkeys(CODES, 0) | {"ok": succeeded} | dict(tally.errors)
        _filled(requests, {(method, code): count for code, count in codes.items()})
        seconds.add_metric((method,), _summed_up(bounds, tally.buckets), tally.seconds)
    yield requests
    yield seconds


def _connections(front_end: FrontEndTallies) -> Iterable[Metric]:
    yield GaugeMetricFamily("sessiond_connections", "Connections of gateways that are open.", front_end.connections)
    closed = CounterMetricFamily(
        "sessiond_connections_closed", "Connections that the service closed, by its reason.", labels=("reason",)
    )
    yield _filled(closed, _by_label(front_end.closed_for))


def _standstills(loop: LoopTallies) -> Iterable[Metric]:
    yield HistogramMetricFamily(
        "sessiond_loop_stall_seconds",
        "Time that a timer waited because the event loop stood still, looked at every 5 ms.",
        buckets=_summed_up(loop.stalls.bounds, loop.stalls.counts),
        sum_value=loop.stalls.sum,
    )
    yield GaugeMetricFamily(
        "sessiond_loop_longest_stall_seconds", "The longest of these within the last minute or two.", loop.longest_stall
    )
    yield HistogramMetricFamily(
        "sessiond_gc_pause_seconds",
        "Time that a look of the garbage collector took.",
        buckets=_summed_up(loop.pauses.bounds, loop.pauses.counts),
        sum_value=loop.pauses.sum,
    )


def _reasons(context: Context) -> tuple[str, ...]:
    return (*context.tally.reasons, OTHER)


def _by_label(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(label,): count for label, count in counts.items()}


def _filled(family: F, counts: Mapping[L, int]) -> F:
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _observed(family: HistogramMetricFamily, histograms: Mapping[str, Histogram]) -> HistogramMetricFamily:
    for label, histogram in histograms.items():
        family.add_metric((label,), _summed_up(histogram.bounds, histogram.counts), histogram.sum)
    return family


def _summed_up(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Counts by upper bound, each with all that are smaller, as Prometheus wants them."""
    labels = (*map(floatToGoString, bounds), "+Inf")
    return list(zip(labels, itertools.accumulate(counts), strict=True))
