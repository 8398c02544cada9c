"""The way of one call, in order. Each step is a method of `Exchange`; read them from the top.

    client ─▶ opening: route, authenticate ─▶ open: admit ─▶ body ─▶ journal the intent ─▶ dial ─▶ forward ══▶ provider
    client ◀═ relay ◀═══════════════════════════════════════════════════════════════════════════════ answer
                └─▶ tap          last byte: journal the completion ─▶ hand on the end ─▶ writer

Callbacks, not coroutines: a task per call costs more than all of this. Every call that reached an account ends in
`_end`, once, whatever happened; `_end` never depends on the metering."""

from __future__ import annotations

from collections import Counter
from time import perf_counter

from metrion.call import Call, Outcome
from metrion.ledger.estimate import hold
from metrion.ledger.record import INTENT, frame
from metrion.proxy import http1, refusal
from metrion.proxy.answer import Answer, client_head, request_id_of, text
from metrion.proxy.asked import FORM_FIELD_BYTES, form_model, read_body, spoken_characters
from metrion.proxy.completion import completion, refused_call
from metrion.proxy.http1 import CHUNKED, NO_BODY, UNTIL_CLOSE
from metrion.proxy.refusal import Refusal
from metrion.proxy.state import NEVER, ExchangeState
from metrion.proxy.target import Target, family_of
from metrion.proxy.upstream import Upstream
from metrion.wire.tap import open_tap, read_at_once

_UPLOAD_PAUSE_BYTES = 256 * 1024  # received for a provider that is not connected yet
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH_UNKNOWN = (CHUNKED, UNTIL_CLOSE)
_BODY_METHODS = (b"POST", b"PUT", b"PATCH")


class Exchange(ExchangeState):
    """One request and its answer on their way through."""

    __slots__ = ()

    # ── open: admit what the head asks for ────────────────────────────────────────────────────────────────────────

    def open(self, whole: bytes | None) -> None:
        """Decide on the head; then wait for the body, or stream it. `whole`: the body, where it came with the head."""
        proxy, opening = self._proxy, self._opening
        if opening.method == b"OPTIONS" and (answer := proxy.cors.preflight(opening.named)):
            self._held, self.ended = [answer], True
            self._hand_on(cut=False)
            return
        if whole is not None:
            self._request_complete = True
        self._account = opening.account
        identity, target = opening.identity, opening.target
        if identity is None or target is None:
            self._refuse(opening.refusal or refusal.NO_ANSWER)
            return
        account = identity.account
        call = self._call = opening.new_call(self._id, account)
        problem = opening.refusal
        if problem is None and (not proxy.admits or self._length > proxy.settings.max_body_bytes):
            problem = self._unfit()
        if problem is None:
            problem = proxy.admission.admit(account.id, account.plan, proxy.loop.time(), call.started_ms)
        if problem is not None:
            self._refuse(problem)
            return
        self._place_taken = proxy.admission.counts(account.plan)
        if whole is not None:
            call.request_bytes = len(whole)
            if not opening.reads_whole:
                self._pieces.append(whole)
                self._sniff_form(call, whole)
        elif self._length:
            if opening.expects and self._front:
                self._front.send(_CONTINUE)
            if opening.reads_whole:
                return
        if opening.reads_whole:
            self._read_whole(call, target, whole or b"")
        else:
            self._record_intent()

    def _unfit(self) -> Refusal:
        """Why no provider is asked."""
        proxy = self._proxy
        if not proxy.admits:
            return refusal.STOPPING if proxy.stopping else refusal.NOT_READY
        return refusal.too_large(proxy.settings.max_body_bytes)

    # ── the request's body ────────────────────────────────────────────────────────────────────────────────────────

    def on_request_body(self, piece: bytes, *, last: bool) -> None:
        """Take a piece of the body from the front."""
        call, target = self._call, self._opening.target
        if self.ended or call is None or target is None:  # refused already: the rest is read and dropped
            self._request_complete = self._request_complete or last
            return
        call.request_bytes += len(piece)
        if call.request_bytes > self._proxy.settings.max_body_bytes:
            self._abandon(refusal.too_large(self._proxy.settings.max_body_bytes))
            return
        if last:
            self._request_complete = True
        if self._opening.reads_whole:
            if piece:
                self._pieces.append(piece)
                self._budgeted = True
                self._proxy.budget.take(self, len(piece))
            if last:
                self._read_whole(call, target, b"".join(self._pieces))
            return
        self._sniff_form(call, piece)
        if self._upstream is not None:
            self._forward_piece(self._upstream, piece)
            return
        self._pieces.append(piece)
        if call.request_bytes > _UPLOAD_PAUSE_BYTES:
            self.pause_request()

    def _read_whole(self, call: Call, target: Target, body: bytes) -> None:
        """The body is here: know the model, refuse what no provider would take, then record the intent."""
        self._pieces = [body]
        endpoint = target.endpoint
        asked = read_body(body, endpoint.required, target.provider.label)
        if not isinstance(asked, Refusal):
            if not call.requested_model:
                call.requested_model = asked.model
            if endpoint.speaks:
                call.characters = spoken_characters(body)
            if asked.stream:
                call.stream = True
                call.held = hold(self._proxy.shelf, call, body)
        elif endpoint.checks_body:
            self._refuse(asked)
            return
        self._record_intent()

    def _sniff_form(self, call: Call, piece: bytes) -> None:
        """A multipart upload names its model in a field before its file, or after it."""
        if call.format and not call.requested_model:
            window = self._form_rest + piece
            self._form_rest = window[-FORM_FIELD_BYTES:]
            call.requested_model = form_model(window)

    def pause_request(self) -> None:
        if not self._request_paused and self._front:
            self._request_paused = True
            self._front.pause_request()

    def resume_request(self) -> None:
        if self._request_paused and self._front:
            self._request_paused = False
            self._front.resume_request()

    # ── journal the intent, dial, forward ─────────────────────────────────────────────────────────────────────────

    def _record_intent(self) -> None:
        self._intent_segment = self._proxy.journal.append(self._intent, self._intended)

    def _intent(self) -> bytes:
        assert self._call is not None
        return frame(INTENT, self._call)

    def _intended(self, kept: bool) -> None:
        """The intent is written, or not: only then is the provider dialled."""
        if self.ended:
            return
        if not kept:
            self._refuse(refusal.NOT_RECORDED)
            return
        assert self._call is not None
        self._dial = self._proxy.origins[self._call.provider].dial(self)

    def on_connected(self, upstream: Upstream) -> None:
        """Send the head and what there is of the body."""
        self._dial = None
        if self.ended:
            upstream.release()
            return
        self._upstream = upstream
        pieces, self._pieces = self._pieces, []
        if not self._sends_length:
            pieces = [http1.chunk(piece) for piece in pieces if piece]
            if self._request_complete:
                pieces.append(http1.LAST_CHUNK)
        data = b"".join((self._opening.forward_head, self._framing(), *pieces))
        upstream.send(self, data, head_request=self._opening.method == b"HEAD")
        self._sent_at = perf_counter()
        if self._request_paused:
            self.resume_request()
        if self._request_complete:
            if self._budgeted:
                self._proxy.budget.release(self)
            self.heard = True  # the provider's time begins

    def _framing(self) -> bytes:
        """The header lines that frame the request's body, and the head's end."""
        if self._length > 0:
            return b"content-length: %d\r\n\r\n" % self._length
        if not self._length and self._opening.method not in _BODY_METHODS:
            return b"\r\n"
        if not self._sends_length:
            return b"transfer-encoding: chunked\r\n\r\n"
        call = self._call
        assert call is not None
        return b"content-length: %d\r\n\r\n" % call.request_bytes

    def _forward_piece(self, upstream: Upstream, piece: bytes) -> None:
        """Stream one more piece of an upload."""
        data = piece
        if not self._sends_length:
            data = (http1.chunk(piece) if piece else b"") + (http1.LAST_CHUNK if self._request_complete else b"")
        if data:
            upstream.send_more(data)
        self._sent_at = perf_counter()
        if self._request_complete:
            self.heard = True

    def on_upstream_full(self) -> None:
        self.pause_request()
        self.heard = True

    def on_upstream_drained(self) -> None:
        self.resume_request()
        if not self._request_complete:
            self.deadline = NEVER

    # ── relay the answer ──────────────────────────────────────────────────────────────────────────────────────────

    def on_answer(self, answer: Answer) -> None:
        """The provider's head: it passes, with our request id."""
        call, front, named = self._call, self._front, answer.named
        assert call is not None
        status = call.status = answer.start.status
        if own_id := request_id_of(named):
            call.upstream_request_id = own_id
        if self._place_taken:
            self._settle_place(200 <= status < 300)
        if b"content-type" in named:
            kind = self._content_type = text(named[b"content-type"][0])
            if not call.stream and kind.startswith("text/event-stream"):
                call.stream = True
        if b"content-encoding" in named:
            self._content_encoding = text(named[b"content-encoding"][0])
        self._reads_answer = answer.length != NO_BODY
        self._answer_started = True
        if front is not None:
            opening = self._opening
            # in chunks where the body's length is not known, and the client can take them
            chunked = self._answer_chunked = answer.length in _LENGTH_UNKNOWN and not opening.http10
            keep_alive = self._keep_alive = front.keep_alive and not opening.http10
            extra_lines = self._cors_lines() if b"origin" in opening.named else []
            self._held.append(client_head(answer, self._id, extra_lines, chunked, keep_alive))

    def on_answer_body(self, piece: bytes, as_chunk: bytes | None) -> None:
        """Pass a piece of the provider's answer at once. `as_chunk`: as it came framed, where it may pass so."""
        self.heard = True
        tap, call = self._tap, self._call
        if tap is not None and call is not None:  # nearly every piece of a stream
            call.response_bytes += len(piece)
            closing = not tap.keeps(piece) and tap.feed(piece)
        else:
            closing = self._meter(piece) if piece else False
        front = self._front
        if front is None:
            self._drain_on()
            return
        if self._answer_chunked:
            piece = as_chunk or (http1.chunk(piece) if piece else b"")
        if closing and not self._answered:
            self._held.append(piece)
            self._record_closing()
            return
        if self._held:  # the head
            piece = self._held.pop() + piece
        front.send(piece)

    def _record_closing(self) -> None:
        """Clients take a stream's closing event for its end: like that, it waits for the journal."""
        tap, call = self._tap, self._call
        if tap is not None and call is not None and self._closing_segment < 0:
            call.outcome = Outcome.OK._value_
            self._closing_segment = self._proxy.journal.append(self._completion, self._closing_recorded, True)

    def _closing_recorded(self, kept: bool) -> None:
        """Hand on the closing event. Its record takes the intent's place, whose segment may go."""
        needless = self._closing_segment
        if kept:
            needless, self._intent_segment = self._intent_segment, needless
        self._proxy.journal.settle(Counter((needless,)))
        if self.ended:  # what is held goes with the end
            return
        if not kept:
            self._drop_upstream()
            self._end(Outcome.INTERRUPTED, cut=True)
        elif self._front is not None:
            self._answered = True
            held, self._held = self._held, []
            self._front.send(b"".join(held))

    def _drain_on(self) -> None:
        """The client is gone and the usage is still to come: read on for it, within bounds."""
        call = self._call
        if call is not None and call.response_bytes - self._bytes_when_gone > self._proxy.settings.drain_bytes:
            self._drop_upstream()
            self._end(Outcome.CLIENT_GONE)

    def _meter(self, piece: bytes) -> bool:
        """Let the tap see a piece; says whether the answer's closing event came."""
        call = self._call
        assert call is not None
        call.response_bytes += len(piece)
        if self._tap is not None:
            return self._tap.feed(piece)
        if not call.ttft_us:
            call.ttft_us = int((perf_counter() - self._received) * 1e6) or 1
        if self._reads_answer:
            self._reads_answer = False
            self._tap = open_tap(call.format, call.status, self._content_type, self._content_encoding, call.held)
            return self._tap is not None and self._tap.feed(piece)
        return False

    def on_answer_end(self, piece: bytes) -> None:
        """The last piece, which may be empty, waits for the journal."""
        call, front = self._call, self._front
        assert call is not None
        now = perf_counter()
        if piece and self._reads_answer:  # the only piece
            self._reads_answer = False
            call.ttft_us = int((now - self._received) * 1e6) or 1
            call.response_bytes = len(piece)
            self._only_piece = piece
        elif piece:
            self._meter(piece)
        if piece and front is not None:
            self._held.append(http1.chunk(piece) if self._answer_chunked else piece)
        call.provider_us = int((now - self._sent_at) * 1e6)
        self._release_upstream()
        self._whole = True
        if front is None:
            self._end(Outcome.CLIENT_GONE)
        else:
            self._end(Outcome.OK if call.status < 400 else Outcome.PROVIDER_ERROR)

    def pause_answer(self) -> None:
        """The client does not keep up: stop reading the provider; its silence is ours then."""
        if self._upstream is not None and not self._upstream_paused and self._front is not None:
            self._upstream_paused = True
            self._upstream.pause()
            self.deadline = NEVER

    def resume_answer(self) -> None:
        if self._upstream is not None and self._upstream_paused:
            self._upstream_paused = False
            self._upstream.resume()
            self.heard = True

    def _release_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        if self._request_complete:
            upstream.release()
        else:  # answered before it was told everything: what is still to come has no place to go
            upstream.close()

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────

    def on_failed(self, reason: str, *, silent: bool = False) -> None:
        """The provider could not be reached, or broke off; `silent`: did not take the connection in time."""
        self._dial, sent = None, self._upstream is not None
        self._upstream = None
        if self.ended:
            return
        label = self._label
        if silent:
            self._fail(Outcome.TIMEOUT, Refusal(504, "upstream_timeout", f"{label} {reason}."))
            return
        retry = False if sent else None
        self._fail(Outcome.UPSTREAM_FAILED, Refusal(502, "upstream_failed", f"{label} {reason}.", should_retry=retry))

    def check_silence(self, now: float) -> None:
        """Called by the sweep: put the deadline off where the provider was heard, or act on it."""
        if self.heard and self._front is not None:  # a drained answer has one deadline for all of it
            self.heard = False
            if not self._upstream_paused:  # while we paused reading there is none
                self.deadline = now + self._proxy.settings.upstream_timeout
        elif self.deadline < now:
            self._on_deadline()

    def _on_deadline(self) -> None:
        """The provider fell silent, or a drained answer took too long."""
        self.deadline = NEVER
        if self._front is None:  # drained for long enough
            self._drop_upstream()
            self._end(Outcome.CLIENT_GONE)
            return
        seconds = self._proxy.settings.upstream_timeout
        self._drop_upstream()
        self._fail(Outcome.TIMEOUT, refusal.silent(self._label, seconds))

    @property
    def _label(self) -> str:
        target = self._opening.target
        return target.provider.label if target else "the provider"

    def _fail(self, outcome: Outcome, problem: Refusal) -> None:
        """End a call that was journalled and cannot go on: an error if the client has nothing yet, else a cut."""
        if self._answered:  # what happens to the connection now is no part of the call
            self._end(Outcome.OK, cut=True)
            return
        call = self._call
        assert call is not None
        self._settle_place(False)
        call.error_code = problem.code
        call.error_message = problem.message
        started = self._answer_started
        if not started:
            call.status = problem.status
            self._hold_refusal(problem)
        self._end(outcome, cut=started)

    def on_client_gone(self) -> None:
        """The client hung up, or stopped reading for too long."""
        self._front = None
        self._held = []
        if self.ended:
            return
        if self._call is None or self._intent_segment < 0:  # nothing was asked of a provider
            self._settle_place(False)
            self._proxy.budget.release(self)
            self.ended = True
            return
        settings, drains = self._proxy.settings, self._request_complete and not self._answered
        if settings.on_client_gone == "drain" and drains and self._upstream is not None:
            self._bytes_when_gone = self._call.response_bytes
            self.resume_answer()
            self.heard = False
            self.deadline = self._proxy.loop.time() + settings.drain_timeout
            self._proxy.drain(self)
            return
        self._drop_upstream()
        self._end(Outcome.CLIENT_GONE)

    def on_client_silent(self) -> None:
        """The client did not send its body in time."""
        seconds = self._proxy.settings.client_body_timeout
        self._abandon(Refusal(408, "client_timeout", f"no byte of the request body came for {seconds:g} s."))

    def on_bad_body(self, why: str) -> None:
        """The request's body is not framed as its head says."""
        self._abandon(Refusal(400, "bad_http", f"the request body is not valid HTTP: {why}."))

    def cut(self) -> None:
        """Metrion stops: whatever is open ends now, recorded."""
        if not self.ended and self._call is not None and self._intent_segment >= 0:
            self._drop_upstream()
            self._end(Outcome.INTERRUPTED, cut=True)

    def _abandon(self, problem: Refusal) -> None:
        """Refuse in the middle of the request's body: a row either way; an error where the client has nothing yet."""
        if self._intent_segment < 0:
            self._refuse(problem)
            return
        self._drop_upstream()
        self._fail(Outcome.REJECTED if self._sent_at == 0.0 else Outcome.CLIENT_GONE, problem)

    def _drop_upstream(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.drop()

    # ── the end, always ───────────────────────────────────────────────────────────────────────────────────────────

    def _refuse(self, problem: Refusal) -> None:
        """Answer with an error of our own; a row where the account is known."""
        proxy, account = self._proxy, self._account
        self._settle_place(False)
        self._hold_refusal(problem)
        if account is None:
            self.ended = True
            self._hand_on(cut=False)
            return
        call = self._call or refused_call(self._id, account, self._opening.target)
        call.status = problem.status
        call.error_code = problem.code
        call.error_message = problem.message
        if self._intent_segment < 0 and not proxy.admission.refusal_gets_row(account.id, proxy.loop.time()):
            self.ended = True
            proxy.budget.release(self)
            call.outcome = Outcome.REJECTED
            proxy.count_refusal(call)
            self._hand_on(cut=False)
            return
        self._call = call
        self._end(Outcome.REJECTED)

    def _hold_refusal(self, problem: Refusal) -> None:
        front, target = self._front, self._opening.target
        if front is None:
            return
        # A body that is not all here would be read as the next request; a short rest is read and dropped, else the
        # connection ends.
        self._keep_alive = front.keep_alive and not self._opening.http10 and self._request_complete
        self._held = [
            refusal.answer(
                problem,
                target.api.family if target else family_of(self._opening.path),
                self._id.hex(),
                extra_lines=self._cors_lines(),
                close=not self._keep_alive,
                head_only=self._opening.method == b"HEAD",
            )
        ]

    def _end(self, outcome: Outcome, cut: bool = False) -> None:
        """The call is over: write its completion down, then hand on what is held of the answer (or cut it)."""
        assert self._call is not None
        self.ended = True
        self.deadline = NEVER
        if self._place_taken:  # no head came that would count
            self._settle_place(False)
        if not self._answer_started:
            self._proxy.budget.release(self)
        # the text alone: the journal takes twice as long over a member of an enum
        self._call.outcome = Outcome.OK._value_ if self._answered else outcome._value_
        self._cuts = cut
        self._completion_segment = self._proxy.journal.append(self._completion, self._completed, True)

    def _completion(self) -> bytes:
        """The call's record, with what its answer says about itself."""
        call = self._call
        assert call is not None
        reading = call.reading
        if self._only_piece:
            piece, self._only_piece = self._only_piece, b""
            reading = read_at_once(
                call.format, call.status, self._content_type, self._content_encoding, piece, call.held
            )
        elif self._tap is not None:
            reading = self._tap.reading
            if self.ended:
                reading, self._tap = self._tap.finish(), None
        if reading is not None and self._whole:
            reading.done = True
        return completion(call, reading, self._received, self._opening)

    def _completed(self, kept: bool) -> None:
        # To the writer also where the journal could not take it: the row may still be written.
        assert self._call is not None
        self._proxy.ended(self._call, self._intent_segment, self._completion_segment)
        self._hand_on(self._cuts or (self._answer_started and not kept))

    def _hand_on(self, cut: bool) -> None:
        front, self._front = self._front, None
        if front is None:
            return
        if cut:
            front.cut()
            return
        if self._answer_chunked:
            self._held.append(http1.LAST_CHUNK)
        held, self._held = self._held, []
        front.finish(b"".join(held), self._keep_alive, self._request_complete)

    def _settle_place(self, counts: bool) -> None:
        if self._place_taken:
            self._place_taken = False
            call, account = self._call, self._account
            assert call is not None and account is not None
            self._proxy.admission.settle(account.id, account.plan, call.started_ms, counts=counts)

    def _cors_lines(self) -> list[bytes]:
        origin = self._opening.named.get(b"origin")
        return self._proxy.cors.answer_lines(origin[0]) if origin else []
