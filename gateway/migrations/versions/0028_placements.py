"""Departments and positions of people, beside their roles."""

from alembic import op

revision = "0028"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody is in a department or has a position yet."""
    op.execute("ALTER TABLE app_user ADD COLUMN placements text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE app_user DROP COLUMN placements")
