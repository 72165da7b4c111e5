"""How far each SIEM has taken each tenant's trail."""

from alembic import op

revision = "0037"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE audit_forward (
            tenant      text NOT NULL,
            sink        text NOT NULL,
            next_index  bigint NOT NULL,
            at          timestamptz NOT NULL,
            PRIMARY KEY (tenant, sink)
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE audit_forward")
