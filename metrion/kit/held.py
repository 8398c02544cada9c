"""Held: the texts of a call, kept in memory until its row is written, for an estimate where its answer tells no usage.

Never journalled, stored or logged, and within bounds: a call that needs more, or for which there is no room beside the
others, is not estimated.
"""

from __future__ import annotations

REQUEST_BYTES = 256 * 1024
ANSWER_BYTES = 1024 * 1024  # of events, some 3,000 tokens: an event is a few hundred bytes and tells one token or two
SHELF_BYTES = 64 * 1024 * 1024
_SLAB_BYTES = 32 * 1024  # taken at once, so that an event costs no look at the shelf


class Shelf:
    """Room for what all calls hold, in bytes. Taken by the event loop, given back by the writer's thread.

    Each of the two counts for itself, so neither needs a lock.
    """

    def __init__(self, size: int = SHELF_BYTES) -> None:
        self._size = size
        self._taken = 0
        self._given_back = 0

    @property
    def used(self) -> int:
        return self._taken - self._given_back

    def take(self, size: int) -> bool:
        """Whether there was room."""
        if self.used + size > self._size:
            return False
        self._taken += size
        return True

    def give_back(self, size: int) -> None:
        self._given_back += size


class Held:
    """One call's request and its answer's pieces, uncompressed. Empty (`request` is b"") once it was dropped."""

    __slots__ = ("_room", "_shelf", "_size", "pieces", "request")

    def __init__(self, shelf: Shelf, request: bytes) -> None:
        self.request = b""
        self.pieces: list[bytes] = []
        self._shelf = shelf
        self._size = 0  # of what was taken from the shelf
        self._room = 0  # of it, what is left for pieces
        if shelf.take(len(request)):
            self._size = len(request)
            self.request = request

    def add(self, piece: bytes) -> None:
        """Hold one more piece of the answer."""
        self.pieces.append(piece)
        self._room -= len(piece)
        if self._room < 0:
            self._make_room()

    def _make_room(self) -> None:
        slab = max(_SLAB_BYTES, -self._room)
        within = self._size + slab <= len(self.request) + ANSWER_BYTES
        if self.request and within and self._shelf.take(slab):
            self._size += slab
            self._room += slab
        else:
            self.drop()

    def drop(self) -> None:
        """Let the texts go: they are not needed, or too long. Their room is given back with the row."""
        self.request = b""
        self.pieces = []
        self._room = 0

    def release(self) -> None:
        """Give the room back; on the writer's thread, when the row is written."""
        self.drop()
        size, self._size = self._size, 0
        self._shelf.give_back(size)
