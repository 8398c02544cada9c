"""What is taken from a document that cannot be parsed can itself be parsed, or the journal's record could not."""

from __future__ import annotations

import msgspec
import pytest

from metrion.wire.tap import open_tap

USAGES = {
    "whole": '{"prompt_tokens":1}',
    "no JSON": "{nonsense}",
    "a lone surrogate": '{"prompt_tokens":1,"tier":"\\ud800"}',
    "a control character": '{"prompt_tokens":1,"tier":"\x01"}',
    "nested": '{"a":' * 2000 + "1" + "}" * 2000,
}


@pytest.mark.parametrize("name", USAGES)
@pytest.mark.parametrize("frame", ['{"model":"m","usage":%s}', '{"model":"m",nonsense,"usage":%s}'])
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_kept_of_a_usage_can_be_recorded(name: str, frame: str, stream: bool) -> None:
    tap = open_tap("openai_chat", 200, "text/event-stream" if stream else "application/json", "")
    assert tap is not None
    document = frame.replace("%s", USAGES[name])
    tap.feed((f"data: {document}\n\n" if stream else document).encode())
    reading = tap.finish()
    assert [bytes(usage).decode() for usage in reading.usage] == ([USAGES[name]] if name == "whole" else [])
    msgspec.json.decode(msgspec.json.encode(reading))
