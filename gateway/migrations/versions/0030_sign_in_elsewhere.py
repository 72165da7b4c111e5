"""Accounts linked to identities of other providers, and sign-ins and sessions that began through one.

A link names an identity by who says so (issuer) and its stable id there (subject), never by e-mail or login: those are
given to somebody else later. app_elsewhere keeps trips to a provider that are under way (session_id: of whoever links
an identity), app_logout_token which words of a logout were heard. An empty issuer is a sign-in with crmgate's own
password.
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the columns."""
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
    op.execute(
        """
        CREATE TABLE app_elsewhere (
            tenant      text NOT NULL,
            secret_hash bytea NOT NULL,
            audience    text NOT NULL,
            provider    text NOT NULL,
            next_path   text NOT NULL,
            session_id  text NOT NULL,
            client      text NOT NULL,
            expires_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, secret_hash)
        );
        CREATE INDEX app_elsewhere_expires ON app_elsewhere (expires_at);
        CREATE INDEX app_elsewhere_client ON app_elsewhere (tenant, client, expires_at);
        CREATE TABLE app_logout_token (
            tenant     text NOT NULL,
            token_hash bytea NOT NULL,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, token_hash)
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
    op.execute("DROP TABLE app_logout_token; DROP TABLE app_elsewhere; DROP TABLE app_account_link")
