"""Who may pass: users, invitations, half-open sign-ins, sessions, CRM tokens and the throttle against guessing.

No secret stands here in the clear: tokens are SHA-256 digests of 256 random bits, passwords are Argon2id, second-factor
secrets are sealed by the keyring, and what somebody typed as a login is kept by the throttle as a digest only.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


TABLES = (
    """
    CREATE TABLE app_user (
        tenant              text NOT NULL,
        id                  text NOT NULL,
        login               text NOT NULL,
        login_key           text NOT NULL,
        display_name        text NOT NULL DEFAULT '',
        password_hash       text,
        roles               text[] NOT NULL DEFAULT '{}',
        crm_user            text,
        language            text NOT NULL DEFAULT '',
        disabled            boolean NOT NULL DEFAULT false,
        totp_secret         bytea,
        last_totp_step      bigint NOT NULL DEFAULT 0,
        created_at          timestamptz NOT NULL,
        password_changed_at timestamptz,
        PRIMARY KEY (tenant, id),
        UNIQUE (tenant, login_key)
    )
    """,
    """
    CREATE TABLE app_invitation (
        tenant      text NOT NULL,
        token_hash  bytea NOT NULL PRIMARY KEY,
        user_id     text NOT NULL,
        totp_secret bytea NOT NULL,
        invited_by  text NOT NULL,
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        attempts    integer NOT NULL DEFAULT 0,
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX app_invitation_user ON app_invitation (tenant, user_id)",
    """
    CREATE TABLE app_sign_in (
        tenant      text NOT NULL,
        token_hash  bytea NOT NULL PRIMARY KEY,
        user_id     text NOT NULL,
        audience    text NOT NULL,
        next_path   text NOT NULL,
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        attempts    integer NOT NULL DEFAULT 0,
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX app_sign_in_user ON app_sign_in (tenant, user_id)",
    """
    CREATE TABLE app_session (
        tenant       text NOT NULL,
        id           text NOT NULL,
        token_hash   bytea NOT NULL UNIQUE,
        user_id      text NOT NULL,
        audience     text NOT NULL,
        client       text NOT NULL,
        crm_login    text,
        crm_user     text,
        opened_at    timestamptz NOT NULL,
        seen_at      timestamptz NOT NULL,
        expires_at   timestamptz NOT NULL,
        ended_at     timestamptz,
        ended_reason text,
        PRIMARY KEY (tenant, id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX app_session_user ON app_session (tenant, user_id) WHERE ended_at IS NULL",
    "CREATE INDEX app_session_expiry ON app_session (expires_at)",
    """
    CREATE TABLE app_crm_token (
        tenant     text NOT NULL,
        token_hash text NOT NULL,
        user_id    text NOT NULL,
        session_id text NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen  timestamptz NOT NULL,
        ended_at   timestamptz,
        PRIMARY KEY (tenant, token_hash)
    )
    """,
    "CREATE INDEX app_crm_token_session ON app_crm_token (tenant, session_id) WHERE ended_at IS NULL",
    """
    CREATE TABLE app_throttle (
        tenant        text NOT NULL,
        dimension     text NOT NULL,
        key           bytea NOT NULL,
        failures      integer NOT NULL,
        last_at       timestamptz NOT NULL,
        blocked_until timestamptz NOT NULL,
        PRIMARY KEY (tenant, dimension, key)
    )
    """,
    "CREATE INDEX app_throttle_age ON app_throttle (last_at)",
    """
    CREATE TABLE app_known_source (
        tenant  text NOT NULL,
        user_id text NOT NULL,
        source  text NOT NULL,
        last_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, user_id, source),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    """Create the tables of gateway.access."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables of gateway.access."""
    for table in (
        "app_known_source",
        "app_throttle",
        "app_crm_token",
        "app_session",
        "app_sign_in",
        "app_invitation",
        "app_user",
    ):
        op.execute(f"DROP TABLE {table}")
