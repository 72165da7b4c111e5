"""Policy bundles of each CRM with their life; what was written once stays, and nobody publishes what is his own."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, its one published row for each CRM, and the trigger that keeps the history."""
    op.execute(
        """
        CREATE TABLE policy_bundle (
            tenant           text NOT NULL,
            number           integer NOT NULL CHECK (number > 0),
            state            text NOT NULL CHECK (state IN ('draft', 'proposed', 'published', 'retired')),
            origin           text NOT NULL CHECK (origin IN ('installation', 'account')),
            rows             text NOT NULL,
            checks           text NOT NULL,
            version          text NOT NULL,
            digest           text NOT NULL,
            note             text NOT NULL,
            restores         integer,
            drafted_by       text NOT NULL,
            drafted_login    text NOT NULL,
            drafted_at       timestamptz NOT NULL,
            proposed_by      text,
            proposed_login   text,
            proposed_at      timestamptz,
            published_by     text,
            published_login  text,
            published_at     timestamptz,
            retired_at       timestamptz,
            PRIMARY KEY (tenant, number),
            FOREIGN KEY (tenant, restores) REFERENCES policy_bundle (tenant, number),
            CONSTRAINT four_eyes CHECK (origin = 'installation' OR published_by IS DISTINCT FROM drafted_by),
            CONSTRAINT somebody CHECK (origin = 'installation' OR (drafted_by <> '' AND published_by <> '')),
            CONSTRAINT proposed CHECK (state = 'draft' OR origin = 'installation'
                OR (proposed_by IS NOT NULL AND proposed_at IS NOT NULL)),
            CONSTRAINT published CHECK (state IN ('draft', 'proposed')
                OR (published_by IS NOT NULL AND published_at IS NOT NULL)),
            CONSTRAINT retired CHECK ((state = 'retired') = (retired_at IS NOT NULL))
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX policy_bundle_in_force ON policy_bundle (tenant) WHERE state = 'published'")
    op.execute(
        """
        CREATE FUNCTION policy_bundle_kept() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' OR TG_OP = 'TRUNCATE' THEN
                RAISE EXCEPTION 'policy bundles are kept';
            END IF;
            IF (NEW.tenant, NEW.number, NEW.origin, NEW.rows, NEW.checks, NEW.version, NEW.digest, NEW.note,
                NEW.restores, NEW.drafted_by, NEW.drafted_login, NEW.drafted_at)
               IS DISTINCT FROM
               (OLD.tenant, OLD.number, OLD.origin, OLD.rows, OLD.checks, OLD.version, OLD.digest, OLD.note,
                OLD.restores, OLD.drafted_by, OLD.drafted_login, OLD.drafted_at)
               OR (OLD.state, NEW.state) NOT IN
                  (('draft', 'proposed'), ('proposed', 'published'), ('published', 'retired'))
               OR (OLD.proposed_by IS NOT NULL AND (NEW.proposed_by, NEW.proposed_login, NEW.proposed_at)
                  IS DISTINCT FROM (OLD.proposed_by, OLD.proposed_login, OLD.proposed_at))
               OR (OLD.published_by IS NOT NULL AND (NEW.published_by, NEW.published_login, NEW.published_at)
                  IS DISTINCT FROM (OLD.published_by, OLD.published_login, OLD.published_at))
            THEN
                RAISE EXCEPTION 'what a policy bundle says is never changed';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER policy_bundle_row BEFORE UPDATE OR DELETE ON policy_bundle
        FOR EACH ROW EXECUTE FUNCTION policy_bundle_kept()
        """
    )
    op.execute(
        """
        CREATE TRIGGER policy_bundle_table BEFORE TRUNCATE ON policy_bundle
        FOR EACH STATEMENT EXECUTE FUNCTION policy_bundle_kept()
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE policy_bundle")
    op.execute("DROP FUNCTION policy_bundle_kept")
