"""Call: the one record that travels from the socket to the row. Read this first.

A client's request becomes a `Call` when it is admitted. The proxy fills in what it saw (times, sizes, status, what
the answer said about itself), the journal keeps it, the writer prices it and writes it as one row. Nothing else
travels.

Each call ends with exactly one `Outcome` and becomes exactly one row.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metrion.kit.held import Held


class Outcome(StrEnum):
    """How a call ended; a closed list."""

    OK = "ok"  # the provider answered below 400, to its last byte
    PROVIDER_ERROR = "provider_error"  # the provider answered 400 or above
    REJECTED = "rejected"  # Metrion refused it; the provider never saw it
    TIMEOUT = "timeout"  # the provider fell silent
    UPSTREAM_FAILED = "upstream_failed"  # the provider could not be reached, or broke off
    CLIENT_GONE = "client_gone"  # the client left before the provider's last byte
    INTERRUPTED = "interrupted"  # Metrion itself stopped in the middle
    CACHED = "cached"  # answered from the response cache


NOT_ERRORS = frozenset(
    one.value for one in (Outcome.OK, Outcome.CACHED, Outcome.CLIENT_GONE, Outcome.REJECTED)
)  # refusals are counted apart


class Reading(msgspec.Struct, omit_defaults=True):
    """What an answer said about itself, as bytes seen; gathered while it passes, understood later by `wire`.

    Cheap to build: `usage` holds the provider's usage objects verbatim, in the order they came.
    """

    model: str = ""
    response_id: str = ""
    service_tier: str = ""
    usage: list[msgspec.Raw] = msgspec.field(default_factory=list)
    tools: dict[str, int] = msgspec.field(default_factory=dict)  # billable server tool calls seen outside `usage`
    facts: dict[str, str] = msgspec.field(default_factory=dict)  # whatever else a format needs to price the call
    error: str = ""  # an error's message, also one inside a 200 stream
    done: bool = False  # the format's closing event was seen (streams)


class Call(msgspec.Struct, array_like=True):
    """One proxied request and its answer. Times of day are Unix milliseconds; durations are microseconds; sizes are
    bytes.
    """

    id: bytes  # 16 bytes, sortable by start
    account_id: int
    started_ms: int
    provider: str
    endpoint: str  # "chat.completions", "messages", …
    format: str  # the name of the wire format that reads its usage; "" where none does
    mode: str  # "stored" or "pass_through"
    requester: str = ""
    requested_model: str = ""
    stream: bool = False
    request_bytes: int = 0
    status: int = 0  # HTTP; 0 where no answer came
    outcome: str = ""
    error_code: str = ""  # Metrion's own errors only
    error_message: str = ""
    latency_us: int = 0
    ttft_us: int = 0
    provider_us: int = 0
    response_bytes: int = 0
    upstream_request_id: str = ""
    reading: Reading | None = None
    held: Held | None = None  # never journalled: see `ledger.record`
    characters: int = 0  # of a text to be spoken, which is billed by its length; 0 for other calls
