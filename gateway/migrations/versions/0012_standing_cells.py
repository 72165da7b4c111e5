"""Which cell a field of a record holds now, with its ciphertext: what comes back unchanged becomes that cell again.

Old cells keep their record, so that pages which still show them open; they merely stand nowhere any more.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark."""
    op.execute("ALTER TABLE vault_cell ADD COLUMN blob bytea")
    op.execute(
        "CREATE UNIQUE INDEX vault_cell_standing ON vault_cell (tenant, entity, field, record) WHERE blob IS NOT NULL"
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX vault_cell_standing")
    op.execute("ALTER TABLE vault_cell DROP COLUMN blob")
