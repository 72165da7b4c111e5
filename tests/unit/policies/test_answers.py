"""Answers of a CRM: ids, logins, credentials, facts; unreadable ones tell nothing."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import answers
from policies.matcher import PathTrie
from policies.operation import Action, Operation
from policies.record_id import RecordIds

PAGES: PathTrie[str] = PathTrie()
PAGES.add("/contact/{record}", "contact")
PAGES.add("/orga/{record}", "organisation")
CREATE = Operation("contact.create", "contact", Action.CREATE)
LOCATION = {"location": True}


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("/contact/15", [("contact", "15")]),
        ("https://crm.example/contact/15/?x=1#y", [("contact", "15")]),
        ("/orga/15", []),
        ("/contact/", []),
        ("", []),
        ("//", []),
    ],
)
def test_id_of_a_created_record_is_in_the_redirect(location: str, found: list[tuple[str, str]]) -> None:
    assert answers.records(LOCATION, PAGES, CREATE, 302, [("Location", location)], b"") == found


def test_copy_of_any_record_type_takes_the_type_from_the_page() -> None:
    copy = Operation("record.copy", "record", Action.CREATE)
    assert answers.records(LOCATION, PAGES, copy, 302, [("location", "/orga/3")], b"") == [("organisation", "3")]


def test_answer_that_the_request_could_choose_names_nothing() -> None:
    chosen = Operation("contact.create", "contact", Action.CREATE, binds=False)
    assert answers.records(LOCATION, PAGES, chosen, 302, [("location", "/contact/1")], b"") == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id":1,"result":[5,6]}', [("contact", "5"), ("contact", "6")]),
        (b"[5]", [("contact", "5")]),
        (b'{"id":1,"error":["UserError",["x"]],"result":[5]}', []),
        (b'{"result":["x",null,true,-1]}', []),
        (b"<html>", []),
    ],
)
def test_ids_in_a_json_answer(body: bytes, found: list[tuple[str, str]]) -> None:
    assert answers.records({"json": [["result"], []]}, PAGES, CREATE, 200, [], body) == found


@pytest.mark.parametrize("status", [400, 403, 500])
def test_error_names_no_record(status: int) -> None:
    assert answers.records({"json": [["result"]]}, PAGES, CREATE, status, [], b'{"result":[5]}') == []


FORM_LOGIN = {"auth.login": {"status": [302], "login": {"form": "username"}, "token": {"cookie": "sessionid"}}}
JSON_LOGIN: dict[str, Any] = {
    "auth.login": {
        "status": [200],
        "login": {"json": [["params", "0"]]},
        "token": {"json": [["result", "1"]]},
        "user": {"json": [["result", "0"]]},
    }
}
LOGIN = Operation("auth.login", "auth", Action.LOGIN)


def test_form_login_tells_cookie_and_name() -> None:
    headers = [("Set-Cookie", "csrftoken=x; Path=/"), ("Set-Cookie", 'sessionid="abc"; HttpOnly')]
    assert answers.login(FORM_LOGIN, LOGIN, b"username=li&password=x", 302, headers, b"") == ("abc", "li", None)


def test_failed_form_login_tells_nothing() -> None:
    assert answers.login(FORM_LOGIN, LOGIN, b"username=li", 200, [], b"") == (None, None, None)
    assert answers.login(FORM_LOGIN, LOGIN, b"username=li", 302, [], b"") == (None, None, None)


def test_rpc_login_tells_token_name_and_user() -> None:
    request = b'{"params":["admin",{"password":"x"}]}'
    assert answers.login(JSON_LOGIN, LOGIN, request, 200, [], b'{"result":[7,"tok",null]}') == ("tok", "admin", "7")


def test_rpc_login_that_asks_for_more_tells_nothing() -> None:
    answer = b'{"error":["LoginException",["password"]]}'
    assert answers.login(JSON_LOGIN, LOGIN, b'{"params":["admin"]}', 200, [], answer) == (None, None, None)


def test_login_cookie_with_several_parts_tells_the_token() -> None:
    rule = {
        "auth.login": {
            "status": [200],
            "login": {"json": [["params", "0"]]},
            "token": {"cookie": "tryton_session", "last_part": ":"},
        }
    }
    headers = [("set-cookie", "tryton_session=admin:1:tok; Path=/crm")]
    assert answers.login(rule, LOGIN, b'{"params":["admin"]}', 200, headers, b"")[0] == "tok"


CREDENTIALS = (
    {"header": "authorization", "scheme": "session", "base64": True, "last_part": ":"},
    {"header": "authorization", "scheme": "bearer"},
    {"cookie": "sessionid", "last_part": ":"},
)


def test_every_credential_of_a_request_is_told() -> None:
    """Which of two cookies of one name counts is the CRM's affair, so both do."""
    encoded = base64.b64encode(b"admin:1:tok").decode()
    headers = [
        ("authorization", f"Session {encoded}"),
        ("cookie", "a=1; sessionid=u:1:one; sessionid=two"),
        ("cookie", 'sessionid="three"'),
        ("authorization", "Bearer key"),
        ("authorization", "Basic abc"),
    ]
    assert answers.credentials(CREDENTIALS, headers) == ("tok", "key", "one", "two", "three")


@given(st.text(max_size=60))
def test_no_credential_header_raises(text: str) -> None:
    headers = [("authorization", "Session " + text), ("cookie", text), ("authorization", text)]
    assert isinstance(answers.credentials(CREDENTIALS, headers), tuple)


def test_a_created_record_is_told_by_a_header_with_its_address() -> None:
    pages: PathTrie[str] = PathTrie(RecordIds.UUID)
    pages.add("/api/contacts({record})", "contact")
    rule = {"header": "odata-entityid", "json": [["contactid"]]}
    record = "0a000000-0000-4000-8000-000000000001"

    def told(url: str, body: bytes = b"", status: int = 204) -> list[tuple[str, str]]:
        headers = [("OData-EntityId", url)] if url else []
        return answers.records(rule, pages, CREATE, status, headers, body, RecordIds.UUID)

    assert told(f"https://crm.example/api/contacts({record.upper()})") == [("contact", record)]
    assert told("https://crm.example/api/accounts(1)") == []
    assert told("", f'{{"contactid":"{record}"}}'.encode(), 201) == [("contact", record)]
    assert told(f"https://crm.example/api/contacts({record})", status=404) == []


def test_of_several_records_all_have_to_be_told() -> None:
    rule = {"json": [["data", "*", "details", "id"]]}

    def told(body: bytes) -> list[tuple[str, str]]:
        return answers.records(rule, PathTrie(), CREATE, 201, [], body)

    assert told(b'{"data":[{"details":{"id":"5"}}]}') == [("contact", "5")]
    assert told(b'{"data":[{"details":{"id":"5"}},{"details":{"id":"6"}}]}') == [("contact", "5"), ("contact", "6")]
    assert told(b'{"data":[{"details":{"id":"5"}},{"code":"INVALID_DATA","details":{}}]}') == []
    assert told(b'{"data":{"details":{"id":"5"}}}') == []


def test_selected_owner_is_read_from_a_page() -> None:
    page = b'<select name="user"><option value="1">A</option><option value="2" selected>B</option></select>'
    assert answers.css_value(200, page, "select[name=user] option[selected]", "value") == "2"
    assert answers.css_value(302, page, "select[name=user] option[selected]", "value") is None
    assert answers.css_value(200, b"<p>", "select[name=user] option[selected]", "value") is None


def test_number_at_a_json_path() -> None:
    assert (
        answers.json_value(200, b'{"result":[{"party.":{"create_uid":3}}]}', ("result", "0", "party.", "create_uid"))
        == "3"
    )
    assert answers.json_value(200, b'{"result":[]}', ("result", "0", "x")) is None
    assert answers.json_value(500, b'{"result":1}', ("result",)) is None


def test_facts_are_numbers_on_the_page_they_belong_to() -> None:
    rules = ({"path": "/contacts", "pattern": r"import/(\d+)", "entity": "contact"},)
    assert answers.facts(rules, "/contacts/", 200, b'<a href="/import/98">') == {"98": "contact"}
    assert answers.facts(rules, "/other", 200, b'<a href="/import/98">') == {}
    assert answers.facts(rules, "/contacts", 302, b'<a href="/import/98">') == {}
    assert answers.facts(rules, "/contacts", 200, b"nothing") == {}


ACCEPTED = (
    {"status": 302},
    {"status": 200, "media": "text/plain"},
    {"status": 200, "media": "text/html", "without": "<form"},
)


@pytest.mark.parametrize(
    ("status", "media", "body", "took_effect"),
    [
        (302, "text/html", b"", True),
        (200, "text/plain; charset=utf-8", b"", True),
        (200, "text/html", b"<form>", False),
        (200, "text/html", b"<p>done", True),
        (200, "application/pdf", b"", False),
        (403, "text/plain", b"", False),
    ],
)
def test_write_took_effect_only_by_a_rule(status: int, media: str, body: bytes, took_effect: bool) -> None:
    assert answers.accepted(ACCEPTED, CREATE, status, [("Content-Type", media)], body) is took_effect


def test_rpc_error_in_a_200_is_no_success() -> None:
    rules = ({"status": 200, "json_without": "error"},)
    assert answers.accepted(rules, CREATE, 200, [], b'{"result":null}')
    assert not answers.accepted(rules, CREATE, 200, [], b'{"error":["UserError"]}')
    assert not answers.accepted(rules, CREATE, 200, [], b"<html>")


def test_without_rules_any_status_below_400_is_success() -> None:
    assert answers.accepted((), CREATE, 204, [], b"")
    assert not answers.accepted((), CREATE, 409, [], b"")


@pytest.mark.parametrize(
    ("location", "took_effect"),
    [
        ("/en/123/crm/contact/", True),
        ("http://127.0.0.1:1/en/123/crm/contact/5/change/?x=1", True),
        ("/en/123/789-login/?next=/en/123/crm/contact/5/change/", False),
        ("/en/123/", False),
        ("", False),
    ],
)
def test_a_redirect_counts_where_it_leads_to_what_was_written(location: str, took_effect: bool) -> None:
    rules = ({"status": 302, "location": "/*/*/*/*/"},)
    assert answers.accepted(rules, CREATE, 302, [("Location", location)], b"") is took_effect
