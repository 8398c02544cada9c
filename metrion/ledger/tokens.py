"""Tokens of a text, counted as OpenAI's models cut it: byte-pair encoding, off the hot path, without the network.

In Python, since it runs beside the event loop: a native tokenizer builds its tables with the interpreter's lock held,
and nobody's call moves for that third of a second. Tests compare it with tiktoken.
"""

from __future__ import annotations

import hashlib
import lzma
from binascii import a2b_base64
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex

from metrion.errors import StorageError

# Patterns and hashes: https://github.com/openai/tiktoken, tiktoken_ext/openai_public.py.
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PATTERNS = {
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION + "|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION + "|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
_SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
_FOLDER = Path(__file__).parent / "vocabularies"
_LONGEST = 64  # bytes merged at once: work grows with their square, and a cut costs a token at most
_REMEMBERED = 10_000  # pieces
_NONE = 1 << 62  # the rank of a pair that is no token


@cache
def tokenizer(name: str) -> Tokenizer:
    """The tokenizer `o200k_base` or `cl100k_base`: some 30 MB, read once. Raises StorageError for a damaged file."""
    data = lzma.decompress((_FOLDER / f"{name}.tiktoken.xz").read_bytes())
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise StorageError(f"the vocabulary {name} is damaged; install Metrion again")
    tokens = (line.split(b" ") for line in data.splitlines())
    return Tokenizer(_PATTERNS[name], {a2b_base64(token): int(rank) for token, rank in tokens})


class Tokenizer:
    """Counts by one vocabulary. Belongs to one thread."""

    def __init__(self, pattern: str, ranks: dict[bytes, int]) -> None:
        self._pieces = regex.compile(pattern).finditer
        self._ranks = ranks
        self._known: dict[bytes, int] = {}  # how many tokens pieces are that are more than one

    def count(self, text: str) -> int:
        """How many tokens `text` is; special ones count as the text they are."""
        ranks, count = self._ranks, 0
        for found in self._pieces(text):
            piece = found[0].encode("utf-8", "replace")
            count += 1 if piece in ranks else self._several(piece)
        return count

    def _several(self, piece: bytes) -> int:
        """The tokens of a piece that is not one: of a long one by parts, merged in bounded time."""
        count = 0
        for at in range(0, len(piece), _LONGEST):
            part = piece[at : at + _LONGEST]
            known = self._known.get(part)
            if known is None:
                known = _merge(self._ranks, part)
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[part] = known
            count += known
        return count


def _merge(ranks: dict[bytes, int], piece: bytes) -> int:
    """How many tokens are left of `piece` when, as long as there is one, the pair of lowest rank was merged."""
    parts = [piece[at : at + 1] for at in range(len(piece))]
    pairs = [ranks.get(one + two, _NONE) for one, two in pairwise(parts)]
    while pairs and (best := min(pairs)) != _NONE:
        at = pairs.index(best)
        parts[at] += parts.pop(at + 1)
        del pairs[at]
        if at < len(pairs):
            pairs[at] = ranks.get(parts[at] + parts[at + 1], _NONE)
        if at:
            pairs[at - 1] = ranks.get(parts[at - 1] + parts[at], _NONE)
    return len(parts)
