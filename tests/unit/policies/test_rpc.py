"""JSON-RPC: only a well-formed call of a known verb is anything but an unmatched write."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.operation import UNMATCHED_WRITE, Action, Operation
from policies.rpc import RpcRules, RpcTemplate


def _template(name: str, action: Action = Action.READ, ids: int | None = None, step: int | None = None) -> RpcTemplate:
    return RpcTemplate(Operation(name, "e", action), ids, step)


RULES = RpcRules(
    methods={"common.db.login": _template("auth.login", Action.LOGIN)},
    objects={
        ("model", "party.party", "write"): _template("party.update", Action.UPDATE, 0, 2),
        ("model", "party.party", "on_change_*"): _template("party.form"),
        ("model", "child", "create"): RpcTemplate(Operation("child.create", "p", Action.UPDATE), parent="party"),
    },
    verbs={
        ("model", "read"): _template("record.read", ids=0),
        ("model", "copy"): _template("record.copy", Action.CREATE, 0),
        ("model", "on_change"): _template("record.form"),
    },
    media_types=frozenset({"application/json"}),
)


def _classify(method: object, params: object = (), content_type: str = "application/json") -> Operation:
    return RULES.classify(orjson.dumps({"method": method, "params": params}), content_type)


@pytest.mark.parametrize(
    ("method", "found"),
    [
        ("common.db.login", "auth.login"),
        ("model.party.party.write", "party.update"),
        ("model.x.read", "record.read"),
        ("model.party.party.on_change_name", "party.form"),
        ("model.x.on_change_name", "record.form"),
        ("model.x.erase", "unmatched.write"),
        ("wizard.x.read", "unmatched.write"),
        ("model.read", "unmatched.write"),
        ("read", "unmatched.write"),
        ("", "unmatched.write"),
        (5, "unmatched.write"),
        (None, "unmatched.write"),
    ],
)
def test_method_name_decides(method: object, found: str) -> None:
    assert _classify(method).id == found


def test_records_written_differently_in_one_call_are_only_named() -> None:
    operation = _classify("model.party.party.write", [[1, 2], {}, [3], {}, {}])
    assert (operation.record, operation.records, operation.touched) == (None, (), ("1", "2", "3"))


def test_records_written_alike_are_bound() -> None:
    operation = _classify("model.party.party.write", [[1, 2], {}, {}])
    assert (operation.record, operation.records, operation.touched) == (None, ("1", "2"), ())


def test_one_id_names_the_record_unless_it_is_the_source_of_a_copy() -> None:
    assert _classify("model.x.read", [[7]]).record == "7"
    copied = _classify("model.x.copy", [[7]])
    assert (copied.record, copied.records, copied.touched) == (None, (), ("7",))


@pytest.mark.parametrize(
    ("new", "record"),
    [
        ([{"party": 5}, {"party": 5}], "5"),
        ([{"party": 5}, {"party": 6}], None),
        ([{"party": 5}, {}], None),
        ([{"party": True}], None),
        ([3], None),
        ([], None),
        ({}, None),
    ],
)
def test_new_child_changes_the_parent_that_it_names(new: object, record: str | None) -> None:
    assert _classify("model.child.create", [new, {}]).record == record


@pytest.mark.parametrize("params", [[], {}, None, "x", [["a", True, -1, None]]])
def test_odd_parameters_name_no_record(params: object) -> None:
    assert _classify("model.x.read", params).record is None


@pytest.mark.parametrize(
    "content_type",
    ["text/xml", "", "application/json; charset=utf-16", "application/x-json", "text/xml; application/json"],
)
def test_body_that_another_reader_would_take_differently_is_unmatched(content_type: str) -> None:
    assert _classify("model.x.read", content_type=content_type) is UNMATCHED_WRITE


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON; charset=UTF-8", "application/json;x=1"]
)
def test_json_is_json_in_any_spelling(content_type: str) -> None:
    assert _classify("model.x.read", content_type=content_type).id == "record.read"


@pytest.mark.parametrize("body", [None, b"", b"[]", b"{", b'{"method":"\xff"}', b'{"method":NaN}', b"[{}]"])
def test_unreadable_body_is_unmatched(body: bytes | None) -> None:
    assert RULES.classify(body, "application/json") is UNMATCHED_WRITE


@pytest.mark.parametrize(
    "body",
    [
        b'{"method":"model.party.party.write","params":[],"method":"common.db.login"}',
        b'{"method":"common.db.login","params":[{"a":1,"a":2}]}',
    ],
)
def test_call_that_nobody_opens_is_unmatched_when_it_has_a_key_twice(body: bytes) -> None:
    assert RULES.classify(body, "application/json") is UNMATCHED_WRITE


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: orjson.dumps({"method": "model." + text})))
def test_no_body_raises_and_no_text_of_it_becomes_an_id(body: bytes) -> None:
    assert RULES.classify(body, "application/json").id in {
        "auth.login",
        "party.update",
        "party.form",
        "child.create",
        "record.read",
        "record.copy",
        "record.form",
        "unmatched.write",
    }
