"""Fields of a profile source, with their storage forms, and the places where answers show them.

What a form asks of its field is checked here, in plain words; whether the CRM keeps it is proved by `protect probe`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from policies.date_format import DateFormat, DateFormatInvalid
from policies.operation import FieldSpec, ShownRule, StorageForm
from policies.placeholder import is_nobodys
from policies.record_id import RecordIds
from policies.taxonomy import Kind

# Longest value of a field whose own limit nobody stated, in code points.
DEFAULT_MAX_CHARS = 65_000
# A cell of 15 bytes of text: envelope, cell id and padding (kms.cell.characters), with room for a commitment.
LEAST_CELL_CHARS = 100
# Six digits that are sealed (FF1 needs a million possible values) and the check digit.
LEAST_DIGITS, ID_DIGITS = 7, 18
CHECKS = {Kind.BANK_CARD: "luhn", Kind.ID_CARD: "gb11643"}
PLACEHOLDER = "1900-01-01"
"""What stands in the CRM instead of a date of birth, unless the profile names another day."""


def read_field(entity: str, name: str, entry: Mapping[str, Any]) -> tuple[FieldSpec, list[str]]:
    """One declared field, and what is wrong with it."""
    place = f"field {entity}.{name}"
    kind = entry.get("kind", "text")
    dates, problems = _dates(entry, place)
    form = StorageForm(entry.get("form", "surrogate"))
    placeholder = None
    if form is StorageForm.BESIDE:
        try:
            placeholder = date.fromisoformat(entry.get("placeholder", PLACEHOLDER))
        except ValueError:
            problems.append(f"{place}: placeholder is no date")
        else:
            if not is_nobodys(placeholder):
                problems.append(f"{place}: people may have been born in the year after placeholder {placeholder}")
    elif "placeholder" in entry or dates:
        problems.append(f"{place}: dates and placeholder are for form beside")
    if "several" in entry and (form is not StorageForm.SURROGATE or kind == "text"):
        problems.append(f"{place}: several is for surrogates of a kind")
    if "linked" in entry and (form is not StorageForm.SURROGATE or kind == "text" or "several" in entry):
        problems.append(f"{place}: linked is for single surrogates of a kind")
    if form is not StorageForm.FF1 and not {"digits", "check"}.isdisjoint(entry):
        problems.append(f"{place}: digits and check are for form ff1")
    spec = FieldSpec(
        entity,
        name,
        None if kind == "text" else Kind(kind),
        entry.get("max", DEFAULT_MAX_CHARS),
        form,
        dates,
        placeholder,
        tuple(sorted(set(entry.get("digits", ())))),
        entry.get("check", CHECKS.get(Kind(kind), "") if kind in CHECKS else "") if form is StorageForm.FF1 else "",
        entry.get("several", ""),
        tuple(entry.get("linked", ())),
    )
    return spec, [*problems, *(f"{place}: {problem}" for problem in unfit(spec))]


def unfit(spec: FieldSpec) -> list[str]:
    """Why a field cannot have its storage form; empty when it can."""
    match spec.form:
        case StorageForm.SURROGATE if spec.kind is Kind.BIRTH_DATE:
            return ["there is no surrogate of a date; a date of birth takes form beside"]
        case StorageForm.BESIDE if spec.kind is not Kind.BIRTH_DATE:
            return ["form beside is for dates of birth (kind birth_date)"]
        case StorageForm.BESIDE if not spec.dates:
            return ["form beside needs dates: the formats in which the CRM writes them, first the one of its forms"]
        case StorageForm.CELL if spec.kind is Kind.BIRTH_DATE:
            return ["a date column has no room for a cell; a date of birth takes form beside"]
        case StorageForm.CELL if spec.max_chars < LEAST_CELL_CHARS:
            return [f"holds {spec.max_chars} characters, a cell needs at least {LEAST_CELL_CHARS}"]
        case StorageForm.FF1:
            return _no_digits(spec)
    return []


def _no_digits(spec: FieldSpec) -> list[str]:
    """Why a field cannot hold digits under FF1."""
    if spec.kind is Kind.PHONE:
        return ["a phone number under FF1 may be a stranger's number; phones take form surrogate"]
    if spec.kind not in CHECKS:
        return ["form ff1 is for numbers with a check digit, which tells sealed ones: kind id_card or bank_card"]
    if not spec.digits:
        return ["form ff1 needs digits: how many digits a number has, for example [14]"]
    if spec.check == "gb11643" and spec.digits != (ID_DIGITS,):
        return [f"check gb11643 is of numbers with {ID_DIGITS} characters: digits [{ID_DIGITS}], or name check luhn"]
    if spec.digits[0] < LEAST_DIGITS:
        return [
            f"numbers of {spec.digits[0]} digits are too short for FF1, which needs a million possible values beside"
            f" the check digit: at least {LEAST_DIGITS} digits"
        ]
    if spec.digits[-1] > spec.max_chars:
        return [f"holds {spec.max_chars} characters, numbers have up to {spec.digits[-1]}"]
    return []


def read_shown(entry: Mapping[str, Any], spec: FieldSpec, record_ids: RecordIds) -> ShownRule:
    """One place where answers show a field."""
    row = entry.get("row")
    return ShownRule(
        spec,
        tuple(entry["pages"]),
        entry.get("css", ""),
        entry.get("attribute", ""),
        (row["css"], row["id"], row["attribute"]) if row else None,
        tuple(entry.get("which", ())),
        selector_of(entry["path"]) if "path" in entry else (),
        entry.get("key", ""),
        record_ids,
    )


def selector_of(value: str | list[str]) -> tuple[str, ...]:
    """A selector as the profile writes it: one step, or a list of steps."""
    return (value,) if isinstance(value, str) else tuple(value)


def _dates(entry: Mapping[str, Any], place: str) -> tuple[tuple[DateFormat, ...], list[str]]:
    found, problems = [], []
    for given in entry.get("dates", ()):
        named = {"format": given} if isinstance(given, str) else given
        try:
            found.append(DateFormat(named["format"], tuple(named.get("months", ()))))
        except DateFormatInvalid as error:
            problems.append(f"{place}: {error}")
    return tuple(found), problems
