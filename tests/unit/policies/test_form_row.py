"""Rows of a form: which record a field is written to is said by the id in its row."""

import pytest

from policies.form_row import has_rows, row_records
from policies.operation import Operation
from policies.profile import Profile, load_profile


@pytest.fixture(scope="module")
def company() -> Operation:
    profile: Profile = load_profile("djangocrm")
    return profile.classify("POST", "/en/123/crm/company/7/change/", "", None, "")


FORM = {
    ("full_name",): "A",
    ("contacts-0-id",): "15",
    ("contacts-0-phone",): "1",
    ("contacts-1-id",): "",
    ("contacts-1-phone",): "2",
    ("contacts-2-phone",): "3",
    ("contacts-3-id",): "15 or 16",
    ("contacts-3-phone",): "4",
}


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("contacts-0-phone", ("15",)),
        ("contacts-1-phone", ()),
        ("contacts-2-phone", ()),
        ("contacts-3-phone", ()),
        ("full_name", None),
        ("contacts-0-id", None),
    ],
)
def test_a_field_belongs_to_the_record_of_its_row(
    company: Operation, name: str, records: tuple[str, ...] | None
) -> None:
    assert row_records(company, (name,), FORM) == records


def test_what_stands_inside_something_else_is_in_no_row(company: Operation) -> None:
    assert row_records(company, ("contacts-0-phone", "x"), FORM) is None


def test_only_forms_with_rows_are_asked(company: Operation) -> None:
    assert has_rows(company)
    assert not has_rows(load_profile("creme").classify("POST", "/persons/contact/add", "", None, ""))
