"""The demo's staff: made once, private, and what is entered is the same every time."""

from pathlib import Path

from gateway.demo.filling import ORGANISATIONS, PEOPLE, records
from gateway.demo.people import Person
from gateway.demo.staff import load_staff


def test_staff_is_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "staff.json"
    first = load_staff(file, "root")
    assert load_staff(file, "root") == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert len({member.password for member in first.members} | {member.secret for member in first.members}) == 10
    assert [user.login for user in first.crm_users()] == ["root", "wang.manager", "lin.sales"]
    assert first.one("auditor").crm_password == ""


def test_a_quarter_of_the_people_belongs_to_sales() -> None:
    entered = list(records())
    assert entered == list(records())
    assert len(entered) == PEOPLE + ORGANISATIONS
    people = [role for role, record in entered if isinstance(record, Person)]
    assert people.count("sales") == PEOPLE // 4
