"""Since when somebody has a role, department or position; rounds of reviews and what was decided in them."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; roles held already count from the account's first day, as not known exactly."""
    op.execute(
        """
        CREATE TABLE role_held (
            tenant   text NOT NULL,
            user_id  text NOT NULL,
            role     text NOT NULL,
            since    timestamptz NOT NULL,
            exact    boolean NOT NULL DEFAULT true,
            until    timestamptz,
            PRIMARY KEY (tenant, user_id, role, since),
            FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE
        );
        CREATE UNIQUE INDEX role_held_now ON role_held (tenant, user_id, role) WHERE until IS NULL;
        INSERT INTO role_held (tenant, user_id, role, since, exact)
            SELECT tenant, id, held.role, created_at, false
            FROM app_user, LATERAL (SELECT DISTINCT unnest(roles || placements) AS role) held;
        CREATE FUNCTION crmgate_roles_held() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE role_held SET until = clock_timestamp()
            WHERE tenant = NEW.tenant AND user_id = NEW.id AND until IS NULL
              AND role <> ALL (NEW.roles || NEW.placements);
            INSERT INTO role_held (tenant, user_id, role, since)
                SELECT DISTINCT NEW.tenant, NEW.id, role, clock_timestamp()
                FROM unnest(NEW.roles || NEW.placements) AS role
            ON CONFLICT (tenant, user_id, role) WHERE until IS NULL DO NOTHING;
            RETURN NULL;
        END $$;
        CREATE TRIGGER app_user_roles_held AFTER INSERT OR UPDATE OF roles, placements ON app_user
            FOR EACH ROW EXECUTE FUNCTION crmgate_roles_held();
        CREATE TABLE review_round (
            tenant         text NOT NULL,
            number         integer NOT NULL,
            days           integer NOT NULL CHECK (days > 0),
            whole          boolean NOT NULL,
            started_by     text NOT NULL,
            started_login  text NOT NULL,
            started_at     timestamptz NOT NULL,
            closed_by      text,
            closed_login   text,
            closed_at      timestamptz,
            bundle         integer,
            PRIMARY KEY (tenant, number)
        );
        CREATE UNIQUE INDEX review_round_open ON review_round (tenant) WHERE closed_at IS NULL;
        CREATE TABLE review_item (
            tenant         text NOT NULL,
            round          integer NOT NULL,
            number         integer NOT NULL,
            kind           text NOT NULL CHECK (kind IN ('role', 'row')),
            user_id        text NOT NULL,
            login          text NOT NULL,
            role           text NOT NULL,
            since          timestamptz,
            exact          boolean NOT NULL,
            last_used      timestamptz,
            unused         boolean NOT NULL,
            wording        text NOT NULL,
            holders        integer NOT NULL,
            decision       text CHECK (decision IN ('keep', 'remove')),
            decided_by     text,
            decided_login  text,
            decided_at     timestamptz,
            done_at        timestamptz,
            PRIMARY KEY (tenant, round, number),
            FOREIGN KEY (tenant, round) REFERENCES review_round (tenant, number),
            CONSTRAINT review_item_not_oneself CHECK (kind <> 'role' OR decided_by IS NULL OR decided_by <> user_id),
            CONSTRAINT review_item_done_is_removal CHECK (done_at IS NULL OR decision = 'remove')
        )
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute(
        """
        DROP TABLE review_item;
        DROP TABLE review_round;
        DROP TRIGGER app_user_roles_held ON app_user;
        DROP FUNCTION crmgate_roles_held();
        DROP TABLE role_held
        """
    )
