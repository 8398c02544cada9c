"""Alembic's entry: runs inside the transaction that `upgrade` opened."""

from alembic import context

from metrion.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can; Alembic's default is that it cannot
)
context.run_migrations()
