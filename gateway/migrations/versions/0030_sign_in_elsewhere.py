"""Accounts linked to identities of other providers, and sign-ins and sessions that began through one.

A link names an identity by who says so (issuer) and its stable id there (subject), never by e-mail or login: those are
given to somebody else later. An empty issuer is a sign-in with crmgate's own password.
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of links and the columns."""
    op.execute(
        """
        CREATE TABLE app_account_link (
            tenant       text NOT NULL,
            issuer       text NOT NULL CHECK (issuer <> ''),
            subject      text NOT NULL CHECK (subject <> ''),
            user_id      text NOT NULL,
            linked_at    timestamptz NOT NULL,
            last_used_at timestamptz,
            UNIQUE (tenant, issuer, subject),
            PRIMARY KEY (tenant, user_id, issuer),
            FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
        )
        """
    )
    for table in ("app_sign_in", "app_session"):
        op.execute(
            f"""ALTER TABLE {table} ADD COLUMN link_issuer text NOT NULL DEFAULT '',
                ADD COLUMN link_subject text NOT NULL DEFAULT '', ADD COLUMN link_session text NOT NULL DEFAULT ''"""
        )
    op.execute("CREATE INDEX app_session_link ON app_session (tenant, link_issuer) WHERE link_issuer <> ''")


def downgrade() -> None:
    """Drop them; what began through another provider ends, since nothing would say so any more."""
    op.execute("DELETE FROM app_sign_in WHERE link_issuer <> ''")
    op.execute(
        """UPDATE app_session SET ended_at = now(), ended_reason = 'unlinked'
           WHERE link_issuer <> '' AND ended_at IS NULL"""
    )
    op.execute("DROP INDEX app_session_link")
    for table in ("app_sign_in", "app_session"):
        op.execute(f"ALTER TABLE {table} DROP COLUMN link_issuer, DROP COLUMN link_subject, DROP COLUMN link_session")
    op.execute("DROP TABLE app_account_link")
