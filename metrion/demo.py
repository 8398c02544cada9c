"""Demo: Metrion with the five providers played by the sandbox, an account, and somebody who uses it. No key is needed.

All runs in this process and on loopback. The data directory is kept: a second demo goes on where the first stopped.
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
from metrion.sandbox.app import PROVIDERS
from metrion.sandbox.server import serve_sandboxes
from metrion.sandbox.traffic import send_traffic
from metrion.storage import accounts as stored

EMAIL = "demo@example.com"
ERROR_RATE = 0.03
TRAFFIC_SECONDS = 600.0
TRAFFIC_RATE = 2.0  # calls a second
SEED = 2026


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

    The account is made if it is not there, with a key for each provider.
    """
    with open_for_writing(settings) as database:
        vault = open_vault(settings, database)
        with database.begin() as connection:
            account = stored.find_account(connection, EMAIL)
            if account is None:
                token: str = create_account(connection, vault, {"email": EMAIL, "plan": "pro"})["token"]
            else:
                token = reveal_token(connection, vault, account.id).reveal().decode()
            for provider in PROVIDERS:
                key = {"email": EMAIL, "provider": provider, "key": f"sandbox-key-of-{provider}"}
                set_provider_key(connection, vault, key)
            link = sign_in_link(connection, vault, {"email": EMAIL})["token"]
            return token, link_url(settings.origin, "sign_in", link)


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

See what was recorded (sample traffic arrives for about ten minutes):

{program} logs --account {EMAIL} --data-dir {settings.data_dir}
{program} usage --account {EMAIL} --by model --data-dir {settings.data_dir}
{program} account link {EMAIL} --data-dir {settings.data_dir}    # another link to sign in by

Ctrl-C stops it.
"""
