"""Record attributes that rights depend on: who owns a record in the CRM, and since when we know."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of record owners."""
    op.execute(
        """
        CREATE TABLE crm_record (
            tenant   text NOT NULL,
            entity   text NOT NULL,
            record   text NOT NULL,
            owner    text NOT NULL,
            seen_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, entity, record)
        )
        """
    )


def downgrade() -> None:
    """Drop the table of record owners."""
    op.execute("DROP TABLE crm_record")
