"""Storage forms in a profile: plain words about what a field cannot have."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from policies.check import check_profile, explain
from policies.field_file import read_field
from policies.operation import StorageForm
from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import read_source
from policies.taxonomy import Kind
from tests.real.numbered import numbered_profile

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
        ({"kind": "phone", "form": "ff1", "digits": [11]}, "may be a stranger's number"),
        ({"kind": "name", "form": "ff1", "digits": [14]}, "kind id_card or bank_card"),
        ({"kind": "text", "form": "ff1", "digits": [14], "check": "luhn"}, "kind id_card or bank_card"),
        ({"kind": "bank_card", "form": "ff1"}, "needs digits"),
        ({"kind": "bank_card", "form": "ff1", "digits": [16, 6]}, "6 digits are too short for FF1"),
        ({"kind": "id_card", "form": "ff1", "digits": [15, 18]}, "or name check luhn"),
        ({"kind": "bank_card", "form": "ff1", "digits": [16, 19], "max": 16}, "numbers have up to 19"),
        ({"kind": "bank_card", "digits": [16]}, "are for form ff1"),
    ],
)
def test_a_form_that_does_not_fit_its_field_is_told_in_plain_words(entry: dict[str, Any], told: str) -> None:
    _, problems = read_field("contact", "field", entry)
    assert any(told in problem and problem.startswith("field contact.field: ") for problem in problems)


def test_forms_that_fit_have_no_problem() -> None:
    born, none = read_field("contact", "born", {"kind": "birth_date", "form": "beside", "dates": DATES})
    note, nothing = read_field("contact", "note", {"kind": "text", "form": "cell", "max": 400})
    card, no_problem = read_field("contact", "card", {"kind": "bank_card", "form": "ff1", "digits": [19, 16]})
    siret, fits = read_field("firm", "siret", {"kind": "id_card", "form": "ff1", "digits": [14], "check": "luhn"})
    identity, right = read_field("contact", "id", {"kind": "id_card", "form": "ff1", "digits": [18]})
    assert none == nothing == no_problem == fits == right == []
    assert [(one.form, one.digits, one.check) for one in (card, siret, identity)] == [
        (StorageForm.FF1, (16, 19), "luhn"),
        (StorageForm.FF1, (14,), "luhn"),
        (StorageForm.FF1, (18,), "gb11643"),
    ]
    assert (born.kind, born.form, born.placeholder) == (Kind.BIRTH_DATE, StorageForm.BESIDE, date(1900, 1, 1))
    assert (note.kind, note.form) == (None, StorageForm.CELL)


def test_a_place_for_a_surrogate_or_an_unknown_field_is_refused() -> None:
    source = read_source("creme")
    for field, told in (("contact.email", "is a surrogate"), ("contact.shoe_size", "is not declared")):
        with pytest.raises(ProfileInvalid, match=told):
            compile_profile({**source, "shown": [{"field": field, "pages": ["contact.read"], "css": "p"}]})


def test_digits_that_no_place_shows_are_a_problem_of_the_profile(tmp_path: Path) -> None:
    text = numbered_profile()
    whole, hidden = tmp_path / "whole.yaml", tmp_path / "hidden.yaml"
    whole.write_text(text, encoding="utf-8")
    unseen = re.sub(r"  - field: organisation\.siret\n(    .*\n)+|  - \{field: organisation\.siret.*\n", "", text)
    hidden.write_text(unseen.replace("        siret: .siret\n", ""), encoding="utf-8")
    assert check_profile(load_profile(whole)) == []
    told = check_profile(load_profile(hidden))
    assert [one.split(" but ")[1][:5] for one in told] == ["shown", "walk "]
    assert all(one.startswith("field organisation.siret has form ff1") for one in told)
    (note,) = [one for one in explain(load_profile(whole), "GET", "/persons/organisation/5").notes if ".siret" in one]
    assert "14 digits that stay digits" in note
    assert "never shredded" in note


def test_explain_says_what_a_form_cannot_do() -> None:
    notes = explain(load_profile("creme"), "GET", "/persons/contact/5").notes
    (told,) = [note for note in notes if note.startswith("field contact.birthday: ")]
    assert "holds 1900-01-01" in told
    assert "cannot be searched for or sorted by" in told
