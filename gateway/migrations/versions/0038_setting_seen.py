"""With which settings the gateway last ran, so that a change of them is an event of the trail."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE setting_seen (
            tenant  text NOT NULL,
            name    text NOT NULL,
            value   text NOT NULL,
            PRIMARY KEY (tenant, name)
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE setting_seen")
