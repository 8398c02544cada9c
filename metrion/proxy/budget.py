"""How much memory request bodies may take together while they are read whole. Spec §2.6."""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    def pause_request(self) -> None: ...
    def resume_request(self) -> None: ...


class BodyBudget:
    """`limit` bytes for all bodies together; beyond it reading pauses, but never for the last one that still reads: so
    one always ends.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._held: dict[Holder, int] = {}
        self._paused: list[Holder] = []

    def take(self, holder: Holder, size: int) -> None:
        self._used += size
        self._held[holder] = self._held.get(holder, 0) + size
        if self._used > self._limit and len(self._paused) + 1 < len(self._held) and holder not in self._paused:
            self._paused.append(holder)
            holder.pause_request()

    def release(self, holder: Holder) -> None:
        size = self._held.pop(holder, 0)
        if not size:
            return
        self._used -= size
        if self._paused:
            if holder in self._paused:
                self._paused.remove(holder)
            if self._used <= self._limit or len(self._paused) == len(self._held):
                for waiting in self._paused if self._used <= self._limit else self._paused[:1]:
                    waiting.resume_request()
                self._paused = [] if self._used <= self._limit else self._paused[1:]
