"""`metrion migrate`."""

from __future__ import annotations

from metrion.commands.common import DataDir, new_app
from metrion.config import load_settings
from metrion.datadir import open_for_reading
from metrion.storage.migrations import REVISIONS

app = new_app()


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Make the database, or bring it to this version's schema. `serve` and every other command do so too."""
    settings = load_settings(data_dir=data_dir)
    with open_for_reading(settings):
        print(f"The database {settings.database_path} is at revision {REVISIONS[-1]}.")
