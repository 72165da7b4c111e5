"""Which record a create made: the only one of the newest that holds a name of this create."""

import orjson
import pytest

from policies.made import MadeRule
from policies.profile import load_profile

RULE = MadeRule("/{lang}/{site}/autocomplete/?page=last", ("results",), "id", "text")
NAME = "Zqabcdefghijklmn"


def listed(*rows: tuple[object, str]) -> bytes:
    return orjson.dumps({"results": [{"id": number, "text": text} for number, text in rows]})


def test_the_one_record_with_a_name_of_the_create_is_it() -> None:
    assert RULE.record(listed(("4", "Zqother"), ("5", f"{NAME} Zqlast, ACME")), {NAME}) == "5"
    assert RULE.record(listed((5, NAME)), {NAME, "Zqmissingggggggg"}) == "5"


@pytest.mark.parametrize(
    "body",
    [
        listed(("4", "x")),
        listed(("4", NAME), ("5", NAME)),
        listed(("4 or 5", NAME)),
        listed(),
        b"[]",
        b"<html>",
        b'{"results": {"id": 1}}',
        b'{"results": ["x", null]}',
    ],
)
def test_anything_else_tells_nothing(body: bytes) -> None:
    assert RULE.record(body, {NAME}) is None


def test_the_question_goes_to_the_same_site_as_the_create() -> None:
    profile = load_profile("djangocrm")
    create = profile.classify("POST", "/zh-hans/123/crm/contact/add/", "", b"", "")
    told = profile.newest_address(create, "/zh-hans/123/crm/contact/add/")
    assert told is not None
    assert told.startswith("/zh-hans/123/autocomplete/?app_label=crm&model_name=lead&field_name=contact&")
    update = profile.classify("POST", "/en/123/crm/contact/5/change/", "", b"", "")
    assert profile.newest_address(update, "/en/123/crm/contact/5/change/") is None
