"""What alembic runs: on the connection that ``migrating.py`` has locked, in its transaction."""

from __future__ import annotations

from alembic import context

from workers.journal.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
    compare_type=True,
    transaction_per_migration=False,
)
context.run_migrations()
