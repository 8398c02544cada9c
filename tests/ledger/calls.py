"""Random calls for the property tests of totals."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from metrion.call import Call, Outcome, Reading
from metrion.kit.clock import DAY_MS, HOUR_MS
from tests.ledger.samples import MODEL, make_call

_chats = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 10**7), "completion_tokens": st.integers(0, 10**7)},
    optional={
        "cost_in_usd_ticks": st.integers(0, 10**12),
        "prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": st.integers(0, 10**6)}),
    },
)
_said = st.tuples(
    st.sampled_from(["openai", "grok"]), st.sampled_from([MODEL, "grok-3-mini", "no-price"]), st.just({}) | _chats
)


def calls_around(*borders: int) -> st.SearchStrategy[Call]:
    """Calls that start around these times, where a wrong rounding would show, or in the three days from the first."""
    moments = st.sampled_from([*borders, *(border + HOUR_MS for border in borders)]).flatmap(
        lambda at: st.integers(at - 2, at + 2)
    ) | st.integers(borders[0], borders[0] + 3 * DAY_MS)
    return st.builds(
        _made,
        moments,
        st.integers(1, 2),
        st.sampled_from(list(Outcome)).map(str),
        st.sampled_from([0, 200, 201, 429]),
        st.sampled_from(["", "bot", "other-bot"]),
        st.booleans(),
        _said,
    )


def _made(
    at: int,
    account: int,
    outcome: str,
    status: int,
    requester: str,
    stream: bool,
    said: tuple[str, str, dict[str, Any]],
) -> Call:
    provider, model, usage = said
    raw = [msgspec.Raw(msgspec.json.encode(usage))] if usage else []
    return make_call(
        at,
        account_id=account,
        outcome=outcome,
        status=status,
        requester=requester,
        provider=provider,
        stream=stream,
        latency_us=at % 10_007,
        ttft_us=at % 5003,
        provider_us=at % 9001,
        error_message=f"failed {at} times" if outcome != "ok" else "",
        reading=Reading(model=model, usage=raw, done=at % 2 == 0),
    )
