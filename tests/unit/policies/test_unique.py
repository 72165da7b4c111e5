"""Answers that a value is taken: each declared shape is known, and what is no such answer is not."""

import orjson
import pytest

from policies.profile import load_profile
from policies.unique import compile_unique, tells, unique_of

FIELDS = [("contact", "email")]


def rule(**answer: object) -> object:
    return compile_unique({"fields": ["contact.email"], "answers": [answer]}, FIELDS)


@pytest.mark.parametrize(
    ("answer", "status", "body", "told"),
    [
        ({"status": [409]}, 409, b"", True),
        ({"status": [409]}, 400, b"", False),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"email":["It is ALREADY here"]}}', True),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"email":["No address"]}}', False),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"phone":["already"]}}', False),
        ({"json": ["errors", "email"]}, 400, b'{"errors":{"email":[]}}', False),
        ({"json": ["data", "*", "code"], "text": "^DUP$"}, 200, b'{"data":[{"code":"OK"},{"code":"DUP"}]}', True),
        ({"json": ["data", "*", "code"], "text": "^DUP$"}, 200, b'{"data":{"code":"DUP"}}', False),
        ({"json": ["a"]}, 200, b"{", False),
        ({"css": "ul.errorlist li", "text": "exist"}, 200, b"<ul class=errorlist><li>exists</li></ul>", True),
        ({"css": "ul.errorlist li", "text": "exist"}, 200, b"<p>exists</p>", False),
        ({"text": "duplicate"}, 500, b"DUPLICATE key", True),
        ({"text": "duplicate"}, 500, b"\xff", False),
    ],
)
def test_an_answer_tells_what_its_rule_says(answer: dict[str, object], status: int, body: bytes, told: bool) -> None:
    assert tells(rule(**answer), status, body) is told  # type: ignore[arg-type]


def test_without_a_rule_a_conflict_tells() -> None:
    assert tells(None, 409, b"")
    assert not tells(None, 400, b"")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to repeat"):
        rule(text="*")


@pytest.mark.parametrize(
    "name", ["bottle", "djangocrm", "dynamics", "fxiaoke", "hubspot", "neocrm", "salesforce", "zoho"]
)
def test_shipped_profiles_say_which_fields_are_unique(name: str) -> None:
    profile = load_profile(name)
    unique = [one for one in profile.source["operations"] if "unique" in one]
    assert {"create", "update"} <= {one["action"] for one in unique}


def test_the_operation_of_a_record_carries_the_rule() -> None:
    path = "/api/contacts/552836ee-05be-45c2-9941-b5e46120255f/"
    found = load_profile("bottle").classify("PATCH", path, "", None, "")
    assert found.record is not None
    assert found.unique is not None
    assert found.unique.fields == {("contact", "email")}
    body = b'{"error":true,"errors":{"email":["Contact already exists with this email"]}}'
    assert tells(found.unique, 400, body)
    assert not tells(found.unique, 400, b'{"error":true,"errors":{"email":["Enter a valid email address."]}}')


DUPLICATE = """<p class="errornote">Please correct the error below.</p><ul class="errorlist nonfield"><li>
<a href="/en/123/crm/lead/1/change/ "target="_blank">Such an object already exists - ID1</a></li></ul>"""
REQUIRED = """<ul class="errorlist" id="id_email_error"><li>This field is required.</li></ul>"""
SOAP = "<e:Envelope><e:Body><createResponse><result><errors><statusCode>DUPLICATE_VALUE</statusCode></errors></result>"
FX = {"data": {"object_data": {"dataObjectApiName": "ContactObj", "_id": "5f4a0b1c2d3e4f5061728394"}}}
SF, CRM = "/services/data/v60.0/sobjects/Contact", "/api/data/v9.2"


def odoo(model: str, method: str) -> tuple[str, str, dict[str, object]]:
    return "POST", "/web/dataset/call_kw", {"params": {"model": model, "method": method, "args": [[]], "kwargs": {}}}


@pytest.mark.parametrize(
    ("name", "call", "status", "told", "silent"),
    [
        ("djangocrm", ("POST", "/en/123/crm/lead/add/", None), 200, DUPLICATE, REQUIRED),
        ("djangocrm", ("POST", "/en/123/crm/contact/7/change/", None), 200, DUPLICATE, REQUIRED),
        (
            "salesforce",
            ("POST", SF, {}),
            400,
            '[{"errorCode":"DUPLICATES_DETECTED"}]',
            '[{"errorCode":"INVALID_FIELD"}]',
        ),
        ("salesforce", ("POST", SF, {}), 200, SOAP, SOAP.replace("DUPLICATE_VALUE", "STRING_TOO_LONG")),
        ("dynamics", ("POST", f"{CRM}/leads", {}), 412, "{}", None),
        (
            "dynamics",
            ("POST", f"{CRM}/leads", {}),
            400,
            '{"error":{"code":"0x80040237"}}',
            '{"error":{"code":"0x80048d19"}}',
        ),
        (
            "odoo",
            odoo("res.partner", "create"),
            200,
            '{"error":{"data":{"name":"odoo.exceptions.ValidationError"}}}',
            '{"error":{"data":{"name":"odoo.exceptions.AccessError"}}}',
        ),
        (
            "odoo",
            ("POST", "/json/2/crm.lead/write", {"ids": [7], "vals": {}}),
            422,
            '{"name":"odoo.exceptions.ValidationError"}',
            '{"name":"odoo.exceptions.MissingError"}',
        ),
        (
            "neocrm",
            ("POST", "/rest/data/v2.0/xobjects/lead", {"data": {}}),
            200,
            '{"code":1,"msg":"数据重复"}',
            '{"code":1,"msg":"缺少必填项"}',
        ),
        (
            "fxiaoke",
            ("POST", "/cgi/crm/v2/data/update", FX),
            200,
            '{"errorCode":320001,"errorMessage":"手机已存在"}',
            '{"errorCode":20016,"errorMessage":"token is invalid"}',
        ),
        (
            "tryton",
            ("POST", "/crm/rpc/", {"method": "model.party.contact_mechanism.on_change_notify", "params": [{}, {}]}),
            200,
            '{"id":1,"result":[["warning","The party has the same Email."]]}',
            '{"id":1,"result":[]}',
        ),
    ],
)
def test_shipped_profiles_know_how_a_crm_says_that_a_value_is_taken(
    name: str, call: tuple[str, str, object], status: int, told: str, silent: str | None
) -> None:
    method, path, given = call
    body = b"last_name=X" if given is None else orjson.dumps(given)
    kind = "application/x-www-form-urlencoded" if given is None else "application/json"
    found = load_profile(name).classify(method, path, "", body, kind)
    assert found.unique is not None, found.id
    assert tells(found.unique, status, told.encode())
    assert silent is None or not tells(found.unique, status, silent.encode())


def test_the_rule_of_an_object_is_that_of_calls_that_write_it() -> None:
    rule = {"fields": ["contact.email"], "answers": [{"status": [409]}]}
    own = {"fields": ["contact.phone"], "answers": [{"status": [200]}]}
    assert unique_of({"action": "create"}, {"unique": rule}) == {"unique": rule}
    assert unique_of({"action": "read"}, {"unique": rule}) == {}
    assert unique_of({"action": "read", "unique": own}, {"unique": rule}) == {"unique": own}
