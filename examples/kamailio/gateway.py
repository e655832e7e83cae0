"""Kamailio's routes, which it runs in each of its workers (KEMI): relay every call, and tell sessiond about it.

What a message says about its call is reported before the message goes on. So whoever sees the message, and does the
next thing because of it, does that after the report: no event can be overtaken by one that it caused.

The comments say what each of Kamailio's traps costs. README.md has the whole.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

import calls
import KSR
import run

from sessiond import Client, Registration, Reporter

GATEWAY = os.environ.get("GATEWAY", "kamailio")
HOST, _, PORT = os.environ.get("SESSIOND", "127.0.0.1:7600").rpartition(":")
RUNTIME = Path(os.environ.get("RUNTIME", "/run/kamailio"))
"""The folder in which the sidecar looks for us."""
PATIENCE = 0.2
"""Seconds that a worker waits for an answer at most: it handles no SIP meanwhile, and phones repeat what has not been
answered within half a second."""
CONFIRMED = 3
"""The state of a dialog that has been answered; those before are lower."""
TIMER_PROCESS = -1
"""The rank of the processes in which dialogs time out."""
BETWEEN_BYES = 0.1
"""Seconds that an answer to a BYE waits for the other BYE at most."""

pv = KSR.pv.get


class Gateway:
    """What Kamailio calls; it looks methods up by their names. Made once, then forked into every process."""

    def __init__(self) -> None:
        # Connects when it is first used, and anew in each process: a connection made here would be shared by all.
        registration = Registration(name=GATEWAY, epoch=run.begin(RUNTIME))
        self._reporter = Reporter(Client(HOST, int(PORT), timeout=PATIENCE, gateway=registration))
        self._rank = 0
        self._hanging_up: str | None = None
        # All processes see the same two numbers here: until when a process, the timer's or the one that carries out
        # commands, may have sent the one BYE of a call and not yet the other. By the monotonic clock.
        self._other_bye_by = mmap.mmap(-1, mmap.PAGESIZE)

    def child_init(self, rank: int) -> int:
        """A process begins. Must exist, and return 0."""
        self._rank = rank
        return 0

    # Routes

    def ksr_request_route(self, _message: object) -> int:
        """A request has come in."""
        method = pv("$rm")
        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.send_reply(483, "Too Many Hops")
        elif method == "CANCEL":
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        elif _is_repeat(method):
            pass
        elif KSR.siputils.has_totag() > 0:
            self._pass_within_dialog(method)
        elif method == "INVITE":
            self._begin_call()
        elif method == "OPTIONS":
            self._reporter.flush()
            KSR.sl.send_reply(200, "OK")
        else:
            KSR.sl.send_reply(405, "Method Not Allowed")
        return 1

    def ksr_onreply_call(self, _message: object) -> int:
        """A reply to the INVITE that began a call, from any of the branches."""
        status = pv("$rs")
        if status in {180, 183}:
            self._change("ringing")
        # A 200 is sent again until its ACK arrives; a late one must not take a call off hold.
        elif 200 <= status < 300 and pv("$dlg(state)") < CONFIRMED:  # noqa: PLR2004
            self._change("active")
        return 1

    def ksr_onreply_media(self, _message: object) -> int:
        """A reply to a request that may change the media of a call."""
        if 200 <= pv("$rs") < 300:  # noqa: PLR2004
            state = calls.state_after_offer(pv("$T_req($rb)"), pv("$rb"))
            if state is None:
                self._reporter.touch_session(_address())
            else:
                self._change(state)
        return 1

    def ksr_failure_call(self, _message: object) -> int:
        """The INVITE that began a call is about to be answered with what is no success."""
        status = pv("$T_reply_code")
        if KSR.tm.t_is_canceled() > 0:
            self._end("canceled", ended_by="caller", sip_code=status)
        elif KSR.tm.t_branch_timeout() > 0:
            self._end(calls.end_reason(status), ended_by="gateway", sip_code=status)
        else:
            cause = calls.q850_cause(pv("$T_rpl($hdr(Reason))"))
            self._end(calls.end_reason(status), ended_by="callee", sip_code=status, q850_cause=cause)
        return 1

    def ksr_tm_event(self, _message: object, name: str) -> int:
        """Among others: Kamailio itself is about to send a request. It ends calls so, with a BYE to each side."""
        if name == "tm:local-request" and pv("$rm") == "BYE":
            is_first = self._hanging_up != pv("$ci")
            self._hanging_up = pv("$ci") if is_first else None
            if is_first:
                self._end_from_here()
            deadline = time.monotonic() + BETWEEN_BYES if is_first else 0.0
            struct.pack_into("d", self._other_bye_by, 0 if self._rank == TIMER_PROCESS else 8, deadline)
        return 1

    def ksr_reply_route(self, _message: object) -> int:
        """A reply has come in, of any transaction.

        When the first of its two BYEs is answered, Kamailio takes the dialog for ended, and if it has not sent the
        second one by then it never does. So the answer, which another process handles, waits for that.
        """
        method = pv("$rm")
        if method == "INVITE" and KSR.tm.t_check_trans() < 0 and KSR.dialog.is_known_dlg() < 0:
            self._answer_inherited(pv("$rs"))
        if method == "BYE":
            while time.monotonic() < max(struct.unpack_from("dd", self._other_bye_by)):
                time.sleep(0.001)
        return 1

    def ksr_onsend_route(self, _message: object) -> int:
        """A message is about to go out.

        Kamailio looks for this, and for ``ksr_reply_route``, with every message. Where one is missing it leaves the
        AttributeError pending, and the next call of KSR fails with it.
        """
        return 1

    # What requests do

    def _begin_call(self) -> None:
        KSR.dialog.dlg_manage()
        call = {
            "type": "sip",
            **_address(),
            "caller": pv("$fU"),
            "callee": pv("$rU"),
            "metadata": {"source": pv("$si")},
            "request_id": f"{pv('$ci')}/{pv('$cs')}",
            "at": time.time(),
        }
        _keep(call)
        self._reporter.create_session(**call)
        if self._reporter.queued:
            _keep(call, waits=True)
        KSR.rr.record_route()
        KSR.tm.t_on_reply("ksr_onreply_call")
        KSR.tm.t_on_failure("ksr_failure_call")
        if KSR.tm.t_relay() < 0:
            self._end("failed", ended_by="gateway", sip_code=500)
            KSR.sl.send_reply(500, "Cannot Be Relayed")

    def _pass_within_dialog(self, method: str) -> None:
        if KSR.rr.loose_route() > 0:
            if method == "BYE":
                # Told by the route and not by the dialog, which this process forgets when it is killed.
                by = "caller" if KSR.rr.is_direction("downstream") > 0 else "callee"
                self._end("normal", ended_by=by, sip_code=200, q850_cause=calls.q850_cause(pv("$hdr(Reason)")))
            elif method in {"INVITE", "UPDATE"}:
                KSR.tm.t_on_reply("ksr_onreply_media")
            KSR.tm.t_relay()
        elif method != "ACK":
            KSR.sl.send_reply(404, "Not Here")
        elif KSR.tm.t_check_trans() > 0:
            KSR.tm.t_relay()

    def _answer_inherited(self, status: int) -> None:
        """The answer to an INVITE that was relayed before Kamailio was restarted, and goes its way by itself."""
        if status >= 300:  # noqa: PLR2004
            by = "caller" if status == 487 else "callee"  # noqa: PLR2004
            cause = calls.q850_cause(pv("$hdr(Reason)"))
            self._end(calls.end_reason(status), ended_by=by, sip_code=status, q850_cause=cause)
        elif status >= 200:  # noqa: PLR2004
            self._change("active")

    def _end_from_here(self) -> None:
        if self._rank == TIMER_PROCESS:
            self._end("dialog_timeout", ended_by="gateway")
        elif calls.END_MARK not in (pv("$hdr(Reason)") or ""):
            self._end("normal", ended_by="admin")

    # Reports

    def _change(self, state: str) -> None:
        at = time.time()
        if (kept := self._introduced()) is not None:
            answer = {"answered_at": at} if state == "active" and "answered_at" not in kept["now"] else {}
            _keep(**{**kept, "now": {**kept["now"], "state": state, **answer}})
        self._reporter.update_session_state(_address(), state, at=at)

    def _end(self, reason: str, **options: Any) -> None:
        if (kept := self._introduced()) is not None:
            _keep(None)
            if kept["waits"] and "answered_at" in kept["now"]:
                options["answered_at"] = kept["now"]["answered_at"]
        self._reporter.end_session(_address(), reason, **options)

    def _introduced(self) -> dict[str, Any] | None:
        """What is kept of the call. If its beginning waits in a process for sessiond, this one tells of it, too.

        Else sessiond could hear of the end first. What it hears twice happens once, by the request_id.
        """
        text = pv("$dlg_var(session)")
        kept: dict[str, Any] | None = json.loads(text) if text else None
        if kept is not None and kept["waits"]:
            self._reporter.create_session(**kept["call"])
        return kept


class _KamailioLog(logging.Handler):
    """Writes into Kamailio's log what the client has to say, such as what sessiond refused."""

    def emit(self, record: logging.LogRecord) -> None:
        KSR.warn(f"sessiond: {self.format(record)}\n")


def _address() -> dict[str, str]:
    return {"gateway": GATEWAY, "external_id": pv("$ci")}


def _keep(call: dict[str, Any] | None, now: dict[str, Any] | None = None, *, waits: bool = False) -> None:
    """Keep what makes the session with its dialog, for all processes and the sidecar to read; None once it is over.

    ``call`` created it, ``now`` is what has changed since, and ``waits`` whether sessiond may not have heard of it yet.
    """
    text = json.dumps({"call": call, "now": now or {}, "waits": waits}) if call else ""
    KSR.pv.sets("$dlg_var(session)", text)


def _is_repeat(method: str) -> bool:
    """Whether this request has come before; its transaction then does what is due.

    If it has not, its transaction is made, before anything is reported. Else another worker would take a repeat that
    comes while the report is under way for something new.
    """
    if KSR.tmx.t_precheck_trans() > 0:
        KSR.tm.t_check_trans()
        return True
    # 0 is for a repeat and for the ACK of a refusal. What is new gives -1, so "!= 0" here drops every call.
    if KSR.tm.t_check_trans() == 0:
        return True
    return method != "ACK" and KSR.tm.t_newtran() < 0


def mod_init() -> Gateway:
    """Kamailio has loaded this file; it takes what comes back for its script."""
    logging.getLogger("sessiond").addHandler(_KamailioLog())
    return Gateway()
