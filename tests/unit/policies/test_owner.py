"""Owners that a record has from another one, or that a body names."""

from policies.owner import OwnedThrough, posted_owner, read_posted, read_through
from policies.profile import load_profile
from policies.record_id import RecordIds


def test_the_form_names_the_record_the_owner_comes_from() -> None:
    through = OwnedThrough("company", "company")
    assert through.key({"company": "12"}) == ("company", "12")
    assert through.key({"company": "twelve"}) is None
    assert through.key({}) is None


def test_what_such_a_form_says_of_an_owner_does_not_count() -> None:
    profile = load_profile("djangocrm")
    contact = profile.classify("POST", "/en/123/crm/contact/add/", "", b"", "")
    company = profile.classify("POST", "/en/123/crm/company/add/", "", b"", "")
    assert profile.owner_from_body(contact, {"owner": "5", "company": "12"}) is None
    assert profile.owner_from_body(company, {"owner": "5"}) == "5"
    assert set(profile.posted_fields) == {"owner", "company"}


def test_a_profile_without_such_records_has_none() -> None:
    assert read_through({"source": "form", "entities": ["contact"]}) == {}


RULES = read_posted(
    {
        "posted": [
            {"select": ["data", "*", "Owner", "id"]},
            {"select": ["bind"], "pattern": r"/systemusers\(([0-9]+)\)"},
            {"select": ["properties", "*", "value"], "beside": {"property": "owner"}},
        ]
    }
)


def named(*leaves: tuple[tuple[str, ...], str], **siblings: str) -> str | None:
    return posted_owner(RULES, [(path, text, siblings) for path, text in leaves], RecordIds.NUMBER)


def test_a_body_names_the_owner_in_its_places_only() -> None:
    assert named((("data", "0", "Owner", "id"), "7")) == "7"
    assert named((("data", "0", "Owner", "name"), "Lin")) is None
    assert named((("bind",), "/systemusers(7)")) == "7"
    assert named((("properties", "0", "value"), "7"), property="owner") == "7"
    assert named((("properties", "0", "value"), "7"), property="phone") is None
    assert named() is None


def test_an_owner_that_is_not_one_user_is_nobody() -> None:
    assert named((("data", "0", "Owner", "id"), "7"), (("data", "1", "Owner", "id"), "8")) == ""
    assert named((("data", "0", "Owner", "id"), "7"), (("data", "1", "Owner", "id"), "7")) == "7"
    assert named((("bind",), "/teams(7)")) == ""


def test_an_owner_is_known_by_the_one_spelling_of_its_id() -> None:
    rules = read_posted({"posted": [{"select": "OwnerId"}]})
    short, long = "0055g00000LinAA", RecordIds.SALESFORCE.canonical("0055g00000LinAA")
    for text in (short, long or ""):
        assert posted_owner(rules, [(("OwnerId",), text, {})], RecordIds.SALESFORCE) == long
