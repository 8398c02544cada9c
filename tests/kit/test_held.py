"""Texts are held within bounds, each call's and those of all together."""

from __future__ import annotations

from metrion.kit.held import ANSWER_BYTES, Held, Shelf


def test_what_is_added_is_there_until_it_is_released() -> None:
    shelf = Shelf()
    held = Held(shelf, b"request")
    held.add(b"one")
    held.add(b"two")
    assert (held.request, held.pieces) == (b"request", [b"one", b"two"])
    assert shelf.used >= len(b"requestonetwo")
    held.release()
    assert (held.request, held.pieces, shelf.used) == (b"", [], 0)


def test_a_request_without_room_is_not_held() -> None:
    shelf = Shelf(10)
    assert Held(shelf, b"x" * 10).request
    late = Held(shelf, b"x")
    late.add(b"answer")
    assert (late.request, late.pieces, shelf.used) == (b"", [], 10)


def test_an_answer_beyond_its_bound_is_dropped_whole() -> None:
    shelf = Shelf()
    within, beyond = Held(shelf, b"r"), Held(shelf, b"r")
    within.add(b"x" * ANSWER_BYTES)
    beyond.add(b"x" * ANSWER_BYTES)
    beyond.add(b"x")
    beyond.add(b"x" * 100)
    assert within.request and sum(map(len, within.pieces)) == ANSWER_BYTES
    assert (beyond.request, beyond.pieces) == (b"", [])


def test_an_answer_in_small_pieces_has_the_same_bound() -> None:
    held = Held(Shelf(), b"r")
    piece = b"x" * 1000
    for _ in range(ANSWER_BYTES // 1000 - 32):
        held.add(piece)
    assert held.request
    for _ in range(64):
        held.add(piece)
    assert not held.request and not held.pieces


def test_calls_share_the_shelf_and_give_back_what_they_took() -> None:
    shelf = Shelf(100_000)
    held = [Held(shelf, b"r" * 1000) for _ in range(4)]
    for one in held:
        one.add(b"x" * 30_000)
    assert [bool(one.request) for one in held] == [True, True, False, False]
    assert shelf.used <= 100_000
    for one in held:
        one.release()
        one.release()
    assert shelf.used == 0
