"""Which cell a field of a record holds now: a role without the right to write may only post that one back.

Old cells keep their record, so that pages which still show them open; they merely stand nowhere any more.
"""

from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark."""
    op.execute("ALTER TABLE vault_cell ADD COLUMN standing boolean NOT NULL DEFAULT false")
    op.execute("CREATE UNIQUE INDEX vault_cell_standing ON vault_cell (tenant, entity, field, record) WHERE standing")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX vault_cell_standing")
    op.execute("ALTER TABLE vault_cell DROP COLUMN standing")
