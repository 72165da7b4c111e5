"""Second factors beside the app's codes: recovery codes, passkeys with their challenges, and resets by two people.

Recovery codes stand here as Argon2id under a salt of their set, passkeys as public keys; nothing of it signs anybody
in. That one person cannot reset alone is a rule of the table, whatever the code above it does.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


TABLES = (
    """
    CREATE TABLE app_recovery (
        tenant  text NOT NULL,
        user_id text NOT NULL,
        salt    bytea NOT NULL,
        made_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, user_id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE app_recovery_code (
        tenant    text NOT NULL,
        user_id   text NOT NULL,
        code_hash bytea NOT NULL,
        used_at   timestamptz,
        PRIMARY KEY (tenant, user_id, code_hash),
        FOREIGN KEY (tenant, user_id) REFERENCES app_recovery (tenant, user_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE app_passkey (
        tenant        text NOT NULL,
        id            text NOT NULL,
        user_id       text NOT NULL,
        rp_id         text NOT NULL,
        credential_id bytea NOT NULL,
        public_key    bytea NOT NULL,
        sign_count    bigint NOT NULL,
        name          text NOT NULL,
        created_at    timestamptz NOT NULL,
        last_used_at  timestamptz,
        PRIMARY KEY (tenant, id),
        UNIQUE (tenant, rp_id, credential_id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX app_passkey_user ON app_passkey (tenant, user_id)",
    """
    CREATE TABLE app_passkey_challenge (
        tenant     text NOT NULL,
        purpose    text NOT NULL CHECK (purpose IN ('enrol', 'sign-in')),
        bound_to   bytea NOT NULL,
        user_id    text NOT NULL,
        rp_id      text NOT NULL,
        challenge  bytea NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, purpose, bound_to),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX app_passkey_challenge_expiry ON app_passkey_challenge (expires_at)",
    """
    CREATE TABLE app_factor_reset (
        tenant      text NOT NULL,
        id          text NOT NULL,
        user_id     text NOT NULL,
        started_by  text NOT NULL,
        started_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        approved_by text,
        approved_at timestamptz,
        PRIMARY KEY (tenant, id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE,
        CHECK (started_by <> user_id),
        CHECK (approved_by <> user_id),
        CHECK (approved_by <> started_by),
        CHECK ((approved_by IS NULL) = (approved_at IS NULL))
    )
    """,
    "CREATE UNIQUE INDEX app_factor_reset_open ON app_factor_reset (tenant, user_id) WHERE approved_at IS NULL",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("app_factor_reset", "app_passkey_challenge", "app_passkey", "app_recovery_code", "app_recovery"):
        op.execute(f"DROP TABLE {table}")
