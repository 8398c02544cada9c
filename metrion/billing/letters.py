"""What is mailed about a plan."""

from __future__ import annotations

from metrion.accounts.plans import FREE, HIDDEN_MS
from metrion.kit.clock import DAY_MS
from metrion.mail.letters import Letter, Letters, Link
from metrion.mail.message import Message


def downgraded(letters: Letters, to: str, page: str, monthly_requests: int) -> Message:
    """After an account came from pro to free. `page`: where its plan is shown; `monthly_requests`: 0: any number."""
    limit = f"{monthly_requests:,} requests a month" if monthly_requests else "any number of requests"
    letter = Letter(
        kind="downgraded",
        subject="Your Metrion account is on the free plan now",
        heading="You are on the free plan now",
        lead="Pro has ended for your account. Your Metrion key and your apps go on working.",
        button=Link("See your plan", page),
        facts=[
            ("Requests", f"{limit}; this month is counted from zero"),
            ("Logs", f"The last {FREE.retention_days} days are shown"),
            ("Alerts", "Your rules are paused"),
        ],
        rest=[
            f"Older logs are hidden, and deleted in {HIDDEN_MS // DAY_MS} days. Upgrade before then, and they and your"
            " rules are back."
        ],
        why=f"this is the address of an account at {letters.host}",
    )
    return letters.write(to, letter)
