"""Letters: what Metrion writes to people about their account.

A letter says what happened, when and where, what to do if that was not you, and why you get it. It holds no text that
somebody else chose: whoever can make Metrion write to a stranger must not be able to say anything there.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from metrion.accounts.codes import LIFETIME_MS
from metrion.kit.browsers import name_browser
from metrion.kit.clock import now_ms
from metrion.mail.message import Message

_FOLDER = Path(__file__).parent / "templates"
_INVITATION_DAYS = 14  # as metrion.accounts.links has it
_LINE = 72  # characters of a line of text


class Occasion(NamedTuple):
    """When and from where something was asked for: Unix ms, the browser's User-Agent, the client's IP address."""

    at_ms: int
    agent: str = ""
    address: str = ""


class Link(NamedTuple):
    """Something to do: a label and where it leads."""

    label: str
    url: str


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One layout for every mail: heading and lead, a code or one button, facts, what else to say, and why you get it.

    `help` is a link below what else there is to say.
    """

    kind: str
    subject: str
    heading: str
    lead: str
    code: str = ""
    button: Link | None = None
    facts: Sequence[tuple[str, str]] = ()
    rest: Sequence[str] = ()
    help: Link | None = None
    why: str
    valid_until_ms: int = 0


class Letters:
    """Writes letters for the Metrion at `public_url`, an origin; its host is the name it signs with."""

    def __init__(self, public_url: str) -> None:
        self._url = public_url
        self._profile = Link("Change your password", f"{public_url}/settings/profile")
        self.host = urlsplit(public_url).netloc
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["wrap"] = _wrap

    def write(self, to: str, letter: Letter) -> Message:
        """The message to `to`; raises ValueError for what is no address."""
        return Message(
            to=to,
            subject=letter.subject,
            text=self._templates.get_template("letter.txt").render(letter=letter, host=self.host),
            html=self._templates.get_template("letter.html").render(letter=letter, host=self.host, url=self._url),
            kind=letter.kind,
            valid_until_ms=letter.valid_until_ms,
        )

    # ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm_code(self, to: str, code: str, occasion: Occasion) -> Message:
        """To whoever signs up, that the address is theirs."""
        letter = Letter(
            kind="confirm_code",
            subject=f"{code} is your Metrion code",
            heading="Confirm your e-mail address",
            lead=f"Enter this code on the page where you signed up. {_until(occasion)}",
            code=code,
            facts=_facts(occasion),
            rest=["If this was not you, do nothing: without the code nobody can use your address here."],
            why=f"somebody signed up at {self.host} with this address",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    def login_code(self, to: str, code: str, occasion: Occasion) -> Message:
        """For logging in without the password."""
        letter = Letter(
            kind="login_code",
            subject=f"{code} is your Metrion code",
            heading="Log in to Metrion",
            lead=f"Enter this code on the log-in page. {_until(occasion)}",
            code=code,
            facts=_facts(occasion),
            rest=[
                "If this was not you, do nothing: without the code nobody gets in.",
                f"Enter it at {self.host} only, and tell it to nobody who asks for it.",
            ],
            why=f"somebody asked {self.host} for a code to log in with this address",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    def reset_code(self, to: str, code: str, occasion: Occasion) -> Message:
        """For setting a new password."""
        letter = Letter(
            kind="reset_code",
            subject=f"{code} is your code to set a new Metrion password",
            heading="Set a new password",
            lead=f"Enter this code on the page where you asked for a new password. {_until(occasion)}",
            code=code,
            facts=_facts(occasion),
            rest=["If this was not you, do nothing: your password stays as it is."],
            why=f"somebody asked {self.host} for a new password for this address",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    def email_change_old(self, to: str, code: str, new: str, occasion: Occasion) -> Message:
        """To the address an account has, before it gets another one, `new`."""
        letter = Letter(
            kind="email_change_old",
            subject=f"{code} is your code to change your Metrion address",
            heading="Confirm that your address changes",
            lead=f"Enter this code together with the one sent to the new address. {_until(occasion)}",
            code=code,
            facts=[("New address", new), *_facts(occasion)],
            rest=[
                "If this was not you, somebody else is logged in to your account. Change your password, which logs"
                " everybody else out."
            ],
            help=self._profile,
            why=f"the account at {self.host} with this address is to get another one",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    def email_change_new(self, to: str, code: str, occasion: Occasion) -> Message:
        """To the address an account is to get."""
        letter = Letter(
            kind="email_change_new",
            subject=f"{code} is your code for your new Metrion address",
            heading="Confirm your new e-mail address",
            lead=f"Enter this code together with the one sent to the address before. {_until(occasion)}",
            code=code,
            facts=_facts(occasion),
            rest=["If this was not you, do nothing: without the code nobody can use your address here."],
            why=f"an account at {self.host} is to get this address",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    def delete_code(self, to: str, code: str, occasion: Occasion) -> Message:
        """For deleting the account."""
        letter = Letter(
            kind="delete_code",
            subject=f"{code} is your code to delete your Metrion account",
            heading="Confirm that your account is deleted",
            lead="With this code your account is deleted at once and for good: keys, settings, usage and logs."
            f" {_until(occasion)}",
            code=code,
            facts=_facts(occasion),
            rest=[
                "If this was not you, keep the code to yourself and change your password, which logs everybody else"
                " out."
            ],
            help=self._profile,
            why=f"somebody logged in to your account at {self.host} asked to delete it",
            valid_until_ms=occasion.at_ms + LIFETIME_MS,
        )
        return self.write(to, letter)

    # ── notices ───────────────────────────────────────────────────────────────────────────────────────────────────

    def you_have_an_account(self, to: str, occasion: Occasion) -> Message:
        """To an account's owner, where somebody tries to sign up with the address."""
        letter = Letter(
            kind="you_have_an_account",
            subject="You already have a Metrion account",
            heading="You already have an account",
            lead="Somebody tried to sign up with this address, which has an account. If this was you, log in;"
            " there you can also set a new password.",
            button=Link("Log in", f"{self._url}/login"),
            facts=_facts(occasion),
            rest=["If this was not you, do nothing: nothing has changed."],
            why=f"somebody tried to sign up at {self.host} with this address",
        )
        return self.write(to, letter)

    def address_taken(self, to: str, occasion: Occasion) -> Message:
        """To an account's owner, where somebody wants to give another account the same address."""
        letter = Letter(
            kind="address_taken",
            subject="Your address has a Metrion account already",
            heading="Your address has an account already",
            lead="Somebody wants to use this address for another account. It can be the address of one only, so nothing"
            " has changed.",
            facts=_facts(occasion),
            rest=[
                "If this was you, use another address there, or first delete the account that has this one.",
                "If this was not you, do nothing.",
            ],
            why=f"an account at {self.host} was to get this address",
        )
        return self.write(to, letter)

    def email_changed(self, to: str, new: str, occasion: Occasion) -> Message:
        """To the address an account had before."""
        letter = Letter(
            kind="email_changed",
            subject="Your Metrion account has a new e-mail address",
            heading="Your e-mail address was changed",
            lead="From now on you log in with the new address, and mail goes there.",
            facts=[("New address", new), *_facts(occasion)],
            rest=[f"If this was not you, write to whoever runs {self.host}: this address cannot undo it."],
            why=f"this was the address of an account at {self.host}",
        )
        return self.write(to, letter)

    def password_changed(self, to: str, occasion: Occasion) -> Message:
        """After a password was changed or set anew."""
        letter = Letter(
            kind="password_changed",
            subject="Your Metrion password was changed",
            heading="Your password was changed",
            lead="All other sessions are logged out. Your Metrion key and apps that use it are not affected.",
            facts=_facts(occasion),
            rest=["If this was not you, set a new one at once, with a code sent to this address."],
            help=Link("Set a new password", f"{self._url}/reset"),
            why=f"this is the address of an account at {self.host}",
        )
        return self.write(to, letter)

    def key_regenerated(self, to: str, occasion: Occasion) -> Message:
        """After the Metrion key was replaced."""
        letter = Letter(
            kind="key_regenerated",
            subject="Your Metrion key was replaced",
            heading="Your Metrion key was replaced",
            lead="Apps that use the old key are refused since then. The new one is on the Integrate page.",
            button=Link("Show the new key", f"{self._url}/integrate"),
            facts=_facts(occasion),
            rest=[
                "If this was not you, change your password, which logs everybody else out, and regenerate the key"
                " again."
            ],
            help=self._profile,
            why=f"this is the address of an account at {self.host}",
        )
        return self.write(to, letter)

    def account_deleted(self, to: str, deleted: Sequence[tuple[str, str]], occasion: Occasion) -> Message:
        """The last mail to an address. `deleted`: what there was, and how much of it."""
        letter = Letter(
            kind="account_deleted",
            subject="Your Metrion account is deleted",
            heading="Your account is deleted",
            lead="This is what was deleted, for good. Keys that you stored are still valid at their providers:"
            " revoke those you do not need.",
            facts=[*deleted, *_facts(occasion)],
            rest=["This is the last mail to this address."],
            why=f"this was the address of an account at {self.host}",
        )
        return self.write(to, letter)

    def invitation(self, to: str, link: str) -> Message:
        """To whoever the operator invites; `link` holds the token."""
        letter = Letter(
            kind="invitation",
            subject=f"You are invited to Metrion at {self.host}",
            heading="You are invited to Metrion",
            lead=f"Metrion shows what calls to LLM providers cost, by model and by app. The operator of {self.host}"
            f" invites you to make an account. The link works once, for {_INVITATION_DAYS} days.",
            button=Link("Make an account", link),
            rest=["If you expected no invitation, do nothing: there is no account until you make one."],
            why=f"the operator of {self.host} entered this address",
        )
        return self.write(to, letter)

    def test(self, to: str) -> Message:
        """What `metrion doctor --mail-to` sends."""
        letter = Letter(
            kind="test",
            subject=f"Mail from Metrion at {self.host} works",
            heading="Mail works",
            lead="Metrion can send mail, and this one arrived.",
            facts=_facts(Occasion(now_ms())),
            why=f"the operator of {self.host} ran metrion doctor --mail-to with this address",
        )
        return self.write(to, letter)


def _facts(occasion: Occasion) -> list[tuple[str, str]]:
    facts = [("Time", f"{_utc(occasion.at_ms):%d %B %Y, %H:%M} UTC".lstrip("0"))]
    if occasion.agent:
        facts.append(("Browser", name_browser(occasion.agent)))
    if occasion.address:
        facts.append(("IP address", occasion.address))
    return facts


def _until(occasion: Occasion) -> str:
    return f"It works once, until {_utc(occasion.at_ms + LIFETIME_MS):%H:%M} UTC ({LIFETIME_MS // 60_000} minutes)."


def _wrap(text: str) -> str:
    # Links must stay whole to be clicked.
    return textwrap.fill(text, _LINE, break_long_words=False, break_on_hyphens=False)


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
