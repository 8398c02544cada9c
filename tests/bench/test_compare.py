"""What the soak counts as lost, doubled and wrong: its own judgement, on a few calls written by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bench.__main__ import table
from bench.kill import Sent, compare, usage_of, whole
from bench.measure import Figure


def row(number: int, outcome: str = "ok", **changed: Any) -> dict[str, Any]:
    usage = usage_of(number)
    tokens = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
    return {"requester": str(number), "outcome": outcome, "status": 200, **tokens, **changed}


def test_calls_that_ended_well() -> None:
    calls = [Sent(1, stream=False, answered=True), Sent(2, stream=True), Sent(3, stream=False)]
    # The third was refused while Metrion was down: nobody saw it, so it needs no row.
    report = compare(calls, Counter([1, 2]), [row(1), row(2, "interrupted", input_tokens=0)])
    assert report.ok
    assert (report.sent, report.reached, report.answered, report.interrupted) == (3, 2, 1, 1)


def test_a_call_without_its_row_is_lost() -> None:
    assert compare([Sent(1, stream=False)], Counter([1]), []).lost


def test_two_rows_of_one_call_are_found() -> None:
    assert compare([Sent(1, stream=False)], Counter([1]), [row(1), row(1, "interrupted")]).doubled


def test_a_call_sent_twice_is_found() -> None:
    assert compare([Sent(1, stream=False)], Counter([1, 1]), [row(1)]).sent_twice


@pytest.mark.parametrize("told", [row(1, "interrupted"), row(1, input_tokens=0), row(1, output_tokens=1)])
def test_an_answered_call_must_be_ok_with_its_tokens(told: dict[str, Any]) -> None:
    assert compare([Sent(1, stream=False, answered=True)], Counter([1]), [told]).wrong
    assert compare([Sent(1, stream=False, answered=False)], Counter([1]), [told]).ok


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: [DONE]\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"", False),
    ],
)
def test_when_an_answer_is_whole(answer: bytes, *, expected: bool) -> None:
    assert whole(answer) is expected


def test_the_table_shows_ratios_to_nginx() -> None:
    text = table(
        [Figure("cpu", "µs", {"nginx": 10.0, "metrion": 35.0}), Figure("rest", "ms", {"nginx": 0.0, "metrion": 2.0})]
    )
    assert [line.split() for line in text.splitlines()] == [
        ["nginx", "metrion", "ratio"],
        ["cpu", "10.0", "35.0", "3.50", "x", "µs"],
        ["rest", "0.00", "2.00", "–", "ms"],
    ]
