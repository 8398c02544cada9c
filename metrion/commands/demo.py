"""`metrion demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metrion.commands.common import DataDir, new_app
from metrion.config import load_settings
from metrion.demo import run
from metrion.kit.logs import configure_logs

app = new_app()


@app.command()
def demo(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve a sandbox provider and sample traffic. Needs no key; ends with Ctrl-C."""
    # Never among real data: METRION_DATA_DIR is not asked.
    settings = load_settings(host=host, port=port, data_dir=data_dir or Path("metrion-demo"))
    configure_logs(settings.log_level)
    run(settings)
