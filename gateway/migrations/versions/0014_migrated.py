"""What was proved to hold nothing in clear, part by part of a CRM, and by whom; taken back by an undo."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of proofs."""
    op.execute(
        """
        CREATE TABLE protect_proof (
            tenant      text NOT NULL,
            part        text NOT NULL CHECK (part IN ('records', 'history')),
            proved_at   timestamptz NOT NULL DEFAULT now(),
            proved_by   text NOT NULL,
            runs        text[] NOT NULL,
            held        bigint NOT NULL,
            PRIMARY KEY (tenant, part)
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE protect_proof")
