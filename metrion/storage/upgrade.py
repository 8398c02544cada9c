"""Upgrade: runs Alembic's migrations over the writing connection, all in one transaction."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from metrion.storage.database import Database


def upgrade(database: Database) -> None:
    """Apply every revision the database lacks; after an error it is as before."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
