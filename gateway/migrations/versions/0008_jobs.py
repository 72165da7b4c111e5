"""Durable work: one row a job, with its cursor and progress; dbos keeps its own tables in the schema `dbos`."""

from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    # wanted: what an administrator asked for last; state: what is. run counts the workflows that worked on the job.
    """
    CREATE TABLE job (
        id         text PRIMARY KEY,
        kind       text NOT NULL,
        tenant     text NOT NULL,
        arguments  jsonb NOT NULL,
        cursor     jsonb NOT NULL DEFAULT 'null',
        state      text NOT NULL DEFAULT 'running'
                   CHECK (state IN ('running', 'paused', 'stopped', 'cancelled', 'done')),
        wanted     text NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'pause', 'cancel')),
        run        integer NOT NULL DEFAULT 1,
        problem    text NOT NULL DEFAULT '',
        done       bigint NOT NULL DEFAULT 0,
        total      bigint NOT NULL DEFAULT 0,
        rate       double precision,
        active_s   double precision NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        ended_at   timestamptz
    )
    """,
    "CREATE INDEX job_tenant ON job (tenant, kind, created_at)",
    "CREATE INDEX job_running ON job (kind) WHERE state = 'running'",
)


def upgrade() -> None:
    """Make the table of jobs."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE job")
