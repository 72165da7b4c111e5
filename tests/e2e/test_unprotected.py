"""A real Creme with clear people and nothing protected: the short form of the drill of the mixed state."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import installed
from tests.drills.unprotected import EXPECTED, UNMIGRATED, Saving, planted, saved, walked
from tests.real.servers import creme

pytestmark = pytest.mark.real


@pytest.mark.timeout(1800)
def test_restricted_roles_see_no_declared_value_and_overwrite_none() -> None:
    with creme() as server:
        seeded = planted(server, 3, 1)
        with installed(server, UNMIGRATED) as stack:
            control, *findings = walked(stack, seeded, 60)
            assert control.found["name"] >= 3  # the control sees what is there
            assert control.found["address"] >= 3
            for one in findings:
                assert sum(one.found.values()) == 0, one.examples
            saves = saved(stack, seeded)
            assert saves.wrong == []
            assert {what: set(statuses) for what, statuses in saves.statuses.items()} == {
                what: {status} for what, status in EXPECTED.items()
            }


@pytest.mark.timeout(1800)
def test_a_mask_is_good_for_its_own_field_of_its_own_record_as_it_stands_now(tmp_path: Path) -> None:
    """Salespeople see parts of phone numbers here, so that one mask differs from another."""
    policy = tmp_path / "policy.csv"
    rows = DEFAULT_POLICY.read_text(encoding="utf-8") + "p, sales, *, kind:phone, masked, any\n"
    policy.write_text(rows + "p, sales, *, field:*.*#phone, masked, any\n", encoding="utf-8")
    with creme() as server:
        seeded = planted(server, 3, 1)
        with installed(server, f'{UNMIGRATED}\npolicy = "{policy}"') as stack:
            at = Saving(stack, seeded)
            first, second = at.contacts[:2]
            mine, other = at.shown(first)["mobile"], at.shown(second)["mobile"]
            assert "*" in mine
            assert "*" in other
            assert mine != other
            at.save("as it was shown", first, {})
            at.save("mask of another record", first, {"mobile": other})
            at.save("mask of another field", first, {"skype": mine})
            page = at.form(first)
            at.settle("masks")
            with closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3", timeout=30)) as database:
                update = "UPDATE persons_contact SET mobile = ? WHERE cremeentity_ptr_id = ?"
                database.execute(update, ("+33 6 99 99 99 99", first))
                database.commit()
            at.submit("stale page", page, {"full_position": "buyer"})
            at.save("fresh page", first, {"full_position": "buyer"})
            saves = at.close()
            assert saves.wrong == []
            assert saves.statuses == {
                "as it was shown": [302],
                "mask of another record": [409],
                "mask of another field": [409],
                "stale page": [409],
                "fresh page": [302],
            }
            with closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3", timeout=30)) as database:
                query = "SELECT mobile, full_position FROM persons_contact WHERE cremeentity_ptr_id = ?"
                assert database.execute(query, (first,)).fetchone() == ("+33 6 99 99 99 99", "buyer")
