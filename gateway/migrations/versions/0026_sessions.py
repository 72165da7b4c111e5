"""Sessions that can be locked, and how fresh the last proof of a factor in them is.

proved_at: when a second factor was last verified in this session; it opens with one. The index serves the look that
confirms the sessions in use by their ids.
"""

from alembic import op

revision = "0026"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, the index and the third purpose of a passkey challenge."""
    op.execute("ALTER TABLE app_session ADD COLUMN locked_at timestamptz, ADD COLUMN proved_at timestamptz")
    op.execute("UPDATE app_session SET proved_at = opened_at")
    op.execute("ALTER TABLE app_session ALTER COLUMN proved_at SET NOT NULL")
    op.execute("CREATE INDEX app_session_id ON app_session (id)")
    op.execute("ALTER TABLE app_passkey_challenge DROP CONSTRAINT app_passkey_challenge_purpose_check")
    op.execute(
        """ALTER TABLE app_passkey_challenge ADD CONSTRAINT app_passkey_challenge_purpose_check
           CHECK (purpose IN ('enrol', 'sign-in', 'prove'))"""
    )


def downgrade() -> None:
    """Take them back; a locked session must not open by that, so it ends."""
    op.execute("UPDATE app_session SET ended_at = now(), ended_reason = 'locked' WHERE locked_at IS NOT NULL")
    op.execute("DELETE FROM app_passkey_challenge WHERE purpose = 'prove'")
    op.execute("ALTER TABLE app_passkey_challenge DROP CONSTRAINT app_passkey_challenge_purpose_check")
    op.execute(
        """ALTER TABLE app_passkey_challenge ADD CONSTRAINT app_passkey_challenge_purpose_check
           CHECK (purpose IN ('enrol', 'sign-in'))"""
    )
    op.execute("DROP INDEX app_session_id")
    op.execute("ALTER TABLE app_session DROP COLUMN proved_at, DROP COLUMN locked_at")
