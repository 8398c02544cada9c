"""The memory of request bodies read whole: bounded, and never so that all wait for each other. Spec §2.6."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from metrion.proxy.budget import BodyBudget
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider
from tests.proxy.talk import CHAT, connect, head, marked, read_answer, status_of


class Body:
    """A request that is read until it is paused."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.paused = False

    def pause_request(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_request(self) -> None:
        assert self.paused
        self.paused = False


@given(st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_all_bodies_end_whatever_their_order(limit: int, sizes: list[int], random: object) -> None:
    budget, bodies = BodyBudget(limit), [Body(size) for size in sizes]
    held: dict[Body, int] = {}
    while bodies:
        free = [body for body in bodies if not body.paused]
        assert free, "all wait for each other"
        body = random.choice(free)  # type: ignore[attr-defined]
        piece = min(body.left, 3)
        body.left -= piece
        held[body] = held.get(body, 0) + piece
        budget.take(body, piece)
        if sum(held.values()) > limit:  # whoever goes on beyond the limit is the only one to
            assert sum(not one.paused for one in held) <= 1 or body.paused
        if not body.left:
            budget.release(body)
            del held[body]
            bodies.remove(body)
            body.paused = False


def test_bodies_larger_than_the_budget_together_all_pass(
    new_metrion: NewMetrion, fake: FakeProvider, mark: str
) -> None:
    server = new_metrion({"METRION_MAX_BUFFERED_BYTES": "300000"})
    body = b'{"model":"m","messages":["' + b"x" * 250_000 + b'"]}'

    def ask(_: int) -> int:
        with connect(server.port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(head("POST", CHAT, [*marked(server.token, mark), ("Content-Length", str(len(body)))]))
            for at in range(0, len(body), 20_000):
                connection.sendall(body[at : at + 20_000])
            return status_of(read_answer(connection))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [200] * 16
    assert [seen.body_bytes for seen in fake.named(mark)] == [len(body)] * 16
