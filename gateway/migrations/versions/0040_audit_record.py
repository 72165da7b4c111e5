"""Audit trail: the entries about one record are found by an index."""

from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Create the index; an entry that names no record is not in it."""
    op.execute("CREATE INDEX audit_entry_record ON audit_entry (tenant, record, index) WHERE record <> ''")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX audit_entry_record")
