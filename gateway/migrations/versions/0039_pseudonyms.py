"""Holders that the trail names by pseudonym: their keys are kept although no value is under them."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE vault_named (
            tenant text NOT NULL,
            holder bytea NOT NULL,
            PRIMARY KEY (tenant, holder)
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE vault_named")
