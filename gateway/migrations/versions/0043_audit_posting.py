"""The index of the audit trail, a copy that can be made anew, and the questions that people keep."""

from alembic import op

revision = "0043"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute(
        """
        CREATE TABLE audit_posting (
            tenant  text NOT NULL,
            term    text NOT NULL,
            at      timestamptz NOT NULL,
            index   bigint NOT NULL,
            shown   text NOT NULL,
            PRIMARY KEY (tenant, term, at, index)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_indexed (
            tenant      text PRIMARY KEY,
            next_index  bigint NOT NULL,
            format      integer NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_saved (
            tenant      text NOT NULL,
            id          text NOT NULL,
            owner       text NOT NULL,
            owner_login text NOT NULL,
            name        text NOT NULL,
            shared      boolean NOT NULL,
            question    text NOT NULL,
            changed_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, id),
            UNIQUE (tenant, owner, name)
        )
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE audit_posting, audit_indexed, audit_saved")
