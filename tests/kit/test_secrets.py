"""Secrets stay secret; text that may hold one is masked, quickly on any text."""

from __future__ import annotations

import copy
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.kit.secrets import Secret, mask_credentials


def test_a_secret_shows_itself_nowhere_but_when_asked() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == b"hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "hunter2" not in shown
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret("a") and not Secret("")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Incorrect API key provided: sk-proj-abcdEFGH1234.", "Incorrect API key provided: sk-proj-***"),
        ("key sk-ant-api03-abc_DEF-123456 is wrong", "key sk-ant-*** is wrong"),
        ("sk-metrion-0123456789abcdef0123456789abcdef.bot", "sk-metrion-***"),
        ("'sk-12345678'", "'sk-***'"),
        ("API key AIzaSyA-1234567890_abcdef not valid", "API key AIza*** not valid"),
        ("xai-AbCd1234EfGh5678", "xai-***"),
        ("Stripe's sk_test_4eC39HqLyjWDarjtT1zdp7dc", "Stripe's sk_test_***"),
        ("whsec_4eC39HqLyjWDarjtT1zdp7dc", "whsec_***"),
        ("Authorization: Bearer abcdefgh12345678==", "Authorization: Bearer ***"),
        ("GET /v1beta/models?alt=sse&key=abcdefgh12345678&x=1", "GET /v1beta/models?alt=sse&key=***&x=1"),
        ("a risk-assessment-model and a task-force-member", "a risk-assessment-model and a task-force-member"),
        ("sk-short", "sk-short"),
        ("bearer of news", "bearer of news"),
        ("", ""),
    ],
)
def test_credentials_are_masked_and_other_text_is_not(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked


def test_a_known_secret_without_a_form_of_its_own_is_masked_too() -> None:
    assert mask_credentials("Mistral: key Xy12 refused", Secret("Xy12"), Secret("")) == "Mistral: key *** refused"


@given(st.from_regex(r"[A-Za-z0-9_-]{20,60}", fullmatch=True), st.text(max_size=20), st.text(max_size=20))
def test_no_key_survives_wherever_it_stands(key: str, before: str, after: str) -> None:
    assert key not in mask_credentials(f"{before} sk-ant-{key} {after}").replace(before, "").replace(after, "")


@pytest.mark.parametrize("part", ["sk-", "Bearer ", "Bearer", "eyJ", "?key=", "AIza", "Bearer \t", "sk-a", " "])
def test_masking_takes_linear_time_on_hostile_text(part: str) -> None:
    def seconds(size: int) -> float:
        text = part * (size // len(part))
        took = []
        for _ in range(3):
            began = time.perf_counter()
            mask_credentials(text)
            took.append(time.perf_counter() - began)
        return min(took)

    assert seconds(400_000) < 40 * seconds(40_000) + 0.05  # quadratic would be 100 times, and seconds
