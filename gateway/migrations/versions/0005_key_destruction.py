"""Destruction of keys by two people: requests with their states, and the mark on keys that are gone.

The second person is another one than the first by a rule of the table, not only of the program.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the mark."""
    op.execute("ALTER TABLE kms_key ADD COLUMN destroyed_at timestamptz")
    op.execute(
        """
        CREATE TABLE kms_destruction (
            tenant          text NOT NULL,
            id              text NOT NULL,
            scope           text NOT NULL,
            state           text NOT NULL
                            CHECK (state IN ('requested', 'approved', 'executing', 'destroyed', 'cancelled')),
            requested_by    text NOT NULL,
            requested_login text NOT NULL,
            requested_at    timestamptz NOT NULL,
            approved_by     text CHECK (approved_by <> requested_by),
            approved_login  text,
            approved_at     timestamptz,
            due_at          timestamptz,
            suspended       boolean NOT NULL DEFAULT false,
            key_ids         bytea[] NOT NULL DEFAULT '{}',
            cancelled_by    text,
            ended_at        timestamptz,
            record          text NOT NULL DEFAULT '',
            PRIMARY KEY (tenant, id),
            CHECK (state IN ('requested', 'cancelled') OR (approved_by IS NOT NULL AND due_at IS NOT NULL))
        )
        """
    )
    # scope '' is the key of the whole tenant.
    op.execute(
        "CREATE UNIQUE INDEX kms_destruction_open ON kms_destruction (tenant, scope)"
        " WHERE state IN ('requested', 'approved', 'executing')"
    )


def downgrade() -> None:
    """Drop the table and the mark."""
    op.execute("DROP TABLE kms_destruction")
    op.execute("ALTER TABLE kms_key DROP COLUMN destroyed_at")
