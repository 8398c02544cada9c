"""What becomes of a call in the ledger's terms: how a refused one begins, and the record at the end."""

from __future__ import annotations

from time import perf_counter

from metrion.accounts.registry import Account
from metrion.call import Call, Reading
from metrion.kit.ids import id_ms
from metrion.kit.secrets import Secret, mask_credentials
from metrion.ledger.record import COMPLETION, frame
from metrion.proxy.opening import Opening
from metrion.proxy.target import Target

_MESSAGE_CHARACTERS = 2000


def refused_call(request_id: bytes, account: Account, target: Target | None) -> Call:
    """The record of a request that was refused before it was one: its account is known, perhaps no more."""
    return Call(
        id=request_id,
        account_id=account.id,
        started_ms=id_ms(request_id),
        provider=target.provider.name if target else "",
        endpoint=target.endpoint.name if target else "",
        format="",
        mode="stored",
        requested_model=target.model if target else "",
    )


def completion(call: Call, reading: Reading | None, received: float, opening: Opening) -> bytes:
    """The call's end as far as it is known, set down in `call` and as the journal's record of it.

    `received`: `perf_counter` at the request's first byte.
    """
    call.latency_us = int((perf_counter() - received) * 1e6)
    call.reading = reading
    if reading is not None and reading.error:
        call.error_message = call.error_message or reading.error
        reading.error = ""  # it may quote a key, and goes on masked
    if call.error_message:
        sent = Secret(opening.credential.partition(b": ")[2].removeprefix(b"Bearer "))
        call.error_message = mask_credentials(call.error_message, sent)[:_MESSAGE_CHARACTERS]
    return frame(COMPLETION, call)
