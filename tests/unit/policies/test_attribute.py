"""Attributes of records: told at exact places, of the record that stands beside them, or not at all."""

from pathlib import Path

import orjson
import pytest
import yaml

from policies.attribute import compile_attributes, in_json, in_page, in_table, posted
from policies.check import check_policy, check_profile
from policies.operation import Action, Operation
from policies.profile import ProfileInvalid, load_profile
from policies.profile_source import read_source
from policies.record_id import RecordIds

ATTRIBUTES = compile_attributes(
    {
        "contact": {
            "region": {
                "written": ["state"],
                "told": [
                    {"pages": ["contact.list"], "json": ["rows", "*"], "record": ["key", "id"], "value": ["state"]},
                    {"pages": ["contact.read"], "json": ["one"], "value": ["state"]},
                    {
                        "pages": ["contact.list"],
                        "rows": "tr",
                        "record": {"css": "input", "attribute": "value"},
                        "css": "td.r",
                    },
                    {"pages": ["contact.read"], "css": "#region"},
                    {"pages": ["contact.export"], "id_column": "ID", "column": "State"},
                ],
            }
        }
    }
)
LIST = Operation("contact.list", "contact", Action.LIST)
READ = Operation("contact.read", "contact", Action.READ, record="7")
EXPORT = Operation("contact.export", "contact", Action.EXPORT)
IDS = RecordIds.NUMBER


def told(*pairs: tuple[str, str]) -> object:
    return {("contact", record): {"contact.region": (value,)} for record, value in pairs}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"key": {"id": 1}, "state": "north"}, {"key": {"id": "2"}, "state": 5}], told(("1", "north"), ("2", "5"))),
        ([{"key": {"id": 1}, "state": "north"}, {"key": {"id": 1}, "state": "south"}], {}),
        ([{"key": {"id": 1}, "state": "north"}, {"key": {"id": 1}, "state": "north"}], told(("1", "north"))),
        ([{"key": {"id": 1}, "state": None}, {"key": {"id": 2}, "state": True}], {}),
        ([{"key": {"id": 1}, "state": ["north"]}, {"key": {"id": 2}, "state": {"state": "north"}}], {}),
        ([{"key": 1, "state": "north"}, {"state": "north"}, "north", None], {}),
        ([[{"key": {"id": 1}, "state": "north"}]], {}),
        ([{"key": {"id": "x"}, "state": "north"}, {"key": {"id": 1}, "state": "n" * 201}], {}),
        ({"key": {"id": 1}, "state": "north"}, {}),
    ],
)
def test_rows_of_json_tell_of_the_record_they_name(rows: object, found: object) -> None:
    assert in_json(ATTRIBUTES.of(LIST), LIST, orjson.dumps({"rows": rows}), IDS) == found


def test_a_document_of_one_record_tells_of_that_record() -> None:
    assert in_json(ATTRIBUTES.of(READ), READ, b'{"one": {"state": " north "}}', IDS) == told(("7", "north"))
    assert in_json(ATTRIBUTES.of(READ), READ, b'[{"one": {"state": "north"}}]', IDS) == {}
    assert in_json(ATTRIBUTES.of(READ), READ, b"no json", IDS) == {}
    assert in_json(ATTRIBUTES.of(EXPORT), EXPORT, b'{"one": {"state": "north"}}', IDS) == {}


def test_a_page_tells_row_by_row_and_of_its_own_record() -> None:
    row = "<tr><td><input value='{}'></td><td class=r> <b>{}</b>  east</td></tr>"
    page = f"<table>{row.format(1, 'north')}{row.format(2, 'south')}<tr><td class=r>north</td></tr></table>"
    assert in_page(ATTRIBUTES.of(LIST), LIST, page.encode(), IDS) == told(("1", "north east"), ("2", "south east"))
    twice = "<table><tr><td><input value=1><input value=2></td><td class=r>north</td></tr></table>"
    assert in_page(ATTRIBUTES.of(LIST), LIST, twice.encode(), IDS) == {}
    assert in_page(ATTRIBUTES.of(READ), READ, b"<p id=region>north</p>", IDS) == told(("7", "north"))
    assert in_page(ATTRIBUTES.of(READ), READ, b"<p id=region>north</p><p id=region>south</p>", IDS) == {}
    assert in_page(ATTRIBUTES.of(READ), READ, b"<p>&lt;p id=region&gt;north</p>", IDS) == {}


def test_a_table_tells_by_its_column_of_ids() -> None:
    def read(*rows: dict[str, str]) -> object:
        cells = [(label, str(number), text) for number, row in enumerate(rows) for label, text in row.items()]
        return in_table(ATTRIBUTES.of(EXPORT), cells, IDS)

    assert read({"\ufeffid": "1", " STATE": "north"}, {"id": "2", "state": ""}) == told(("1", "north"))
    assert read({"ID": "1", "State": "north", "state ": "south"}) == {}
    assert read({"ID": "1", "id": "2", "State": "north"}) == {}
    assert read({"State": "north"}) == {}


def test_a_choice_is_read_by_its_text_and_posted_by_its_number() -> None:
    profile, form = load_profile("djangocrm"), Operation("contact.update_form", "contact", Action.READ, record="7")
    page = "<select name=department><option value=''>---<option value=9 selected>Global sales</select>"
    found = in_page(profile.attributes.of(form), form, page.encode(), profile.record_ids)
    assert found["contact", "7"]["contact.department"] == ("Global sales",)
    assert posted(found["contact", "7"], "contact.department") == ("9",)
    empty = page.replace(" selected", "").replace("value=''", "value='' selected")
    assert in_page(profile.attributes.of(form), form, empty.encode(), profile.record_ids) == {}
    assert posted({"contact.region": ("north",)}, "contact.region") == ("north",)
    assert posted({}, "contact.region") == ()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("12,345", "12345"),
        ("1\u202f234\u202f567", "1234567"),
        ("12 345", "12345"),
        ("-1.000", "-1000"),
        ("12345", "12345"),
        ("1,234.567", "1,234.567"),
        ("12,34", "12,34"),
        ("1,2345", "1,2345"),
    ],
)
def test_a_whole_number_is_read_without_the_signs_between_its_thousands(written: str, read: str) -> None:
    profile, page = load_profile("creme"), Operation("organisation.read", "organisation", Action.READ, record="7")
    tile = f"<div class=brick-tile data-key=regular_field-capital><span class=brick-tile-value>{written}</span></div>"
    found = in_page(profile.attributes.of(page), page, tile.encode(), profile.record_ids)
    assert found == {("organisation", "7"): {"organisation.value": (read,)}}


def test_an_attribute_is_written_by_requests_about_another_entity_too() -> None:
    written = load_profile("creme").attributes.written
    assert written["address", "state"] == {"contact.region", "organisation.region"}
    assert written["contact", "billing_address-state"] == {"contact.region"}


@pytest.mark.parametrize(
    "entry",
    [
        {"told": []},
        {"told": [{"pages": ["a.b"]}]},
        {"told": [{"pages": ["a.b"], "css": "p", "value": ["x"]}]},
        {"told": [{"pages": ["a.b"], "css": "p", "rows": "tr"}]},
        {"told": [{"pages": ["a.b"], "column": "State"}]},
        {"written": ["x"]},
    ],
)
def test_a_place_that_says_too_little_is_refused(entry: object, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    good = {"told": [{"pages": ["a.b"], "css": "p"}]}
    for attribute in (good, entry):
        file.write_text(yaml.safe_dump({**read_source("bottle"), "attributes": {"contact": {"region": attribute}}}))
        if attribute is good:
            assert load_profile(file).attributes.names == {"contact.region"}
            continue
        with pytest.raises(ProfileInvalid):
            load_profile(file)


def test_what_nobody_would_know_or_anybody_could_write_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    places = {"told": [{"pages": ["contact.reed"], "css": "p"}]}
    file.write_text(
        yaml.safe_dump({**read_source("bottle"), "attributes": {"contact": {"a": places}, "town": {"b": places}}})
    )
    found = [one for one in check_profile(load_profile(file)) if "attribute" in one]
    for words in (
        "contact.a is told on contact.reed",
        "contact.a says no names",
        "town.b is of an entity without fields",
    ):
        assert any(words in one for one in found), found
    assert not [one for one in check_profile(load_profile("bottle")) if "attribute" in one]


def test_a_policy_that_asks_what_no_profile_tells_is_doubted() -> None:
    rows = "p, a, *, op:*, read, any\np, a, *, field:contact.phone, clear, any, where=contact.{}:north\n"
    profiles = [load_profile("bottle")]
    assert not any("tells" in one for one in check_policy(rows.format("region"), profiles))
    assert any("contact.regoin" in one for one in check_policy(rows.format("regoin"), profiles))
