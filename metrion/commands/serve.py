"""`metrion serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from metrion.app import Start, run
from metrion.commands.common import DataDir, new_app
from metrion.config import Settings, load_settings
from metrion.kit.logs import configure_logs

app = new_app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the proxy and its pages, until SIGTERM or Ctrl-C."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    configure_logs(settings.log_level)
    run(settings, lambda start: print(welcome(settings, start), flush=True))


_SIGNUPS = {
    "open": "Anybody who reaches it may sign up.",
    "invite": "Signing up takes an invitation: metrion account invite",
    "closed": "Nobody can sign up: METRION_SIGNUPS is closed.",
}


def welcome(settings: Settings, start: Start) -> str:
    """What people should know of a server that has started."""
    lines = [f"Metrion runs at {start.origin}", f"  {_SIGNUPS[settings.signup_policy]}"]
    if not settings.smtp_url:
        lines.append("  Mail is off, so nobody is asked to confirm an address; METRION_SMTP_URL turns it on.")
    if start.claim:
        lines.append(f"  It has no operator yet. To become it, open {start.claim}")
    return "\n".join([*lines, "Ctrl-C stops it."])
