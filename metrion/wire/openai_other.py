"""OpenAI's images, audio and runs, and answers of which only the names are wanted.

Sources: openai-python 3.52, types/images_response.py, image_gen_completed_event.py, audio/transcription*.py,
beta/threads/run.py; https://platform.openai.com/docs/api-reference/audio/speech-audio-done-event.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.counts import Counts, Known
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_there, keep_usage, replace_usage, usage_mark
from metrion.wire.openai_responses import understand_images, understand_svg
from metrion.wire.usage import Part, Usage, total

CHARACTERS = "characters"  # the fact that says how long a text is that was to be spoken
_DETAILS = frozenset({"text_tokens", "audio_tokens"})
_KNOWN: Known = {
    "seconds": None,
    "input_tokens": None,
    "input_token_details": _DETAILS,
    "output_tokens": None,
    "output_token_details": _DETAILS,
    "total_tokens": None,
}

_DONE = (
    ".completed",
    ".done",
)  # how the types of closing events end: "image_generation.completed", "transcript.text.done"


class _Nothing(msgspec.Struct):
    """An object of which only the presence is counted."""


class _Answer(msgspec.Struct):
    """Images, a transcription, sound, or one of their events."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    data: list[_Nothing] | None = None
    quality: str | None = None
    size: str | None = None
    duration: float | str | None = None  # seconds; as text in verbose transcriptions of before 2025
    usage: Raw = Raw()
    svg_usage: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Answer).decode


def _read_names(document: bytes, reading: Reading) -> None:
    _take_names(_decode(document), document, reading)


def _take_names(answer: _Answer, document: bytes, reading: Reading) -> None:
    reading.model = answer.model or reading.model
    reading.response_id = answer.id or reading.response_id
    reading.done = reading.done or (answer.type or "").endswith(_DONE)
    if is_there(answer.error):
        reading.error = message(document)


def _read_images(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    _take_names(answer, document, reading)
    keep_usage(reading, answer.usage)
    keep_usage(reading, answer.svg_usage)
    facts = {"quality": answer.quality, "size": answer.size}
    reading.facts.update({name: fact for name, fact in facts.items() if fact})
    if answer.data:
        reading.facts["images"] = str(len(answer.data))


def _read_audio(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    _take_names(answer, document, reading)
    replace_usage(reading, answer.usage)
    if answer.duration is not None:
        reading.facts["seconds"] = str(answer.duration)


NAMES = Format(usage_mark("usage"), _read_names)
IMAGES = Format(usage_mark("usage"), _read_images)
AUDIO = Format(usage_mark("usage"), _read_audio)


class _Run(msgspec.Struct):
    """A run of an assistant, or an event that carries one; other objects of its stream have other names."""

    object: str | None = None
    id: str | None = None
    model: str | None = None
    usage: Raw = Raw()
    last_error: Raw = Raw()


_decode_run = msgspec.json.Decoder(_Run).decode


def _read_run(document: bytes, reading: Reading) -> None:
    run = _decode_run(document)
    if run.object != "thread.run":
        return
    reading.model = run.model or reading.model
    reading.response_id = run.id or reading.response_id
    replace_usage(reading, run.usage)
    reading.done = reading.done or bool(reading.usage)
    if is_there(run.last_error):
        reading.error = message(bytes(run.last_error))


RUNS = Format(usage_mark("usage"), _read_run, b"[DONE]")


def understand_image_answer(usages: list[dict[str, Any]], reading: Reading) -> Usage | None:
    """The counts of an image answer: tokens where the model is billed by tokens, else how many images there are."""
    parts = [
        understand_svg(usage) if "model" in usage else Part(reading.model, understand_images(usage)) for usage in usages
    ]
    if len(parts) > 1:
        return total(parts)
    facts = {name: fact for name, fact in reading.facts.items() if name in ("quality", "size")}
    if parts:
        parts[0].usage.facts |= facts
        return parts[0].usage
    images = int(reading.facts.get("images", 0))
    return Usage(quantities={"images": images}, facts=facts) if images else None


def understand_audio(usage: dict[str, Any] | None, reading: Reading) -> Usage | None:
    """The counts of a transcription or of speech: tokens, or else the length of the sound or of the text."""
    if usage is None:
        if seconds := reading.facts.get("seconds"):
            return Usage(quantities={"audio_ms": round(float(seconds) * 1000)})
        characters = int(reading.facts.get(CHARACTERS, 0))
        return Usage(quantities={"characters": characters}) if characters else None
    counts = Counts(usage)
    if counts.has("seconds"):
        length = counts.milliseconds(usage["seconds"], "seconds")
        return counts.check(Usage(quantities={"audio_ms": length}), known=_KNOWN)
    heard = Usage(
        input_tokens=counts.take("input_tokens"),
        output_tokens=counts.take("output_tokens"),
        audio_input_tokens=counts.take("input_token_details", "audio_tokens"),
        audio_output_tokens=counts.take("output_token_details", "audio_tokens"),
    )
    return counts.check(heard, counts.take("total_tokens"), known=_KNOWN)
