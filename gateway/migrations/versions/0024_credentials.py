"""Earlier passwords, sign-ins that wait for a new password, and when a program last came in.

Earlier passwords stand here as Argon2id, like the one in use; nothing signs in with them. Rows are written only where
the settings ask for it.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, add the columns."""
    op.execute(
        """
        CREATE TABLE app_password_history (
            tenant        text NOT NULL,
            user_id       text NOT NULL,
            seq           bigint GENERATED ALWAYS AS IDENTITY,
            password_hash text NOT NULL,
            retired_at    timestamptz NOT NULL,
            PRIMARY KEY (tenant, user_id, seq),
            FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
        )
        """
    )
    op.execute("ALTER TABLE app_sign_in ADD COLUMN renews boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE api_client ADD COLUMN last_used_at timestamptz")
    op.execute("ALTER TABLE api_client ADD COLUMN last_used_from text NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE api_client DROP COLUMN last_used_from")
    op.execute("ALTER TABLE api_client DROP COLUMN last_used_at")
    op.execute("DELETE FROM app_sign_in WHERE renews")
    op.execute("ALTER TABLE app_sign_in DROP COLUMN renews")
    op.execute("DROP TABLE app_password_history")
