"""How often somebody was told about values he does not see: searches, and answers that a value is taken; per hour."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE guess_count (
            tenant  text NOT NULL,
            actor   text NOT NULL,
            sort    text NOT NULL,
            hour    timestamptz NOT NULL,
            times   bigint NOT NULL,
            PRIMARY KEY (tenant, actor, sort, hour)
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE guess_count")
