"""Recorded (synthetic) requests per CRM: what each profile makes of them. The fixtures are the specification."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
import yaml

from policies.operation import Operation, Where
from policies.profile import Profile, load_profile
from policies.selector import search_operands, treatment

HERE = Path(__file__).parent
FORM = "application/x-www-form-urlencoded"


def _cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load((HERE / name).read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def creme() -> Profile:
    return load_profile("creme").with_facts({"98": "contact", "99": "organisation"})


@pytest.fixture(scope="module")
def tryton() -> Profile:
    return load_profile("tryton")


def _check(profile: Profile, operation: Operation, expect: dict[str, Any]) -> None:
    assert operation.id == expect["id"]
    for name in ("entity", "record", "binds", "left_alone"):
        if name in expect:
            assert getattr(operation, name) == expect[name], name
    if "action" in expect:
        assert operation.action.value == expect["action"]
    if "granted" in expect:
        assert operation.granted_write is expect["granted"]
    for name in ("records", "touched"):
        if name in expect:
            assert list(getattr(operation, name)) == expect[name], name
    if "uploads" in expect:
        assert {upload.part: upload.data for upload in operation.uploads} == expect["uploads"]
    assert operation.id in profile.operation_ids


def _treated(operation: Operation, leaves: dict[tuple[str, ...], str], expect: dict[str, str], joint: str) -> None:
    for name, wanted in expect.items():
        path = tuple(name.split(joint)) if joint else (name,)
        siblings = {key[-1]: value for key, value in leaves.items() if key[:-1] == path[:-1] and key != path}
        what, spec = treatment(operation, path, siblings, text=leaves[path], leaves=leaves)
        told = f"{what.value} {spec.entity}.{spec.name}" if spec is not None else what.value
        assert told == wanted, name


def _searched(operation: Operation, where: Where, leaves: dict[tuple[str, ...], str], joint: str) -> dict[str, str]:
    return {
        joint.join(path): "" if spec is None else f"{spec.entity}.{spec.name}"
        for path, _, spec, _ in search_operands(operation, where, leaves)
    }


@pytest.mark.parametrize("case", _cases("creme_requests.yaml"))
def test_creme_request_is_understood(creme: Profile, case: dict[str, Any]) -> None:
    request = case["request"]
    body = urlencode(case.get("form", {}), doseq=True).encode()
    path = request["path"]
    needed = body if creme.needs_body(request["method"], path) else None
    operation = creme.classify(request["method"], path, request.get("query", ""), needed, FORM)
    _check(creme, operation, case["expect"])
    leaves = {(name,): value for name, value in parse_qsl(body.decode(), keep_blank_values=True)}
    flat = {name[0]: value for name, value in leaves.items()}
    _treated(operation, leaves, case.get("leaves", {}), "")
    if "owner" in case["expect"]:
        assert creme.owner_from_body(operation, flat) == case["expect"]["owner"]
    if "columns" in case["expect"]:
        columns = {f"{spec.entity}.{spec.name}": number for spec, number in creme.import_columns(operation, flat)}
        assert columns == case["expect"]["columns"]
    if "searches" in case:
        query = {(name,): value for name, value in parse_qsl(request.get("query", ""), keep_blank_values=True)}
        found = _searched(operation, Where.QUERY, query, "") | _searched(operation, Where.FORM, leaves, "")
        wanted = case["searches"]
        assert {name: found.get(name) for name in wanted} == wanted


def _walk(path: tuple[str, ...], value: Any) -> dict[tuple[str, ...], str]:
    if isinstance(value, str):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: text for step, item in items for key, text in _walk((*path, str(step)), item).items()}


@pytest.mark.parametrize("case", _cases("tryton_requests.yaml"))
def test_tryton_call_is_understood(tryton: Profile, case: dict[str, Any]) -> None:
    call = {"id": 1, "method": case["call"], "params": case["params"]}
    body = orjson.dumps(call)
    assert tryton.needs_body("POST", "/crm/rpc/")
    operation = tryton.classify("POST", "/crm/rpc/", "", body, "application/json")
    _check(tryton, operation, case["expect"])
    leaves = _walk((), call)
    _treated(operation, leaves, case.get("leaves", {}), "/")
    if "searches" in case:
        assert _searched(operation, Where.JSON, leaves, "/") == case["searches"]
