"""Protecting what real CRMs hold already, and the way back; the short form of the protect drill."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.protect import Seeded, edits, forth_and_back, seeded
from tests.drills.protect_creme import filled, there_and_back
from tests.e2e.database import sql

pytestmark = pytest.mark.real

HISTORY = Path(__file__).parents[2] / "deploy" / "protect" / "creme-history.yaml"


@pytest.fixture(scope="module")
def tryton_people() -> Iterator[Seeded]:
    with seeded("tryton", people=4, organisations=1) as ready:
        yield ready


def counted(plan: str, field: str) -> list[int]:
    """clear, protected, empty, nothing, unfit of one field in a printed plan."""
    found = re.search(rf"^ ?{re.escape(field)}\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", plan, re.MULTILINE)
    assert found is not None, plan
    return [int(one) for one in found.groups()]


@pytest.mark.timeout(1800)
def test_creme_is_protected_by_its_own_forms_and_put_back_byte_for_byte() -> None:
    """Plan counts right, run, leak scan, verify, undo, same bytes; no record written twice. What Creme's own history
    keeps of every edit cannot be changed through its interface: the database way cleans it while Creme is off."""
    with seeded("creme", people=2, organisations=1) as ready:
        before = ready.dump()
        plan = ready.protect("plan")
        assert counted(plan, "contact.email") == [2, 0, 0, 0, 0]
        assert counted(plan, "contact.mobile") == [2, 0, 0, 0, 0]
        assert counted(plan, "contact.fax") == [0, 0, 2, 0, 0]
        assert re.search(r"This run would add [34] lines with clear values", plan)
        assert "creme-history.yaml" in plan
        assert ready.dump() == before
        assert len(ready.leaks()) > 5  # the scan sees what is there
        told = ready.protect("run", "--rate", "0", code=1)
        # Creme's own first organisation belongs to an account that its form does not offer: it takes no edit at all.
        assert told.count("did not fit") == 1
        assert "organisation user: form (1)" in told
        assert ready.leaks() == set()
        assert set(edits(ready).values()) == {1}
        assert "0 changed since" in ready.protect("verify", code=1)  # that organisation is named
        history_there_and_back(ready)
        ready.server.restart()
        assert "0 surrogates of this run left" in ready.protect("undo", "--rate", "0", code=None)
        assert ready.dump() == before
        for value in [one.email for one in ready.people] + [one.full_name for one in ready.people]:
            assert all(value not in said for said in ready.said)


def history_there_and_back(ready: Seeded) -> None:
    """Creme is off: its history is cleaned, nothing is clear anywhere in its database file, then it is put back."""
    offline = ["--database", f"sqlite:///{ready.file}", "--map", str(HISTORY)]
    lines = ready.query("SELECT id, value FROM creme_core_historyline ORDER BY id")
    assert ready.seeker().find(str(lines).encode())  # what the interface leaves behind
    ready.protect("run", "--rate", "0", *offline, code=1)
    assert "switch it off" in ready.said[-1]
    assert "history:" in ready.protect("plan", *offline)  # counting is possible while Creme runs
    ready.server.child.stop()
    ready.protect("run", "--rate", "0", *offline)
    assert ready.seeker().find(ready.file.read_bytes()) == set()  # every table, index and free page
    proved = ready.protect("verify", *offline)
    assert "history: nothing in clear" in proved
    assert "records: not proved yet" in proved  # one of Creme's own organisations takes no edit
    ready.protect("undo", "--rate", "0", *offline)
    assert "history: not proved yet" in ready.protect("status", code=None)
    assert ready.query("SELECT id, value FROM creme_core_historyline ORDER BY id") == lines


@pytest.mark.timeout(1800)
def test_creme_is_protected_by_its_tables_after_a_kill_each_way_and_its_database_is_the_same_again() -> None:
    """Meanwhile nothing is clear in any table, file or free page, history included, and Creme starts on it."""
    with filled(10) as ready:
        assert there_and_back(ready, 1, most_s=4.0) == []
        assert "This CRM counts as migrated" in "".join(ready.said)
        assert "records: not proved yet" in ready.protect("status", code=None)  # undone


@pytest.mark.timeout(1800)
def test_a_run_on_tryton_survives_kills_and_goes_back(tryton_people: Seeded) -> None:
    rng = random.Random(3)
    assert forth_and_back(tryton_people, 1, rng, most_s=3.0) == []


def test_every_use_of_the_service_credential_is_in_the_trail_and_nothing_stored_is_clear(
    tryton_people: Seeded,
) -> None:
    settings = tryton_people.settings
    kinds = dict(
        sql(settings, "SELECT convert_from(body, 'UTF8')::jsonb ->> 'operation', count(*) FROM audit_entry GROUP BY 1")
    )
    assert kinds["protect.sign_in"] >= 2
    assert kinds["protect.write"] >= 15
    seeker = tryton_people.seeker()
    for table in ("protect_record", "protect_run", "crm_credential", "audit_entry", "job"):
        rows = sql(settings, f"SELECT {table}::text FROM {table}")
        assert seeker.find("\n".join(str(one) for (one,) in rows).encode()) == set(), table
