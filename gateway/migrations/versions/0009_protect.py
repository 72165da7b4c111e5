"""Protecting existing data: the sealed service credential of a CRM, runs, and what was done to each record.

No column holds a value in the clear: `fields` names surrogates, places and keyed digests; `kept` is what a record held
before, sealed, from the moment before the CRM is written until the record is known to be done.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE crm_credential (
        tenant  text PRIMARY KEY,
        blob    bytea NOT NULL,
        set_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE protect_run (
        tenant      text NOT NULL,
        id          text NOT NULL,
        way         text NOT NULL,
        state       text NOT NULL CHECK (state IN ('gathering', 'protecting', 'done', 'undoing', 'undone')),
        rate        real NOT NULL,
        started_at  timestamptz NOT NULL DEFAULT now(),
        ended_at    timestamptz,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE UNIQUE INDEX protect_run_open ON protect_run (tenant)"
    " WHERE state IN ('gathering', 'protecting', 'undoing')",
    """
    CREATE TABLE protect_record (
        tenant      text NOT NULL,
        run         text NOT NULL,
        step        smallint NOT NULL,
        entity      text NOT NULL,
        record      text NOT NULL,
        state       text NOT NULL,
        fields      jsonb NOT NULL DEFAULT '{}',
        misfits     jsonb NOT NULL DEFAULT '{}',
        kept        bytea,
        writes      smallint NOT NULL DEFAULT 0,
        changed_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, run, entity, record),
        FOREIGN KEY (tenant, run) REFERENCES protect_run (tenant, id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX protect_record_todo ON protect_record (tenant, run, state, step)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("protect_record", "protect_run", "crm_credential"):
        op.execute(f"DROP TABLE {table}")
