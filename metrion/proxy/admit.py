"""Whether an account may make one more call now: its minute and its month. Spec §2.5.

The minute is counted exactly: a ring of the last N admissions' times, of which the oldest must be over a minute old.
The month counts calls whose answer began with 2xx: a place is taken at admission and given back otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from metrion.kit.months import month_of, month_start_ms
from metrion.proxy.refusal import Refusal

WINDOW = 60.0  # seconds
ROWS_OF_REFUSALS_PER_MINUTE = 60  # beyond, refusals count in totals only: a client that loops must not fill the log


class Allowance:
    """One account's counters."""

    __slots__ = ("at", "in_flight", "month", "refusals", "refusals_since", "ring", "since_ms", "used")

    def __init__(self, size: int) -> None:
        self.ring = [float("-inf")] * size
        self.at = 0
        self.month = 0
        self.used = 0
        self.in_flight = 0
        self.since_ms = 0  # when the account came from pro to free: what began before does not count
        self.refusals = 0
        self.refusals_since = float("-inf")


class Admission:
    """All accounts' allowances. `per_minute` and `per_month`: 0 turns the limit off; the month binds free plans."""

    def __init__(self, per_minute: int, per_month: int) -> None:
        self._per_minute = per_minute
        self._per_month = per_month
        self._allowances: dict[int, Allowance] = {}
        self._month = 0
        self._month_ends_ms = 0

    def restore(
        self, now: float, now_ms: int, recent: Iterable[tuple[int, int]], month: Iterable[tuple[int, int, int]]
    ) -> None:
        """Take up where the last process stopped: `recent` (account, started_ms) in order, `month` (account, calls,
        when it came from pro to free or 0).
        """
        for account_id, started_ms in recent:
            if self._per_minute:
                # Where the clock was set back, a call of the future counts as one of now.
                self._admitted(self._of(account_id), now - max(now_ms - started_ms, 0) / 1000)
        for account_id, used, since_ms in month:
            allowance = self._of(account_id)
            allowance.month = month_of(now_ms)
            allowance.used = used
            allowance.since_ms = since_ms

    def _of(self, account_id: int) -> Allowance:
        allowance = self._allowances.get(account_id)
        if allowance is None:
            allowance = self._allowances[account_id] = Allowance(self._per_minute)
        return allowance

    def _admitted(self, allowance: Allowance, at: float) -> None:
        allowance.ring[allowance.at] = at
        allowance.at = (allowance.at + 1) % self._per_minute

    def admit(self, account_id: int, plan: str, now: float, now_ms: int) -> Refusal | None:
        """Take a place, or say why not. `now`: monotonic seconds; `now_ms`: Unix milliseconds."""
        allowance = self._allowances.get(account_id) or self._of(account_id)
        if self._per_minute:
            wait = allowance.ring[allowance.at] + WINDOW - now
            if wait > 0:
                return Refusal(
                    429,
                    "rate_limit",
                    f"more than {self._per_minute} requests in a minute with this Metrion key. Try again in"
                    f" {wait:.0f} s (the operator sets METRION_RATE_LIMIT_PER_MINUTE).",
                    retry_after=wait,
                )
        if self._per_month and plan == "free":
            refusal = self._take_month(allowance, now_ms)
            if refusal is not None:
                return refusal
        if self._per_minute:
            self._admitted(allowance, now)
        return None

    def _take_month(self, allowance: Allowance, now_ms: int) -> Refusal | None:
        if now_ms >= self._month_ends_ms:
            self._month = month_of(now_ms)
            self._month_ends_ms = month_start_ms(self._month + 1)
        if allowance.month != self._month:
            allowance.month, allowance.used, allowance.in_flight = self._month, 0, 0
        if allowance.used + allowance.in_flight >= self._per_month:
            reset = datetime.fromtimestamp(self._month_ends_ms / 1000, UTC)
            return Refusal(
                429,
                "month",
                f"the free plan's {self._per_month:,} requests of this month are used up. They start anew on"
                f" {reset:%-d %B} (UTC); the pro plan has no such limit.",
                retry_after=(self._month_ends_ms - now_ms) / 1000,
                should_retry=False,
            )
        allowance.in_flight += 1
        return None

    def counts(self, plan: str) -> bool:
        """Whether the month binds a plan: then an admitted call's place is settled once."""
        return self._per_month > 0 and plan == "free"

    def month_used(self, account_id: int, now_ms: int) -> int:
        """How many calls of this month count; of an account on the free plan."""
        allowance = self._allowances.get(account_id)
        return allowance.used if allowance is not None and allowance.month == month_of(now_ms) else 0

    def count_from(self, account_id: int, since_ms: int) -> None:
        """Count an account's month from zero, unless it is counted since then already."""
        allowance = self._of(account_id)
        if allowance.since_ms != since_ms:
            allowance.since_ms = since_ms
            allowance.used = allowance.in_flight = 0

    def settle(self, account_id: int, plan: str, started_ms: int, *, counts: bool) -> None:
        """Make an admitted call's place in the month its own (`counts`: its answer began with 2xx) or give it back."""
        if not self.counts(plan):
            return
        allowance = self._of(account_id)
        if month_of(started_ms) == allowance.month and started_ms >= allowance.since_ms:
            allowance.in_flight = max(0, allowance.in_flight - 1)
            allowance.used += counts

    def refusal_gets_row(self, account_id: int, now: float) -> bool:
        """Whether one more refusal of this minute is kept as a row."""
        allowance = self._of(account_id)
        if now - allowance.refusals_since >= WINDOW:
            allowance.refusals_since, allowance.refusals = now, 0
        allowance.refusals += 1
        return allowance.refusals <= ROWS_OF_REFUSALS_PER_MINUTE
