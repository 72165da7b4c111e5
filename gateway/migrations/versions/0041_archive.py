"""Sealed segments of the audit trail, where its hot part begins, and legal holds."""

from alembic import op

revision = "0041"
down_revision = "0037"
branch_labels = None
depends_on = None

_REFUSE = "RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege'"


def upgrade() -> None:
    """Create the tables, the guards on them, and the one way by which entries leave the database."""
    _tables()
    _guards()
    # Narrow: one sealed and verified segment, the oldest that is still here, whole or not at all.
    op.execute(
        """
        CREATE FUNCTION audit_prune(of_tenant text, of_first bigint) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        DECLARE ends bigint; gone bigint;
        BEGIN
            INSERT INTO audit_hot (tenant, start) VALUES (of_tenant, 0) ON CONFLICT DO NOTHING;
            SELECT s.last INTO ends FROM audit_hot h JOIN audit_segment s ON s.tenant = h.tenant AND s.first = h.start
                WHERE h.tenant = of_tenant AND h.start = of_first FOR UPDATE OF h;
            IF ends IS NULL THEN
                RAISE EXCEPTION 'no sealed segment begins where the hot part does';
            END IF;
            UPDATE audit_hot SET start = ends + 1, pruning = pg_current_xact_id() WHERE tenant = of_tenant;
            DELETE FROM audit_entry WHERE tenant = of_tenant AND index >= of_first AND index <= ends;
            GET DIAGNOSTICS gone = ROW_COUNT;
            IF gone <> ends - of_first + 1 THEN
                RAISE EXCEPTION 'the segment and the database do not hold the same entries';
            END IF;
            RETURN gone;
        END $$
        """
    )


def _tables() -> None:
    op.execute(
        """
        CREATE TABLE audit_segment (
            tenant      text NOT NULL,
            first       bigint NOT NULL CHECK (first >= 0),
            last        bigint NOT NULL CHECK (last >= first),
            at_last     timestamptz NOT NULL,
            sealed_at   timestamptz NOT NULL,
            frontier    bytea NOT NULL,
            note        text NOT NULL,
            dropped_at  timestamptz,
            leaves      jsonb,
            PRIMARY KEY (tenant, first),
            UNIQUE (tenant, last)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_hot (
            tenant   text PRIMARY KEY,
            start    bigint NOT NULL CHECK (start >= 0),
            pruning  xid8
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_hold (
            tenant        text NOT NULL,
            id            text NOT NULL,
            reason        text NOT NULL,
            set_by        text NOT NULL,
            set_at        timestamptz NOT NULL,
            data_subject  text NOT NULL,
            entity        text NOT NULL,
            record        text NOT NULL,
            actor         text NOT NULL,
            since         timestamptz,
            until         timestamptz,
            lift_by       text,
            lift_at       timestamptz,
            lifted_by     text,
            lifted_at     timestamptz,
            CHECK (lifted_by IS NULL OR lifted_by <> lift_by),
            PRIMARY KEY (tenant, id)
        )
        """
    )
    # For reading only: nothing of the trail is proved from here.
    op.execute(
        """
        CREATE TABLE audit_restored (
            tenant     text NOT NULL,
            index      bigint NOT NULL,
            at         timestamptz NOT NULL,
            kind       text NOT NULL,
            actor      text NOT NULL,
            operation  text NOT NULL,
            entity     text NOT NULL,
            record     text NOT NULL,
            reason     text NOT NULL,
            status     smallint NOT NULL,
            exchange   text NOT NULL,
            body       bytea NOT NULL,
            leaf       bytea NOT NULL,
            PRIMARY KEY (tenant, index)
        )
        """
    )


def _guards() -> None:
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_entry' THEN
                IF EXISTS (SELECT FROM audit_hot WHERE pruning = pg_current_xact_id_if_assigned()) THEN
                    RETURN NULL;
                END IF;
            END IF;
            {_REFUSE};
        END $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION audit_hot_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.start = 0 AND NEW.pruning IS NULL THEN RETURN NEW; END IF;
            ELSIF TG_OP = 'UPDATE' AND NEW.tenant = OLD.tenant THEN
                IF EXISTS (SELECT FROM audit_segment WHERE tenant = NEW.tenant AND first = OLD.start
                           AND last = NEW.start - 1) THEN RETURN NEW; END IF;
            END IF;
            {_REFUSE};
        END $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION audit_segment_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.dropped_at IS NULL
                AND (NEW.tenant, NEW.first, NEW.last, NEW.at_last, NEW.sealed_at, NEW.frontier, NEW.note)
                  = (OLD.tenant, OLD.first, OLD.last, OLD.at_last, OLD.sealed_at, OLD.frontier, OLD.note)
            THEN RETURN NEW; END IF;
            {_REFUSE};
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_hot_guard AFTER INSERT OR UPDATE OR DELETE ON audit_hot"
        " FOR EACH ROW EXECUTE FUNCTION audit_hot_guard()"
    )
    op.execute(
        "CREATE TRIGGER audit_segment_guard AFTER UPDATE OR DELETE ON audit_segment"
        " FOR EACH ROW EXECUTE FUNCTION audit_segment_guard()"
    )
    for table in ("audit_hot", "audit_segment", "audit_hold"):
        events = "DELETE OR TRUNCATE" if table == "audit_hold" else "TRUNCATE"
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE {events} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
        )


def downgrade() -> None:
    """Drop them; refused while entries are in segments only."""
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM audit_hot WHERE start > 0) THEN
                RAISE EXCEPTION 'entries of the audit trail are in its archive only';
            END IF;
        END $$
        """
    )
    op.execute("DROP FUNCTION audit_prune(text, bigint)")
    op.execute("DROP TABLE audit_restored, audit_hold, audit_hot, audit_segment")
    op.execute("DROP FUNCTION audit_hot_guard(), audit_segment_guard()")
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {_REFUSE}; END $$
        """
    )
