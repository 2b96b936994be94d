"""Alembic environment; `sensei.storage.database.upgrade` passes in the connection."""

from alembic import context

from sensei.storage.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
