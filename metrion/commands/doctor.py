"""`metrion doctor`: looks for what would go wrong, and says what to do about it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from metrion.accounts.emails import check_email
from metrion.accounts.vault import Vault, check_canary, find_master_key, key_path
from metrion.billing.amounts import price_text
from metrion.billing.connect import connect
from metrion.commands.common import DataDir, new_app
from metrion.config import Settings, is_loopback, load_settings
from metrion.datadir import lock_holder, open_for_reading
from metrion.errors import ConfigError, MetrionError
from metrion.kit.clock import iso, now_ms
from metrion.kit.secrets import mask_credentials
from metrion.mail.letters import Letters
from metrion.mail.outbox import mail_on
from metrion.mail.server import PROBLEMS, explain, sender_of, server_of
from metrion.mail.trial import send_now, try_server
from metrion.providers import PROVIDERS
from metrion.storage.accounts import canaries
from metrion.storage.billing import waiting_closures, waiting_events
from metrion.storage.database import quick_check
from metrion.storage.outbox import waiting_mail

app = new_app()
OK, WARN, FAIL = "OK", "WARN", "FAIL"
_CONNECT_SECONDS = 5.0
_MAIL_MS = 60_000  # a mail that is older than this should have left, and a customer to delete been deleted
_BUILT_MS = 1_793_491_200_000  # 2026-11-01: a clock before it is wrong
_CENTURY_MS = 100 * 365 * 86_400_000
_DRIFT_SECONDS = 0.05
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


class Finding(NamedTuple):
    """One line of the report."""

    level: str
    subject: str
    text: str


@app.command()
def doctor(
    mail_to: Annotated[
        str | None, typer.Option(help="Also send a test mail there.", metavar="ADDRESS", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Look for what would go wrong, and say what to do.

    Checks configuration, data directory, database, master key, mail, Stripe, clock and upstreams.
    """
    try:
        settings = load_settings(data_dir=data_dir)
    except ConfigError as error:
        _say(Finding(FAIL, "configuration", str(error)))
        raise typer.Exit(1) from None
    _say(Finding(OK, "configuration", "every setting is known and well-formed"))
    failed = False
    checks = CHECKS if mail_to is None else (*CHECKS, ("test mail", lambda one: _test_mail(one, mail_to)))
    for subject, check in checks:
        try:
            findings = list(check(settings))
        except MetrionError as error:
            findings = [Finding(FAIL, subject, str(error))]
        except OSError as error:
            findings = [Finding(FAIL, subject, f"{error.filename or 'the system'}: {error.strerror or error}")]
        for finding in findings:
            _say(finding)
            failed = failed or finding.level == FAIL
    raise typer.Exit(1 if failed else 0)


def _say(finding: Finding) -> None:
    print(f"{finding.level:<5} {finding.subject}: {mask_credentials(finding.text)}", flush=True)


def _data_dir(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(FAIL, "data directory", f"{folder} is not writable for this user; correct its owner or rights")
    elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
        yield Finding(WARN, "data directory", f"other users can open {folder}; run: chmod 700 {folder}")
    else:
        yield Finding(OK, "data directory", f"{folder} is writable and private")


def _server(settings: Settings) -> Iterator[Finding]:
    kind, _, pid = (lock_holder(settings) or "").partition(" ")
    yield Finding(OK, "server", f"running (pid {pid})" if kind == "serve" else "not running")


def _database(settings: Settings) -> Iterator[Finding]:
    with open_for_reading(settings) as engine, engine.connect() as connection:
        problem = quick_check(connection)
    path = settings.database_path
    if problem:
        yield Finding(FAIL, "database", f"{path} is damaged ({problem}); restore it from a backup")
    else:
        yield Finding(OK, "database", f"{path} is sound and of this version's schema")


def _master_key(settings: Settings) -> Iterator[Finding]:
    master = find_master_key(settings)
    with open_for_reading(settings) as engine, engine.connect() as connection:
        known = canaries(connection)
    path = key_path(settings)
    if master is None and known:
        yield Finding(FAIL, "master key", f"it is missing: restore {path}, or set METRION_MASTER_KEY")
    elif master is None:
        yield Finding(OK, "master key", f"none yet; {path} is made with the first account or start")
    else:
        if known:
            check_canary(settings, Vault(master), known)
        yield Finding(
            OK, "master key", "it opens what is sealed" if known else "it is well-formed; nothing is sealed yet"
        )
        if not settings.master_key and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding(WARN, "master key", f"other users can read {path}; run: chmod 600 {path}")


def _mail(settings: Settings) -> Iterator[Finding]:
    if not mail_on(settings):
        yield Finding(OK, "mail", "off: METRION_SMTP_URL is not set, so nobody is mailed")
        return
    host, port, _ = server_of(settings)
    sender = sender_of(settings)
    try:
        how = asyncio.run(try_server(settings, _CONNECT_SECONDS))
        yield Finding(OK, "mail", f"{host}:{port} answers ({how}) and would take mail from {sender}")
    except PROBLEMS as problem:
        yield Finding(WARN, "mail", f"{host}:{port} fails ({explain(problem)}); correct METRION_SMTP_URL")
    if sender.domain == "localhost" and not is_loopback(host):
        yield Finding(WARN, "mail", f"other servers refuse mail from {sender}; set METRION_MAIL_FROM")
    with open_for_reading(settings) as engine, engine.connect() as connection:
        count, since_ms, latest = waiting_mail(connection)
    if latest or (count and now_ms() - since_ms > _MAIL_MS):
        trouble = f"; what went wrong: {latest}" if latest else ""
        yield Finding(WARN, "mail", f"{count} not sent yet, the oldest from {iso(since_ms)}{trouble}")


def _stripe(settings: Settings) -> Iterator[Finding]:
    stripe = connect(settings)
    if stripe is None:
        yield Finding(OK, "Stripe", "off: METRION_STRIPE_SECRET_KEY is not set, so the operator sets plans")
        return
    offer = stripe.offer()
    price = (
        "by tiers" if offer.amount is None else price_text(offer.amount, offer.currency, offer.interval, offer.every)
    )
    yield Finding(OK, "Stripe", f"it answers, and sells {offer.name}: {price}")
    if not offer.interval:
        yield Finding(
            FAIL, "Stripe", f"{settings.stripe_price_id} is paid once; METRION_STRIPE_PRICE_ID takes a recurring one"
        )
    if not settings.stripe_webhook_secret:
        yield Finding(
            WARN, "Stripe", "METRION_STRIPE_WEBHOOK_SECRET is not set: changes at Stripe are seen at night only"
        )
    with open_for_reading(settings) as engine, engine.connect() as connection:
        (events, problem), (closures, since_ms) = waiting_events(connection), waiting_closures(connection)
    if problem:
        yield Finding(WARN, "Stripe", f"{events} events wait to be handled; what went wrong: {problem}")
    if closures and now_ms() - since_ms > _MAIL_MS:
        yield Finding(WARN, "Stripe", f"{closures} customers wait to be deleted there, the oldest from {iso(since_ms)}")


def _test_mail(settings: Settings, address: str) -> Iterator[Finding]:
    if not mail_on(settings):
        yield Finding(FAIL, "test mail", "mail is off; set METRION_SMTP_URL")
        return
    try:
        letter = Letters(settings.origin).test(check_email(address))
        asyncio.run(send_now(settings, letter, _CONNECT_SECONDS))
    except PROBLEMS as problem:
        yield Finding(FAIL, "test mail", f"the mail server did not take it ({explain(problem)})")
    else:
        yield Finding(OK, "test mail", f"the mail server took it; see whether it arrives at {address}")


def _clock(settings: Settings) -> Iterator[Finding]:
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.1)
    drift = (time.time() - wall) - (time.monotonic() - steady)
    if not _BUILT_MS <= now_ms() < _BUILT_MS + _CENTURY_MS:
        yield Finding(FAIL, "clock", "the time of day is wrong; months, prices and ids depend on it: set it (NTP)")
    elif abs(drift) > _DRIFT_SECONDS:
        yield Finding(WARN, "clock", f"the time of day jumped by {drift:.2f} s just now; see to NTP")
    else:
        yield Finding(OK, "clock", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC, steady")


def _upstreams(settings: Settings) -> Iterator[Finding]:
    given = [name for name in os.environ if name.lower() in _PROXY_VARIABLES and os.environ[name]]
    if given:
        yield Finding(WARN, "upstreams", f"{', '.join(sorted(given))} is set and ignored; Metrion connects directly")
    origins = [(name, settings.upstream(name) or one.origin) for name, one in PROVIDERS.items()]
    with ThreadPoolExecutor(len(origins)) as pool:
        yield from pool.map(lambda pair: _upstream(*pair), origins)


def _upstream(name: str, origin: str) -> Finding:
    url = urlsplit(origin)
    host, secure = url.hostname or "", url.scheme == "https"
    began = time.monotonic()
    try:
        with socket.create_connection((host, url.port or (443 if secure else 80)), timeout=_CONNECT_SECONDS) as plain:
            if secure:
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except OSError as error:  # ssl's errors are, too
        return Finding(WARN, f"upstream {name}", f"{origin} cannot be reached ({_reason(error)}); check the network")
    return Finding(OK, f"upstream {name}", f"{origin} answers in {(time.monotonic() - began) * 1000:.0f} ms")


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


CHECKS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
    ("data directory", _data_dir),
    ("server", _server),
    ("database", _database),
    ("master key", _master_key),
    ("mail", _mail),
    ("Stripe", _stripe),
    ("clock", _clock),
    ("upstreams", _upstreams),
)
