"""One table of calls, said in several ways: a listed method of an object, or an unmatched write."""

import json
from typing import Any

import pytest

from policies.condition import Asked
from policies.operation import Operation
from policies.profile import Profile, load_profile

JSON = "application/json"


@pytest.fixture(scope="module")
def odoo() -> Profile:
    return load_profile("odoo")


def web(profile: Profile, body: Any, path: str = "/web/dataset/call_kw") -> Operation:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return profile.classify("POST", path, "", data, JSON)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        {"params": {}},
        {"params": {"model": ["res.partner"], "method": "read"}},
        {"params": {"model": "res.partner", "method": 5}},
        {"params": {"model": "res.partner", "method": "*"}},
        {"params": {"model": "*", "method": "nothing"}},
        b'{"params":{"model":"res.partner","method":"read","method":"_write"}}',
    ],
)
def test_a_call_that_says_no_listed_method_is_an_unmatched_write(odoo: Profile, body: Any) -> None:
    assert web(odoo, body).id == "unmatched.write"


def test_the_name_of_an_object_reaches_no_operation_id(odoo: Profile) -> None:
    operation = web(odoo, {"params": {"model": "zhang.wei", "method": "read", "args": [[5]], "kwargs": {}}})
    assert (operation.id, operation.entity, operation.record) == ("record.read", "record", "5")
    assert operation.id in odoo.operation_ids


def test_a_new_record_is_one_that_names_no_record_at_all(odoo: Profile) -> None:
    def saved(ids: Any) -> str:
        return web(odoo, {"params": {"model": "res.partner", "method": "web_save", "args": [ids, {}]}}).id

    assert saved([]) == saved(False) == "partner.create_by_form"
    assert saved([7]) == saved(["x"]) == saved({"id": 7}) == "partner.update"


def test_only_the_body_counts_where_a_dialect_reads_the_body(odoo: Profile) -> None:
    body = {"params": {"model": "res.partner", "method": "unlink", "args": [[7]]}}
    assert web(odoo, body, "/web/dataset/call_kw/res.partner/read").id == "partner.delete"


def test_no_dialect_reads_another_ones_places(odoo: Profile) -> None:
    asked = Asked({"model": "res.partner", "method": "read"}, "", b'{"ids":[3]}', JSON)
    assert odoo.dialects["json2"].classify(asked, odoo.record_ids).record == "3"
    assert odoo.dialects["web"].classify(asked, odoo.record_ids).id == "unmatched.write"
