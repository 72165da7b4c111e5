"""What the mail relay has delivered already, as keyed digests, so that a retry does not mail somebody twice."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of delivered mail."""
    op.execute(
        """
        CREATE TABLE egress_delivery (
            tenant  text NOT NULL,
            digest  bytea NOT NULL CHECK (octet_length(digest) = 32),
            until   timestamptz NOT NULL,
            PRIMARY KEY (tenant, digest)
        )
        """
    )
    op.execute("CREATE INDEX egress_delivery_until ON egress_delivery (until)")


def downgrade() -> None:
    """Drop the table of delivered mail."""
    op.execute("DROP TABLE egress_delivery")
