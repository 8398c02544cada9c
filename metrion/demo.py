"""Demo: Metrion with the five providers played by the sandbox, an account, and somebody who uses it. No key is needed.

All runs in this process and on loopback. A new data directory begins with a month of made-up calls; it is kept, and a
second demo goes on where the first stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import uvloop

from metrion.accounts.links import link_url
from metrion.accounts.operations import create_account, set_provider_key, sign_in_link
from metrion.accounts.tokens import reveal_token
from metrion.accounts.vault import open_vault
from metrion.app import serve
from metrion.config import Settings
from metrion.datadir import open_for_writing
from metrion.kit.clock import now_ms
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.sandbox.app import PROVIDERS
from metrion.sandbox.history import history
from metrion.sandbox.server import serve_sandboxes
from metrion.sandbox.traffic import send_traffic
from metrion.storage import accounts as stored
from metrion.storage.database import Database

EMAIL = "demo@example.com"
ERROR_RATE = 0.03
TRAFFIC_SECONDS = 600.0
TRAFFIC_RATE = 2.0  # calls a second
SEED = 2026
_BATCH = 5000


def run(settings: Settings) -> None:
    """Serve with sandbox providers and sample traffic until a signal; raises MetrionError as `serve` does."""
    with serve_sandboxes(error_rate=ERROR_RATE) as origins:
        upstreams = {f"upstream_{provider}": origin for provider, origin in origins.items()}
        # Sample traffic is more than one key may send in a minute; and a demonstration asks nobody outside.
        settings = msgspec.structs.replace(settings, rate_limit_per_minute=0, rates_refresh="off", **upstreams)
        uvloop.run(_run(settings, *_prepare_account(settings)))


async def _run(settings: Settings, token: str, sign_in: str) -> None:
    started = asyncio.Event()
    traffic = asyncio.create_task(_use(settings, token, sign_in, started))
    try:
        await serve(settings, lambda start: started.set(), sandbox=True)
    finally:
        traffic.cancel()


async def _use(settings: Settings, token: str, sign_in: str, started: asyncio.Event) -> None:
    await started.wait()
    print(welcome(settings, token, sign_in), flush=True)
    await send_traffic(settings.address, token, seconds=TRAFFIC_SECONDS, rate=TRAFFIC_RATE, seed=SEED)
    print("The sample traffic is over; Metrion keeps running. Ctrl-C stops it.", flush=True)


def _prepare_account(settings: Settings) -> tuple[str, str]:
    """The Metrion key of the demo's account and a link to sign in to it.

    The account is made if it is not there, with a key for each provider and a past.
    """
    with open_for_writing(settings) as database:
        vault = open_vault(settings, database)
        with database.begin() as connection:
            account = stored.find_account(connection, EMAIL)
            new = account is None
            if account is None:
                account_id = int(create_account(connection, vault, {"email": EMAIL, "plan": "pro"})["account_id"])
            else:
                account_id = account.id
            token = reveal_token(connection, vault, account_id).reveal().decode()
            for provider in PROVIDERS:
                key = {"email": EMAIL, "provider": provider, "key": f"sandbox-key-of-{provider}"}
                set_provider_key(connection, vault, key)
            link = sign_in_link(connection, vault, {"email": EMAIL})["token"]
        if new:
            _write_past(settings, database, account_id)
        return token, link_url(settings.origin, "sign_in", link)


def _write_past(settings: Settings, database: Database, account_id: int) -> None:
    """A month of calls, as the writer would have written them; takes a second and a half."""
    book, calls = PriceBook.load(settings.own_prices), list(history(account_id, now_ms(), SEED))
    for at in range(0, len(calls), _BATCH):
        write_calls(database, book, calls[at : at + _BATCH], fresh=True)


def welcome(settings: Settings, token: str, sign_in: str) -> str:
    """What the demo prints once it runs."""
    address = settings.address
    program = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "metrion" else "metrion"
    return f"""\

Metrion runs at {address} with sandbox providers: nothing leaves this machine, and nothing costs anything.

Open its pages (this link signs you in, once, within ten minutes):

{sign_in}

Metrion key:  {token}

Try it from another terminal:

curl {address}/api/proxy/openai/v1/chat/completions \\
  -H "Authorization: Bearer {token}" \\
  -H "Content-Type: application/json" \\
  -H "x-metrion-user: me" \\
  -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "Hello"}}]}}'

See what was recorded (a made-up month; sample traffic arrives for about ten minutes):

{program} logs --account {EMAIL} --data-dir {settings.data_dir}
{program} usage --account {EMAIL} --by model --data-dir {settings.data_dir}
{program} account link {EMAIL} --data-dir {settings.data_dir}    # another link to sign in by

Ctrl-C stops it.
"""
