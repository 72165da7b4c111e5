"""Learning runs, what each process saw in them (places and counts, no values), and what drifted from the profile."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    op.execute(
        """
        CREATE TABLE learn_run (
            tenant      text NOT NULL,
            id          text NOT NULL,
            started_at  timestamptz NOT NULL,
            ends_at     timestamptz NOT NULL,
            stopped_at  timestamptz,
            started_by  text NOT NULL,
            document    jsonb,
            answers     jsonb NOT NULL DEFAULT '{}',
            PRIMARY KEY (tenant, id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE learn_evidence (
            tenant      text NOT NULL,
            run         text NOT NULL,
            process     text NOT NULL,
            evidence    jsonb NOT NULL,
            noted_at    timestamptz NOT NULL,
            PRIMARY KEY (tenant, run, process),
            FOREIGN KEY (tenant, run) REFERENCES learn_run (tenant, id) ON DELETE CASCADE
        )
        """
    )
    op.execute(
        """
        CREATE TABLE learn_drift (
            tenant      text NOT NULL,
            sort        text NOT NULL,
            place       text NOT NULL,
            kind        text NOT NULL,
            times       bigint NOT NULL,
            first_seen  timestamptz NOT NULL,
            last_seen   timestamptz NOT NULL,
            PRIMARY KEY (tenant, sort, place, kind)
        )
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE learn_drift")
    op.execute("DROP TABLE learn_evidence")
    op.execute("DROP TABLE learn_run")
