"""`metrion serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from metrion.app import run
from metrion.commands.common import DataDir, new_app
from metrion.config import load_settings
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
    run(settings)
