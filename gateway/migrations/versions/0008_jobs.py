"""Durable work and the states of keys.

One row a job, with its cursor and progress; dbos keeps its own tables in the schema `dbos`. A field key is current,
then live (still read), then retired (nothing is under it); one for checks inside surrogates is `verify` for ever.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
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
    "ALTER TABLE kms_key ADD COLUMN state text NOT NULL DEFAULT 'current'"
    " CHECK (state IN ('current', 'live', 'verify', 'retired', 'destroyed'))",
    "UPDATE kms_key SET state = CASE purpose WHEN 'token' THEN 'verify' ELSE 'live' END WHERE retired_at IS NOT NULL",
    # Under which key a term stands, and of an alias its sealed text, so that its terms can be made anew.
    "ALTER TABLE vault_term ADD COLUMN equal_key bytea NOT NULL DEFAULT '', ADD COLUMN alias bytea",
    """
    UPDATE vault_term t SET equal_key = k.id FROM kms_key k
    WHERE k.tenant = t.tenant AND k.scope = t.kind AND k.purpose = 'equal' AND k.state = 'current'
    """,
    # The unique indexes are partial, so a search by surrogate alone could not use them.
    "CREATE INDEX vault_origin_surrogate ON vault_origin (tenant, surrogate)",
)


def upgrade() -> None:
    """Make the table of jobs and the columns."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP INDEX vault_origin_surrogate")
    op.execute("ALTER TABLE vault_term DROP COLUMN equal_key, DROP COLUMN alias")
    op.execute("ALTER TABLE kms_key DROP COLUMN state")
    op.execute("DROP TABLE job")
