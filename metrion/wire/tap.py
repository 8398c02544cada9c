"""Tap: reads an answer while it passes.

Contract: nothing here delays, alters or breaks an answer. `open_tap` and a tap's methods do not raise; what cannot be
decompressed or parsed gives a Reading that knows less, and a bug of ours is caught here, once, and named in its facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from metrion.call import Reading
from metrion.kit.held import Held
from metrion.wire import anthropic, gemini, mistral, openai_chat, openai_other, openai_responses, results
from metrion.wire.batch import ResultsReader
from metrion.wire.body import BodyReader, ErrorReader
from metrion.wire.format import LIMIT, Format, read
from metrion.wire.inflate import Inflater, UnreadableError, is_identity
from metrion.wire.jsonarray import ArrayReader
from metrion.wire.sse import SseReader

FORMATS: dict[str, Format] = {
    "anthropic_messages": anthropic.MESSAGES,
    "anthropic_complete": anthropic.COMPLETE,
    "anthropic_batch_results": anthropic.BATCH_RESULTS,
    "openai_chat": openai_chat.CHAT,
    "openai_completions": openai_chat.CHAT,
    "openai_embeddings": openai_chat.CHAT,
    "openai_responses": openai_responses.RESPONSES,
    "openai_images": openai_other.IMAGES,
    "openai_audio": openai_other.AUDIO,
    "openai_runs": openai_other.RUNS,
    "openai_batch_results": results.LINES,
    "gemini_generate": gemini.GENERATE,
    "gemini_embed": gemini.GENERATE,
    "gemini_interactions": gemini.INTERACTIONS,
    "gemini_batch": results.GEMINI,
    "gemini_batch_results": results.GEMINI_LINES,
    "mistral_ocr": mistral.OCR,
    "mistral_conversations": mistral.CONVERSATIONS,
    "mistral_batch": results.JOB,
    "xai_batch_results": results.XAI,
    "count_only": openai_other.NAMES,
}
_LINES = {"anthropic_batch_results", "openai_batch_results", "gemini_batch_results"}
_BLANK = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, in however many pieces, and white space
_EVENT_STARTS = (b"d", b"e", b"i", b"r", b":")  # data, event, id, retry, a comment


class Tap(Protocol):
    """Reads one answer's body; see `open_tap`."""

    @property
    def reading(self) -> Reading:
        """What was seen so far."""

    @property
    def keeps(self) -> Callable[[bytes], bool]:
        """Takes a piece that may be looked at later, and says so; `feed` any other. For the sake of streams."""

    def feed(self, data: bytes) -> bool:
        """Take the body as on the wire (chunked framing removed), cut anywhere.

        True once the event was seen that clients take for the end of the stream (`Format.closing`).
        """

    def finish(self) -> Reading:
        """Say that the body ended, or was cut, and get whatever was seen."""


class _Reader(Protocol):
    def feed(self, data: bytes) -> None: ...
    def finish(self) -> None: ...


def open_tap(
    format: str, status: int, content_type: str, content_encoding: str, held: Held | None = None
) -> Tap | None:
    """Open a tap for an answer with this HTTP status and these headers, or None where there is nothing to read.

    `format` is a key of `FORMATS` or "": of an answer without a known format only an error is read. `held` is given
    the pieces of a stream, uncompressed.
    """
    known = FORMATS.get(format)
    if status < 400 and (known is None or content_type.lower().startswith(("audio/", "image/", "video/"))):
        return None
    return _BodyTap(format, status, content_type, content_encoding, held)


def read_at_once(
    format: str, status: int, content_type: str, content_encoding: str, body: bytes, held: Held | None = None
) -> Reading | None:
    """The Reading of a body that came in one piece: what a tap would give, without one where it is plain JSON."""
    known = FORMATS.get(format)
    if (
        known is None
        or status >= 400
        or content_encoding
        or format in _LINES
        or len(body) > LIMIT
        or not body.startswith(b"{")
    ):
        tap = open_tap(format, status, content_type, content_encoding, held)
        if tap is None:
            return None
        tap.feed(body)
        return tap.finish()
    reading = Reading()
    try:
        read(known, body, reading)
    except Exception as bug:  # metering must never break an answer
        reading.facts["tap_failed"] = type(bug).__name__
    return reading


class _BodyTap:
    """Decompresses where needed, finds out how the body is framed, and feeds the reader for that."""

    __slots__ = ("_closes", "_content_type", "_format", "_held", "_next", "_reader", "_status", "keeps", "reading")

    def __init__(self, format: str, status: int, content_type: str, content_encoding: str, held: Held | None) -> None:
        self._format = format
        self._status = status
        self._content_type = content_type
        self._held = held
        self.reading = Reading()
        self._closes = status < 400 and bool(FORMATS[format].closing)
        self._reader: _Reader | None = None
        self.keeps: Callable[[bytes], bool] = _keeps_nothing
        self._next: Callable[[bytes], None] = self._begin
        if not is_identity(content_encoding):
            try:
                self._next = Inflater(content_encoding, self._pass_on).feed
            except UnreadableError:
                self._next = _ignore

    def feed(self, data: bytes) -> bool:
        try:
            self._next(data)
        except UnreadableError:
            self._next = _ignore
        except Exception as bug:  # metering must never break an answer
            self._give_up(bug)
        return self._closes and self.reading.done

    def finish(self) -> Reading:
        try:
            if self._reader is not None:
                self._reader.finish()
        except Exception as bug:
            self._give_up(bug)
        return self.reading

    def _begin(self, data: bytes) -> None:
        """Take uncompressed bytes until the reader is chosen; from then on it is fed directly."""
        self._pass_on(data)
        reader = self._reader
        if reader is not None:
            self._next = reader.feed
            if isinstance(reader, SseReader):
                self.keeps = reader.keeps

    def _pass_on(self, data: bytes) -> None:
        if self._reader is None:
            data = data.lstrip(_BLANK)
            if not data:
                return
            self._reader = self._choose(data)
        self._reader.feed(data)

    def _choose(self, start: bytes) -> _Reader:
        """What a body begins with tells more than its content type, which recorders and gateways get wrong."""
        if self._status >= 400:
            return ErrorReader(self.reading)
        format = FORMATS[self._format]
        if self._format in _LINES:
            return ResultsReader(format, self.reading)
        if start.startswith(b"{"):
            return BodyReader(format, self.reading)
        if start.startswith(b"["):
            return ArrayReader(format, self.reading)
        if "event-stream" in self._content_type or start.startswith(_EVENT_STARTS):
            return SseReader(format, self.reading, self._held)
        return _Deaf()

    def _give_up(self, bug: Exception) -> None:
        self._next, self.keeps = _ignore, _keeps_nothing
        self.reading.facts["tap_failed"] = type(bug).__name__


class _Deaf:
    """Stands in where there is nothing to understand: a transcript as text, sound, a page of HTML."""

    def feed(self, data: bytes) -> None: ...
    def finish(self) -> None: ...


def _keeps_nothing(data: bytes) -> bool:
    return False


def _ignore(data: bytes) -> None:
    """What comes after a body turned out to be unreadable."""
