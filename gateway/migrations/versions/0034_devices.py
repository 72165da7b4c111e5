"""Devices: browsers with a key that cannot leave them, the challenges they sign, and what binds a session to one."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; a session has a device, a token that was its last one, and a proof that is used once."""
    op.execute(
        """
        CREATE TABLE app_device (
            tenant      text NOT NULL,
            id          text NOT NULL,
            user_id     text NOT NULL,
            audience    text NOT NULL,
            thumbprint  text NOT NULL,
            public_key  bytea NOT NULL,
            name        text NOT NULL,
            first_seen  timestamptz NOT NULL,
            last_seen   timestamptz NOT NULL,
            approved_at timestamptz,
            approved_by text NOT NULL DEFAULT '',
            revoked_at  timestamptz,
            revoked_by  text NOT NULL DEFAULT '',
            PRIMARY KEY (tenant, id),
            UNIQUE (tenant, user_id, audience, thumbprint),
            FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
        );
        CREATE TABLE app_device_challenge (
            tenant      text NOT NULL,
            session_id  text NOT NULL,
            challenge   bytea NOT NULL,
            expires_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, session_id, challenge),
            FOREIGN KEY (tenant, session_id) REFERENCES app_session (tenant, id) ON DELETE CASCADE
        );
        ALTER TABLE app_session
            ADD COLUMN device_id text NOT NULL DEFAULT '',
            ADD COLUMN device_until timestamptz,
            ADD COLUMN device_fresh_until timestamptz,
            ADD COLUMN previous_hash bytea,
            ADD COLUMN previous_until timestamptz,
            ADD COLUMN by_program boolean NOT NULL DEFAULT false;
        CREATE INDEX app_session_previous ON app_session (previous_hash) WHERE previous_hash IS NOT NULL;
        CREATE INDEX app_session_device ON app_session (tenant, device_id) WHERE device_id <> ''
        """
    )


def downgrade() -> None:
    """Drop them; sessions that waited for a device do not open by that."""
    op.execute(
        """
        UPDATE app_session s SET ended_at = now(), ended_reason = 'device' WHERE ended_at IS NULL AND device_id <> ''
            AND NOT EXISTS (SELECT 1 FROM app_device d WHERE d.tenant = s.tenant AND d.id = s.device_id
                              AND d.approved_at IS NOT NULL AND d.revoked_at IS NULL);
        DROP INDEX app_session_device;
        DROP INDEX app_session_previous;
        ALTER TABLE app_session DROP COLUMN device_id, DROP COLUMN device_until, DROP COLUMN device_fresh_until,
            DROP COLUMN previous_hash, DROP COLUMN previous_until, DROP COLUMN by_program;
        DROP TABLE app_device_challenge;
        DROP TABLE app_device
        """
    )
