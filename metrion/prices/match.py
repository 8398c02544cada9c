"""Which models an id may stand for: the id itself, then its dated, aliased and preview forms, never another model.

`genai-prices` often matches by prefix, which also catches siblings (`claude-opus-4-6-fast` begins with
`claude-opus-4-6`, `gemini-1.5-flash-8b` with `gemini-1.5-flash`). So what a clause leaves over of the id must read as a
version, or the id is another model and stays unpriced.
"""

from __future__ import annotations

import re

from genai_prices import types

# What may follow a model's name without making it another model: a date, a build number of three or more digits, a
# stage, a stage's own date (`-preview-05-06`, `-exp-1206`, `-preview-09-2025`), and `:20230824-v2`, as OpenAI's legacy
# completions answer.
_STAGE = r"(?:preview|exp|experimental|beta)(?:-\d{2}-(?:\d{4}|\d{2})|-\d{4}|-\d{2})?"
_DATE = r"20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
_VERSION = re.compile(rf"(?:[-@](?:{_DATE}|\d{{3,8}}|latest|{_STAGE}))*(?::{_DATE}-v\d)?", re.ASCII)
_DATED = re.compile(rf"[-@]{_DATE}$", re.ASCII)
_CUT_SHORT = re.compile(r"(?:-(?:preview|exp))?[-@]?\d*$", re.ASCII)


def normal(model: str) -> str:
    """Return the id as prices know it: lower case, without Gemini's `models/`."""
    return model.lower().removeprefix("models/")


def undated(model: str) -> str:
    """Return the id less the date at its end, or "" where it has none.

    Only a whole date: shorter numbers and `-latest` may be another model (`mistral-large-2402`, `ministral-3b-latest`).
    """
    cut = _DATED.search(model)
    return model[: cut.start()] if cut else ""


def stands_for(model: str, name: str) -> bool:
    """Say whether an id is `name`, or a dated form of it."""
    known = normal(model)
    return normal(name) in (known, undated(known))


def rest_after(clause: types.MatchLogic, model: str) -> int | None:
    """Return how many characters of `model` the clause leaves open (0: it names the whole id); None: no match."""
    match clause:
        case types.ClauseEquals(equals=name):
            return 0 if model == name.lower() else None
        case types.ClauseRegex(regex=pattern):
            return 0 if re.search(pattern, model) else None
        case types.ClauseStartsWith(starts_with=name) | types.ClauseContains(contains=name):
            return _rest_after_prefix(model, name.lower())
        case types.ClauseEndsWith(ends_with=name):
            return 0 if model == name.lower() else None
        case types.ClauseOr(or_=clauses):
            return min((rest for one in clauses if (rest := rest_after(one, model)) is not None), default=None)
        case types.ClauseAnd(and_=clauses):
            rests = [rest_after(one, model) for one in clauses]
            return None if None in rests else max(rest for rest in rests if rest is not None)


def _rest_after_prefix(model: str, name: str) -> int | None:
    """Accept what follows a prefix if it is a version; `ft:` ids end in names their owner chose.

    A prefix may end inside a version (`claude-sonnet-4-2025`, `gemini-2.5-flash-lite-preview`): try that version whole.
    """
    if not model.startswith(name):
        return None
    starts = (len(name), len(_CUT_SHORT.sub("", name)))
    if name.startswith("ft:") or any(_VERSION.fullmatch(model, start) for start in starts):
        return len(model) - len(name)
    return None
