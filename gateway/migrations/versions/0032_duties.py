"""Rights that a second person agrees to, and emergency roles that end by the clock.

That the one who asks, the one who gets and the one who agrees are different people is a rule of the tables, and so is
that a decision is made once and stays: whatever the code above does.
"""

from alembic import op

revision = "0032"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE app_role_change (
        tenant            text NOT NULL,
        id                text NOT NULL,
        user_id           text NOT NULL,
        roles_before      text[] NOT NULL,
        roles             text[] NOT NULL,
        placements_before text[] NOT NULL,
        placements        text[] NOT NULL,
        crm_user_before   text NOT NULL,
        crm_user          text NOT NULL,
        reason            text NOT NULL CHECK (reason <> ''),
        asked_by          text NOT NULL,
        asked_at          timestamptz NOT NULL,
        expires_at        timestamptz NOT NULL,
        approved_by       text,
        approved_at       timestamptz,
        closed_by         text,
        closed_at         timestamptz,
        PRIMARY KEY (tenant, id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id) ON DELETE CASCADE,
        FOREIGN KEY (tenant, asked_by) REFERENCES app_user (tenant, id),
        FOREIGN KEY (tenant, approved_by) REFERENCES app_user (tenant, id),
        CHECK (asked_by <> user_id),
        CHECK (approved_by <> user_id),
        CHECK (approved_by <> asked_by),
        CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
        CHECK (approved_at IS NULL OR closed_at IS NULL),
        CHECK (closed_by IS NULL OR closed_at IS NOT NULL),
        CHECK (approved_at < expires_at),
        CHECK (expires_at > asked_at AND expires_at <= asked_at + interval '72 hours')
    )
    """,
    """
    CREATE UNIQUE INDEX app_role_change_open ON app_role_change (tenant, user_id)
        WHERE approved_at IS NULL AND closed_at IS NULL
    """,
    """
    CREATE FUNCTION app_role_change_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.approved_at IS NOT NULL OR OLD.closed_at IS NOT NULL THEN
            RAISE EXCEPTION 'a role change is decided once';
        END IF;
        IF (NEW.tenant, NEW.id, NEW.user_id, NEW.roles_before, NEW.roles, NEW.placements_before, NEW.placements,
            NEW.crm_user_before, NEW.crm_user, NEW.reason, NEW.asked_by, NEW.asked_at, NEW.expires_at)
           IS DISTINCT FROM
           (OLD.tenant, OLD.id, OLD.user_id, OLD.roles_before, OLD.roles, OLD.placements_before, OLD.placements,
            OLD.crm_user_before, OLD.crm_user, OLD.reason, OLD.asked_by, OLD.asked_at, OLD.expires_at)
        THEN
            RAISE EXCEPTION 'what was asked for is never changed';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TABLE app_emergency (
        tenant      text NOT NULL,
        id          text NOT NULL,
        user_id     text NOT NULL,
        role        text NOT NULL,
        reason      text NOT NULL CHECK (reason <> ''),
        asked_at    timestamptz NOT NULL,
        lasts       interval NOT NULL CHECK (lasts > interval '0' AND lasts <= interval '8 hours'),
        starts_at   timestamptz NOT NULL,
        ends_at     timestamptz NOT NULL,
        approved_by text,
        approved_at timestamptz,
        opened_at   timestamptz,
        ended_by    text,
        ended_at    timestamptz,
        PRIMARY KEY (tenant, id),
        FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
        FOREIGN KEY (tenant, approved_by) REFERENCES app_user (tenant, id),
        CHECK (approved_by <> user_id),
        CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
        CHECK (ends_at = starts_at + lasts),
        CHECK (starts_at >= asked_at + interval '5 minutes' OR coalesce(starts_at = approved_at, false)),
        CHECK (opened_at >= starts_at AND opened_at < ends_at),
        CHECK (ended_by IS NULL OR ended_at IS NOT NULL)
    )
    """,
    "CREATE UNIQUE INDEX app_emergency_open ON app_emergency (tenant, user_id) WHERE ended_at IS NULL",
    """
    CREATE FUNCTION app_emergency_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'UPDATE' THEN
            RAISE EXCEPTION 'emergency roles are kept';
        END IF;
        IF OLD.ended_at IS NOT NULL
           OR (NEW.tenant, NEW.id, NEW.user_id, NEW.role, NEW.reason, NEW.asked_at, NEW.lasts)
              IS DISTINCT FROM
              (OLD.tenant, OLD.id, OLD.user_id, OLD.role, OLD.reason, OLD.asked_at, OLD.lasts)
           OR (OLD.opened_at IS NOT NULL AND (NEW.opened_at, NEW.starts_at, NEW.ends_at, NEW.approved_by)
              IS DISTINCT FROM (OLD.opened_at, OLD.starts_at, OLD.ends_at, OLD.approved_by))
           OR (OLD.approved_by IS NOT NULL AND NEW.approved_by IS DISTINCT FROM OLD.approved_by)
           OR (NEW.starts_at <> OLD.starts_at AND OLD.approved_by IS NOT NULL)
        THEN
            RAISE EXCEPTION 'what an emergency role is for is never changed';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER app_emergency_row BEFORE UPDATE OR DELETE ON app_emergency
    FOR EACH ROW EXECUTE FUNCTION app_emergency_kept()
    """,
    """
    CREATE TRIGGER app_emergency_table BEFORE TRUNCATE ON app_emergency
    FOR EACH STATEMENT EXECUTE FUNCTION app_emergency_kept()
    """,
    """
    CREATE TRIGGER app_role_change_row BEFORE UPDATE ON app_role_change
    FOR EACH ROW EXECUTE FUNCTION app_role_change_kept()
    """,
)


def upgrade() -> None:
    """Create them."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE app_role_change")
    op.execute("DROP FUNCTION app_role_change_kept")
    op.execute("DROP TABLE app_emergency")
    op.execute("DROP FUNCTION app_emergency_kept")
