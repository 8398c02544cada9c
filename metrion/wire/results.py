"""Results of batches as the providers hand them out: lines of a file, or a list in what tells of the batch.

Sources: https://platform.openai.com/docs/guides/batch; mistralai 3.7, models/batchjob.py, and
https://docs.mistral.ai/studio/batch-processing; google-genai 3.4, batches.py (`_BatchJob_from_mldev`), and
https://ai.google.dev/gemini-api/docs/batch-api; https://docs.x.ai/developers/advanced-api-usage/batch-api.
Anthropic's are in its own file.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire import gemini, mistral, openai_chat, openai_other, openai_responses
from metrion.wire.batch import item_of, keep_item, stand_in
from metrion.wire.format import Format, is_object, is_there, usage_mark


class _Shape(msgspec.Struct):
    """What tells which API answered: the names of the counts, and of what is in them."""

    input_tokens: Raw = Raw()
    input_tokens_details: Raw = Raw()


class _Shapely(msgspec.Struct):
    usage: _Shape | None = None
    usage_info: Raw = Raw()


_decode_shape = msgspec.json.Decoder(_Shapely).decode


def _keep(answer: bytes, id: str, reading: Reading) -> None:
    """Add an item whose answer is of whichever API; `id` stands in where it has none."""
    shape, format = _shape_of(answer)
    own = Reading()
    format.read(answer, own)
    keep_item(reading, item_of(own, id=id or stand_in(answer, reading), shape=shape))


def _shape_of(answer: bytes) -> tuple[str, Format]:
    found = _decode_shape(answer)
    if is_object(found.usage_info):
        return "mistral_ocr", mistral.OCR
    if found.usage and is_there(found.usage.input_tokens):
        if b'"image_tokens"' in bytes(found.usage.input_tokens_details):
            return "openai_images", openai_other.IMAGES
        return "openai_responses", openai_responses.RESPONSES
    return "openai_chat", openai_chat.CHAT


class _Response(msgspec.Struct):
    body: Raw = Raw()


class _Line(msgspec.Struct):
    """A line of OpenAI's and Mistral's result files, and an element of a Mistral job's `outputs`."""

    id: str | None = None
    response: _Response | None = None


class _Job(msgspec.Struct):
    outputs: list[Raw] | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_job = msgspec.json.Decoder(_Job).decode


def _read_line(document: bytes, reading: Reading) -> None:
    line = _decode_line(document)
    if line.response and is_object(line.response.body):
        _keep(bytes(line.response.body), line.id or "", reading)


def _read_job(document: bytes, reading: Reading) -> None:
    for output in _decode_job(document).outputs or ():
        _read_line(bytes(output), reading)


class _Result(msgspec.Struct):
    response: dict[str, Raw] | None = None  # by the kind of request


class _XaiResult(msgspec.Struct):
    batch_request_id: str | None = None
    batch_result: _Result | None = None


class _XaiResults(msgspec.Struct):
    results: list[_XaiResult] | None = None


_decode_xai = msgspec.json.Decoder(_XaiResults).decode


def _read_xai(document: bytes, reading: Reading) -> None:
    for result in _decode_xai(document).results or ():
        for answer in (result.batch_result.response or {}).values() if result.batch_result else ():
            if is_object(answer):
                _keep(bytes(answer), "", reading)


class _Gemini(msgspec.Struct, rename="camel"):
    """A result: a line of a file, or an element of what was asked for inline."""

    response: Raw = Raw()


class _Inlined(msgspec.Struct, rename="camel"):
    inlined_responses: list[_Gemini] | None = None


class _Output(msgspec.Struct, rename="camel"):
    inlined_responses: _Inlined | None = None
    inlined_embed_content_responses: _Inlined | None = None


class _Metadata(msgspec.Struct):
    model: str | None = None
    output: _Output | None = None


class _Operation(msgspec.Struct):
    """A batch of Gemini's: its results stand in `metadata`, and once it is done in `response` as well."""

    name: str | None = None
    metadata: _Metadata | None = None
    response: _Output | None = None


class _Embedded(msgspec.Struct, rename="camel"):
    token_count: Raw = Raw()


_decode_gemini = msgspec.json.Decoder(_Gemini).decode
_decode_operation = msgspec.json.Decoder(_Operation).decode
_decode_embedded = msgspec.json.Decoder(_Embedded).decode


def _read_gemini_line(document: bytes, reading: Reading) -> None:
    result = _decode_gemini(document)
    if is_object(result.response):
        _keep_gemini(bytes(result.response), stand_in(document, reading), "", reading)


def _read_operation(document: bytes, reading: Reading) -> None:
    operation = _decode_operation(document)
    metadata = operation.metadata or _Metadata()
    results = _inlined(metadata.output) or _inlined(operation.response)
    for at, result in enumerate(results):
        if is_object(result.response):
            _keep_gemini(bytes(result.response), f"{operation.name}:{at}", metadata.model or "", reading)


def _inlined(output: _Output | None) -> list[_Gemini]:
    one = (output.inlined_responses or output.inlined_embed_content_responses) if output else None
    return one.inlined_responses or [] if one else []


def _keep_gemini(answer: bytes, id: str, model: str, reading: Reading) -> None:
    own = Reading(model=model)
    gemini.GENERATE.read(answer, own)
    if not own.usage and is_there(count := _decode_embedded(answer).token_count):
        own.usage = [Raw(b'{"promptTokenCount":%b}' % bytes(count))]  # of an embedding
    keep_item(reading, item_of(own, id=id))


_GEMINI_MARK = re.compile(rb'"(?:usageMetadata"\s*:\s*\{|tokenCount"\s*:)')

LINES = Format(usage_mark("usage(?:_info)?"), _read_line, results=True)
JOB = Format(usage_mark("usage(?:_info)?"), _read_job, results=True)
XAI = Format(usage_mark("usage"), _read_xai, results=True)
GEMINI_LINES = Format(_GEMINI_MARK, _read_gemini_line, results=True)
GEMINI = Format(_GEMINI_MARK, _read_operation, results=True)
