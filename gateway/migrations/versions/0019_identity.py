"""Identity towards the CRM: people's CRM logins, API clients, signing keys, codes of the OpenID provider.

No secret stands here in the clear: CRM passwords and private keys are sealed by the keyring, the tokens of API clients
and codes are digests of random bits.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLES = (
    # holder: a user or an API client. blob: the sealed password or token, NULL where only the name is known.
    """
    CREATE TABLE crm_login (
        tenant     text NOT NULL,
        holder     text NOT NULL,
        login      text NOT NULL,
        blob       bytea,
        set_by     text NOT NULL,
        set_at     timestamptz NOT NULL,
        refused_at timestamptz,
        PRIMARY KEY (tenant, holder)
    )
    """,
    """
    CREATE TABLE api_client (
        tenant      text NOT NULL,
        id          text NOT NULL,
        name        text NOT NULL,
        token_hash  bytea NOT NULL UNIQUE,
        roles       text[] NOT NULL,
        networks    text[] NOT NULL,
        certificate text NOT NULL DEFAULT '',
        made_at     timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        revoked_at  timestamptz,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE UNIQUE INDEX api_client_name ON api_client (tenant, name) WHERE revoked_at IS NULL",
    """
    CREATE TABLE identity_key (
        tenant    text NOT NULL,
        id        text NOT NULL,
        algorithm text NOT NULL,
        public    jsonb NOT NULL,
        blob      bytea NOT NULL,
        made_at   timestamptz NOT NULL,
        PRIMARY KEY (tenant, id)
    )
    """,
    """
    CREATE TABLE oidc_code (
        tenant        text NOT NULL,
        code_hash     bytea NOT NULL,
        client        text NOT NULL,
        session_id    text NOT NULL,
        told          jsonb NOT NULL,
        expires_at    timestamptz NOT NULL,
        used_at       timestamptz,
        token_hash    bytea UNIQUE,
        token_expires timestamptz,
        PRIMARY KEY (tenant, code_hash)
    )
    """,
    "CREATE INDEX oidc_code_expiry ON oidc_code (expires_at)",
)
SEALED = ("crm_login", "identity_key")


def upgrade() -> None:
    """Make the tables, and the triggers that keep anything from being sealed under a key that was replaced."""
    for statement in TABLES:
        op.execute(statement)
    for table in SEALED:
        op.execute(
            f"CREATE TRIGGER {table}_sealed_now BEFORE INSERT OR UPDATE OF blob ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION crmgate_sealed_now('blob')"
        )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("oidc_code", "identity_key", "api_client", "crm_login"):
        op.execute(f"DROP TABLE {table}")
