"""What is mailed about a plan."""

from __future__ import annotations

from metrion.accounts.plans import FREE, HIDDEN_MS, PRO, plans_of
from metrion.config import Settings
from metrion.kit.clock import DAY_MS
from metrion.mail.letters import Letter, Letters, Link
from metrion.mail.message import Message


def downgraded(letters: Letters, to: str, page: str, settings: Settings) -> Message:
    """After an account came from pro to free. `page`: where its plan is shown."""
    free, pro = (plans_of(settings)[plan.name] for plan in (FREE, PRO))
    limit = f"{free.monthly_requests:,} requests a month" if free.monthly_requests else "any number of requests"
    hides = free.retention_days and (not pro.retention_days or pro.retention_days > free.retention_days)
    rest = "Upgrade, and your rules are back."
    if hides:
        rest = (
            f"Older logs are hidden, and deleted in {HIDDEN_MS // DAY_MS} days. Upgrade before then, and they and your"
            " rules are back."
        )
    letter = Letter(
        kind="downgraded",
        subject="Your Metrion account is on the free plan now",
        heading="You are on the free plan now",
        lead="Pro has ended for your account. Your Metrion key and your apps go on working.",
        button=Link("See your plan", page),
        facts=[
            ("Requests", f"{limit}; this month is counted from zero"),
            ("Logs", f"Each request is kept and shown {free.kept}"),
            ("Alerts", "Your rules are paused"),
        ],
        rest=[rest],
        why=f"this is the address of an account at {letters.host}",
    )
    return letters.write(to, letter)
