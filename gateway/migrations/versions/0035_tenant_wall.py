"""Row-level security: what names no tenant, or another one, sees and writes no row of it (gateway.migrations.wall)."""

from alembic import op

from gateway.migrations import wall

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put the wall up on every table there is."""
    wall.put_up(op.get_bind())


def downgrade() -> None:
    """Take it away."""
    wall.take_down()
