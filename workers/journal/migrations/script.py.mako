"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | None = ${repr(branch_labels)}
depends_on: str | None = ${repr(depends_on)}
#: The oldest step whose programs can work with these tables: theirs run while a system is upgraded, and may come back.
#: A step that only adds (tables, columns with a default or NULL, indexes) keeps it; one that takes away makes it itself.
good_for: str = ${repr(down_revision or up_revision)}


def upgrade() -> None:
    """Bring the tables up to date."""
    ${upgrades if upgrades else "pass"}
