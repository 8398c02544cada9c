"""Which endpoint a path is, and which format reads its answers; a path nobody listed is named and never refused."""

from __future__ import annotations

import pytest

from metrion.ledger.metered import FETCHES
from metrion.providers import PROVIDERS
from metrion.providers.provider import Family
from metrion.proxy.target import Router, Target, family_of
from metrion.wire.tap import FORMATS


def target(method: str, path: str) -> Target:
    found = Router().find(method.encode(), b"/api/proxy" + path.encode(), b"", {})
    assert found is not None
    return found


def test_every_format_that_a_rule_names_exists_and_each_is_used() -> None:
    apis = [api for provider in PROVIDERS.values() for api in (provider.api, provider.native) if api]
    used = {rule.endpoint.format for api in apis for rule in api.rules} - {""}
    assert used == set(FORMATS)


def test_every_fetch_is_an_endpoint() -> None:
    apis = [api for provider in PROVIDERS.values() for api in (provider.api, provider.native) if api]
    assert {rule.endpoint.name for api in apis for rule in api.rules} >= FETCHES


@pytest.mark.parametrize(
    ("method", "path", "name", "format"),
    [
        ("POST", "/openai/v1/responses/resp_1/cancel", "responses.cancel", "openai_responses"),
        ("POST", "/openai/v1/responses/compact", "responses.compact", "openai_responses"),
        ("POST", "/openai/v1/threads/runs", "threads.runs", "openai_runs"),
        ("POST", "/openai/v1/threads/thread_1/runs", "threads.runs", "openai_runs"),
        ("POST", "/openai/v1/threads/thread_1/runs/run_1/submit_tool_outputs", "threads.runs", "openai_runs"),
        ("GET", "/openai/v1/threads/thread_1/runs/run_1", "threads.runs.retrieve", "openai_runs"),
        ("GET", "/openai/v1/threads/thread_1/runs", "threads", ""),
        ("GET", "/openai/v1/responses/resp_1/input_items", "responses", ""),
        ("POST", "/openai/v1/videos", "videos", ""),
        ("POST", "/mistral/v1/conversations", "conversations", "mistral_conversations"),
        ("POST", "/mistral/v1/conversations/conv_1", "conversations", "mistral_conversations"),
        ("POST", "/mistral/v1/conversations/conv_1/restart", "conversations", "mistral_conversations"),
        ("GET", "/mistral/v1/conversations/conv_1", "conversations", ""),
        ("POST", "/mistral/v1/chat/classifications", "classifications", "openai_embeddings"),
        ("POST", "/mistral/v1/moderations", "moderations", "openai_embeddings"),
        ("POST", "/openai/v1/moderations", "moderations", "count_only"),
        ("GET", "/mistral/v1/batch/jobs/job_1", "batch.jobs.retrieve", "mistral_batch"),
        ("GET", "/mistral/v1/batch/jobs", "batch", ""),
        ("GET", "/mistral/v1/files/file_1/content", "files.content", "openai_batch_results"),
        ("GET", "/grok/v1/batches/b/results", "batches.results", "xai_batch_results"),
        ("GET", "/grok/v1/batches/b", "batches", ""),
        ("POST", "/grok/v1/images/edits", "images.edits", "openai_images"),
        ("GET", "/gemini/v1beta/batches/b", "batches.retrieve", "gemini_batch"),
        ("POST", "/gemini/v1beta/batches/b:cancel", "batches", ""),
        ("POST", "/gemini/v1beta/models/veo-3:predictLongRunning", "models", ""),
        ("GET", "/gemini/v1beta/files/f:download", "files.download", "gemini_batch_results"),
        ("GET", "/gemini/download/v1beta/files/f:download", "files.download", "gemini_batch_results"),
        ("GET", "/gemini/v1beta/files/f", "files", ""),
        ("POST", "/gemini/v1beta/interactions/i/cancel", "interactions.cancel", "gemini_interactions"),
        ("GET", "/v1/messages/batches/b/results", "messages.batches.results", "anthropic_batch_results"),
        ("GET", "/v1/messages/batches/b", "messages.batches", ""),
    ],
)
def test_a_path_is_an_endpoint_of_a_format(method: str, path: str, name: str, format: str) -> None:
    endpoint = target(method, path).endpoint
    assert (endpoint.name, endpoint.format) == (name, format)


@pytest.mark.parametrize(
    ("path", "speaks"),
    [("/openai/v1/audio/speech", True), ("/mistral/v1/audio/speech", True), ("/openai/v1/audio/transcriptions", False)],
)
def test_speech_is_read_for_its_text(path: str, speaks: bool) -> None:
    endpoint = target("POST", path).endpoint
    assert (endpoint.speaks, endpoint.reads_body, endpoint.checks_body) == (speaks, speaks, False)


def test_googles_downloads_go_to_google_as_they_came() -> None:
    found = target("GET", "/gemini/download/v1beta/files/f:download")
    assert found.path == b"/download/v1beta/files/f:download"
    assert (found.api.family, family_of(b"/api/proxy/gemini/download/x")) == (Family.GEMINI, Family.GEMINI)
    assert target("GET", "/openai/download/x").path == b"/v1/download/x"
