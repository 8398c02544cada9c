from __future__ import annotations

import pytest

from metrion.wire.error_body import LENGTH, message
from tests.wire.answers import document, events, read


@pytest.mark.parametrize(
    "body",
    [
        document({"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}),
        document({"error": {"message": "no such model", "type": "x", "param": None, "code": None}}),
        document({"code": "Client specified an invalid argument", "error": "no such model"}),
        document([{"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}}]),
        document({"object": "error", "message": "no such model", "type": "invalid_model", "code": "1500"}),
        document({"detail": [{"loc": ["body", "model"], "msg": "no such model", "type": "missing"}]}),
        document({"object": "error", "message": {"detail": [{"msg": "no such model"}]}}),
        document({"detail": "no such model"}),
        events({"error": {"message": "no such model"}}, end="\r\n"),
        b"no such model\n",
    ],
)
def test_the_message_is_found_in_every_shape(body: bytes) -> None:
    assert message(body) == "no such model"
    assert read("", body, status=404).error == "no such model"


def test_several_messages_stand_beside_each_other() -> None:
    assert message(document({"detail": [{"msg": "a"}, {"msg": "b"}]})) == "a; b"


def test_an_unknown_shape_is_shown_as_it_is() -> None:
    assert message(b'{"oops": 1}') == '{"oops": 1}'
    assert message(b"<html>\xff</html>") == "<html>\ufffd</html>"
    assert message(b"") == ""


def test_deep_nesting_ends() -> None:
    assert message(b'{"error":' * 50 + b'"x"' + b"}" * 50).startswith('{"error"')
    assert message(b"[" * 100_000).startswith("[[")


@pytest.mark.parametrize("length", [LENGTH, LENGTH + 1])
def test_a_message_is_cut_to_its_length(length: int) -> None:
    assert message(document({"error": "é" * length})) == "é" * LENGTH


def test_credentials_are_masked() -> None:
    secret = "sk-ant-" + "abcdefghijklmnop" * 2
    assert "abcdefghijklmnop" not in message(document({"error": {"message": f"bad key {secret}"}}))
    assert "abcdefghijklmnop" not in message(document({"error": "x" * (LENGTH - 10) + f" {secret}"}))


def test_an_endless_error_body_is_read_in_part() -> None:
    assert len(read("openai_chat", b"x" * 3_000_000, status=502, cuts=range(0, 3_000_000, 60_000)).error) == LENGTH
