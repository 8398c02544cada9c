"""Tokens are counted as OpenAI publishes them, and as its own tokenizer does."""

from __future__ import annotations

import hashlib
import lzma
from binascii import a2b_base64
from pathlib import Path

import pytest
import tiktoken
import tiktoken_ext.openai_public as public
from hypothesis import given
from hypothesis import strategies as st

from metrion.errors import StorageError
from metrion.ledger import tokens
from metrion.ledger.tokens import tokenizer

NAMES = ("o200k_base", "cl100k_base")
WORDS = st.sampled_from(
    [
        "Hello",
        " world",
        "'s",
        "'LL",
        "\r\n",
        "\n\n",
        "  ",
        "\t",
        "1234",
        "ÄÖ",
        "ß",
        "你好",
        "é",
        "👩‍👩‍👧",
        "/",
        "--",
        "\x1c",
        "\u200b",
    ]
)


@pytest.fixture(scope="session")
def theirs() -> dict[str, tiktoken.Encoding]:
    """tiktoken's own encodings with our files, which it would otherwise fetch; the hashes are those it asks for."""
    folder = Path(tokens.__file__).parent / "vocabularies"

    def load(url: str, expected_hash: str) -> dict[bytes, int]:
        data = lzma.decompress((folder / f"{url.rpartition('/')[2]}.xz").read_bytes())
        assert hashlib.sha256(data).hexdigest() == expected_hash
        return {a2b_base64(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(public, "load_tiktoken_bpe", load)
        return {name: tiktoken.Encoding(**getattr(public, name)()) for name in NAMES}


# https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
    ],
)
def test_published_counts(text: str, o200k: int, cl100k: int) -> None:
    assert [tokenizer(name).count(text) for name in NAMES] == [o200k, cl100k]


@given(text=st.text(max_size=60) | st.lists(WORDS, max_size=12).map("".join), name=st.sampled_from(NAMES))
def test_any_text_counts_as_with_tiktoken(theirs: dict[str, tiktoken.Encoding], text: str, name: str) -> None:
    assert tokenizer(name).count(text) == len(theirs[name].encode_ordinary(text))


@pytest.mark.parametrize("name", NAMES)
def test_what_looks_like_a_special_token_is_text(theirs: dict[str, tiktoken.Encoding], name: str) -> None:
    text = "<|endoftext|> <|im_start|>"
    assert tokenizer(name).count(text) == len(theirs[name].encode_ordinary(text)) > 2


def test_a_lone_surrogate_is_no_error() -> None:
    assert tokenizer("o200k_base").count("a\ud800b") > 0


@pytest.mark.parametrize("letters", ["A", "ab", "字", " "])
def test_a_long_word_costs_time_by_its_length_and_is_cut_with_little_error(
    theirs: dict[str, tiktoken.Encoding], letters: str
) -> None:
    """65,536 letters merged at once would take minutes."""
    text = letters * (65_536 // len(letters))
    exact = len(theirs["cl100k_base"].encode_ordinary(text))
    assert exact <= tokenizer("cl100k_base").count(text) <= exact + len(text.encode()) // 64


def test_a_damaged_vocabulary_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "o200k_base.tiktoken.xz").write_bytes(lzma.compress(b"YQ== 0\n"))
    monkeypatch.setattr(tokens, "_FOLDER", tmp_path)
    with pytest.raises(StorageError, match="o200k_base is damaged"):
        tokenizer.__wrapped__("o200k_base")
