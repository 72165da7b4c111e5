"""Recorded (synthetic) requests: what each shipped profile makes of them. The files of cases are the specification."""

from pathlib import Path

import pytest

from policies.case import Case, cases_path, differences, read_cases
from policies.profile import Profile, ProfileInvalid, load_profile

SHIPPED = {
    name: read_cases(cases_path(name))
    for name in (
        *("creme", "djangocrm", "tryton", "bottle"),
        *("salesforce", "dynamics", "zoho", "fxiaoke", "hubspot", "odoo", "neocrm"),
    )
}


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return {name: load_profile(name).with_facts(file.types) for name, file in SHIPPED.items()}


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name, file in SHIPPED.items() for case in file.cases],
)
def test_request_is_understood(profiles: dict[str, Profile], name: str, case: Case) -> None:
    assert differences(profiles[name], case) == []


WRONG = """
types: {"98": contact}
cases:
  - name: contact form
    request: {method: POST, path: /persons/contact/edit/15}
    form: {last_name: X, phone: "1", user: "9"}
    expect:
      {id: contact.create, record: "16", action: create, granted: false, owner: "9", columns: {a: 1}, uploads: {b: 1}}
    leaves: {last_name: field contact.first_name, mobile: text}
    searches: {last_name: contact.last_name}
"""


def test_every_difference_is_told_by_its_name(profiles: dict[str, Profile], tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    [case] = read_cases(file).cases
    told = differences(profiles["creme"], case)
    assert "id: 'contact.update' instead of 'contact.create'" in told
    assert "record: '15' instead of '16'" in told
    assert "leaf last_name: 'field contact.last_name' instead of 'field contact.first_name'" in told
    assert "leaf mobile: 'not in the body' instead of 'text'" in told
    assert {line.partition(":")[0] for line in told} >= {
        "action", "granted", "owner", "columns", "uploads", "search in last_name",
    }  # fmt: skip


def test_an_operand_nobody_expected_is_a_difference(profiles: dict[str, Profile], tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("""
calls: /crm/rpc/
cases:
  - name: search
    call: model.party.party.search
    params: [[[name, "=", X], [code, "=", Y]], {}]
    expect: {id: party.search}
    searches: {"params/0/1/2": ""}
""")
    [case] = read_cases(file).cases
    assert any(line.startswith("search in params/0/0/2: ") for line in differences(profiles["tryton"], case))


@pytest.mark.parametrize(
    "text",
    [
        "cases: []",
        "cases: [{name: a, expect: {id: x}}]",
        "cases: [{name: a, request: {method: GET, path: /}, call: x, params: [], expect: {id: x}}]",
        "cases: [{name: a, request: {method: get, path: /}, expect: {id: x}}]",
        "cases: [{name: a, request: {method: GET, path: /}, expect: {idd: x}}]",
        "types: {a: contact}\ncases: [{name: a, request: {method: GET, path: /}, expect: {id: x}}]",
        "- a: [",
    ],
)
def test_what_is_no_file_of_cases_is_refused_with_the_place(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ProfileInvalid) as told:
        read_cases(file)
    assert told.value.problems


def test_cases_of_a_file_stand_beside_it() -> None:
    assert cases_path("/etc/crm/own.yaml") == Path("/etc/crm/own.cases.yaml")
    assert cases_path("creme").name == "creme.cases.yaml"
