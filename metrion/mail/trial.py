"""Trial: the mail server tried at once, for `metrion doctor`; without the outbox, so that one sees what it says."""

from __future__ import annotations

import os

from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.mail.message import Message, write_mail
from metrion.mail.server import new_connection, sender_of


async def try_server(settings: Settings, seconds: float) -> str:
    """Connect, encrypt and log in; how that was done, in a few words. Raises one of PROBLEMS (server.py)."""
    async with new_connection(settings, seconds) as client:
        await client.noop()
        encrypted = client.get_transport_info("ssl_object")
        return encrypted.version() if encrypted else "not encrypted"


async def send_now(settings: Settings, message: Message, seconds: float) -> None:
    """Hand `message` to the server. Raises one of PROBLEMS."""
    sender = sender_of(settings)
    mail = write_mail(message, sender, f"{os.urandom(16).hex()}@{sender.domain}", now_ms())
    async with new_connection(settings, seconds) as client:
        await client.sendmail(sender.addr_spec, message.to, mail.as_bytes())
