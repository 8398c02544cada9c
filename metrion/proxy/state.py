"""What an exchange knows while it is under way: every field of `handler.Exchange`, in the order they come to matter.

Slots, all set at the start: reading a class's default through an instance costs several times as much.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from metrion.accounts.registry import Account
from metrion.call import Call
from metrion.proxy.http1 import CHUNKED
from metrion.proxy.opening import Opening
from metrion.proxy.upstream import Upstream
from metrion.wire.tap import Tap

if TYPE_CHECKING:
    from metrion.proxy.front import Front
    from metrion.proxy.proxy import Proxy

NEVER = float("inf")


class ExchangeState:
    """The fields; `handler.Exchange` says what is done with them."""

    __slots__ = (
        "_account",
        "_answer_chunked",
        "_answer_started",
        "_answered",
        "_budgeted",
        "_bytes_when_gone",
        "_call",
        "_closing_segment",
        "_completion_segment",
        "_content_encoding",
        "_content_type",
        "_cuts",
        "_dial",
        "_form_rest",
        "_front",
        "_held",
        "_id",
        "_intent_segment",
        "_keep_alive",
        "_length",
        "_only_piece",
        "_opening",
        "_pieces",
        "_place_taken",
        "_proxy",
        "_reads_answer",
        "_received",
        "_request_complete",
        "_request_paused",
        "_sends_length",
        "_sent_at",
        "_tap",
        "_upstream",
        "_upstream_paused",
        "_whole",
        "deadline",
        "ended",
        "heard",
    )

    def __init__(self, proxy: Proxy, front: Front, opening: Opening, length: int) -> None:
        self._received = perf_counter()
        self._proxy = proxy
        self._front: Front | None = front
        self._opening = opening
        self._id = next(proxy.ids)
        self._account: Account | None = None
        self._call: Call | None = None
        self._place_taken = False
        self.ended = False

        self._length = length  # of the request's body
        self._pieces: list[bytes] = []  # of the request's body, not sent yet
        self._budgeted = False  # whether pieces of it count in the budget
        self._form_rest = b""  # of a multipart body: where its model's field may have begun
        self._request_complete = length == 0
        self._request_paused = False
        self._sends_length = length != CHUNKED or opening.reads_whole  # the body goes out with it, not in chunks

        self._intent_segment = self._closing_segment = self._completion_segment = -1  # of the journal
        self._dial: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._upstream_paused = False
        self._sent_at = 0.0
        self.deadline = NEVER  # loop time at which the provider has been silent for too long
        self.heard = False  # something came since the sweep last looked: cheaper than a new deadline for each event

        self._answer_started = False  # the client has, or will have, the provider's head
        self._answer_chunked = False
        self._content_type = self._content_encoding = ""
        self._reads_answer = False  # a tap is opened with the first bytes of the body
        self._only_piece = b""  # of the body, where it came in one: read when its completion is written
        self._tap: Tap | None = None
        self._held: list[bytes] = []  # of the answer, not handed on yet
        self._answered = False  # the client has the stream's closing event, and may take its leave
        self._whole = False  # the answer came to its end
        self._bytes_when_gone = 0  # of the answer, when the client left
        self._keep_alive = True
        self._cuts = False  # the client's connection is cut, so that it takes nothing for complete
