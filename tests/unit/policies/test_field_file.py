"""Storage forms in a profile: plain words about what a field cannot have."""

from datetime import date
from typing import Any

import pytest

from policies.check import explain
from policies.field_file import read_field
from policies.operation import StorageForm
from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile, read_source
from policies.taxonomy import Kind

DATES = ["%Y-%m-%d"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"kind": "birth_date"}, "takes form beside"),
        ({"kind": "birth_date", "form": "cell"}, "no room for a cell"),
        ({"kind": "birth_date", "form": "beside"}, "needs dates"),
        ({"kind": "name", "form": "beside", "dates": DATES}, "is for dates of birth"),
        ({"kind": "text", "form": "cell", "max": 80}, "holds 80 characters, a cell needs at least 100"),
        ({"kind": "phone", "dates": DATES}, "are for form beside"),
        ({"kind": "birth_date", "form": "beside", "dates": ["%Y-%m"]}, "year, month and day once each"),
        ({"kind": "birth_date", "form": "beside", "dates": DATES, "placeholder": "1900-02-30"}, "no date"),
        ({"kind": "birth_date", "form": "beside", "dates": DATES, "placeholder": "1970-01-01"}, "may have been born"),
    ],
)
def test_a_form_that_does_not_fit_its_field_is_told_in_plain_words(entry: dict[str, Any], told: str) -> None:
    _, problems = read_field("contact", "field", entry)
    assert any(told in problem and problem.startswith("field contact.field: ") for problem in problems)


def test_forms_that_fit_have_no_problem() -> None:
    born, none = read_field("contact", "born", {"kind": "birth_date", "form": "beside", "dates": DATES})
    note, nothing = read_field("contact", "note", {"kind": "text", "form": "cell", "max": 400})
    assert none == nothing == []
    assert (born.kind, born.form, born.placeholder) == (Kind.BIRTH_DATE, StorageForm.BESIDE, date(1900, 1, 1))
    assert (note.kind, note.form) == (None, StorageForm.CELL)


def test_a_place_for_a_surrogate_or_an_unknown_field_is_refused() -> None:
    source = read_source("creme")
    for field, told in (("contact.email", "is a surrogate"), ("contact.shoe_size", "is not declared")):
        with pytest.raises(ProfileInvalid, match=told):
            compile_profile({**source, "shown": [{"field": field, "pages": ["contact.read"], "css": "p"}]})


def test_explain_says_what_a_form_cannot_do() -> None:
    notes = explain(load_profile("creme"), "GET", "/persons/contact/5").notes
    (told,) = [note for note in notes if note.startswith("field contact.birthday: ")]
    assert "holds 1900-01-01" in told
    assert "cannot be searched for or sorted by" in told
