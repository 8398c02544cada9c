"""Limits: what passes on both sides of each border, and that memory and lock-out are bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.accounts.limits import LIMITS, Kind, Limits, account_key, address_key


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
def limits(clock: Monotonic) -> Limits:
    return Limits(clock)


@pytest.mark.parametrize("kind", LIMITS)
def test_as_many_as_allowed_pass_and_one_more_waits(limits: Limits, clock: Monotonic, kind: Kind) -> None:
    allowed, window = LIMITS[kind]
    assert [limits.take(kind, "a") for _ in range(allowed)] == [0.0] * allowed
    assert limits.take(kind, "a") == window
    clock.now += window - 1
    assert limits.take(kind, "a") == 1
    assert limits.take(kind, "b") == 0
    clock.now += 1
    assert [limits.take(kind, "a") for _ in range(allowed)] == [0.0] * allowed
    assert limits.take(kind, "a") == window


def test_the_window_slides(limits: Limits, clock: Monotonic) -> None:
    for _ in range(10):
        assert limits.take("login_account", "1") == 0
        clock.now += 60
    assert limits.take("login_account", "1") == 0  # the first is ten minutes old
    assert limits.take("login_account", "1") == 60


def test_refused_attempts_do_not_make_the_wait_longer(limits: Limits, clock: Monotonic) -> None:
    for _ in range(5):
        limits.take("send_account", "1")
    for _ in range(3600):
        assert limits.take("send_account", "1") > 0
        clock.now += 1
    assert limits.take("send_account", "1") == 0


def test_success_takes_the_accounts_failures_back(limits: Limits) -> None:
    for _ in range(10):
        limits.take("login_account", "1")
    limits.reset("login_account", "1")
    limits.reset("login_account", "never seen")
    assert limits.take("login_account", "1") == 0


def test_kinds_are_counted_apart(limits: Limits) -> None:
    for _ in range(10):
        limits.take("login_account", "1")
    assert limits.take("code_account", "1") == 0


def test_memory_is_bounded_and_the_longest_unused_of_a_kind_goes(clock: Monotonic) -> None:
    limits = Limits(clock, keys=10 * len(LIMITS))
    for number in range(30):
        limits.take("login_account", "kept")  # used again and again
        limits.take("login_account", str(number))
        for other in range(20):
            limits.take("signup_address", f"{number}-{other}")
    assert {kind: len(keys) for kind, keys in limits._attempts.items() if keys} == {
        "login_account": 10,
        "signup_address": 10,
    }
    assert limits.take("login_account", "kept") > 0
    assert list(limits._attempts["login_account"]) == [*map(str, range(21, 30)), "kept"]


def test_a_guesser_elsewhere_does_not_lock_the_owner_out(limits: Limits) -> None:
    at_home = ["192.0.2.1"]
    for _ in range(100):
        limits.take("login_account", account_key(7, "203.0.113.9", at_home))
    assert limits.take("login_account", account_key(7, "203.0.113.10", at_home)) > 0
    assert limits.take("login_account", account_key(7, "192.0.2.1", at_home)) == 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("testclient", "testclient"),
    ],
)
def test_of_ipv6_a_client_has_a_whole_64(address: str, key: str) -> None:
    assert address_key(address) == key
    assert account_key(1, address, [address]) == f"1@{key}"
    assert account_key(1, address, []) == "1"


@given(st.lists(st.floats(0, 400), max_size=80))
def test_in_no_window_more_pass_than_allowed_and_none_waits_for_nothing(pauses: list[float]) -> None:
    clock = Monotonic()
    limits, passed = Limits(clock), list[float]()
    allowed, window = LIMITS["login_account"]
    for pause in pauses:
        clock.now += pause
        recent = sum(at > clock.now - window for at in passed)
        wait = limits.take("login_account", "1")
        assert (wait == 0) == (recent < allowed)
        if wait == 0:
            passed.append(clock.now)
