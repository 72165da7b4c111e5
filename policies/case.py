"""Recorded requests with what a profile must make of them: the specification of a profile, for anybody to run.

A file of cases stands beside its profile (`creme.cases.yaml`). Requests are synthetic. What is compared is what the
gateway goes by: the operation, what is done with each leaf of the body, and which texts are operands of a search.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import yaml
from jsonschema import Draft202012Validator

from policies.graphql.asked import Asked
from policies.graphql.explain import places_of
from policies.operation import FieldSpec, Operation, Where
from policies.part import part_operations
from policies.profile import Profile, ProfileInvalid
from policies.profile_source import PROFILES
from policies.query.explain import columns_of, path_operands
from policies.query.table import Tables
from policies.requests import leaves_of
from policies.selector import leaves_in, search_operands, treatment

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
SUFFIX = ".cases.yaml"
_OF_OPERATION = ("id", "entity", "record", "binds", "left_alone")


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what is expected of it.

    expect: what the operation must be. treated: leaf → treatment and field. searched: operand → field, "" where the
    operand itself decides. Steps of the path to a leaf of JSON are joined by slashes.
    """

    name: str
    method: str
    path: str
    query: str
    body: bytes
    content_type: str
    expect: Mapping[str, Any]
    treated: Mapping[str, str] = field(default_factory=dict)
    searched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All cases of one profile; types: type id of the installation they were recorded on → entity."""

    types: Mapping[str, str]
    cases: Sequence[Case]


def cases_path(name_or_path: str | Path) -> Path:
    """Where the cases of a profile stand that is named like this: beside it."""
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        return PROFILES / f"{name_or_path}{SUFFIX}"
    return path.with_name(path.name.removesuffix(path.suffix) + SUFFIX)


def read_cases(path: Path) -> CaseFile:
    """The cases in a file. Raises: OSError when it cannot be read, ProfileInvalid when it is no file of cases."""
    try:
        source = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileInvalid([f"the file of cases is not valid YAML: {getattr(error, 'problem', error)}"]) from error
    problems = [
        f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message}"
        for error in _validator().iter_errors(source)
    ]
    if problems:
        raise ProfileInvalid(sorted(problems)[:50])
    calls = source.get("calls", "/")
    return CaseFile(source.get("types", {}), [_case(entry, calls) for entry in source["cases"]])


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((PROFILES / "cases.schema.json").read_text(encoding="utf-8")))


def _case(entry: Mapping[str, Any], calls: str) -> Case:
    asked = entry.get("request", {})
    body, content_type = urlencode(entry.get("form", {}), doseq=True).encode(), FORM
    if "call" in entry:
        body, content_type = orjson.dumps({"id": 1, "method": entry["call"], "params": entry["params"]}), JSON
        asked = {"method": "POST", "path": calls}
    elif "json" in entry:
        body, content_type = orjson.dumps(entry["json"]), JSON
    return Case(
        entry["name"],
        asked["method"],
        asked["path"],
        asked.get("query", ""),
        body,
        asked.get("content_type", content_type),
        entry["expect"],
        entry.get("leaves", {}),
        entry.get("searches", {}),
    )


def differences(profile: Profile, case: Case) -> list[str]:
    """What the profile makes of a request otherwise than expected, in plain words; empty when it is right."""
    needed = case.body if profile.needs_body(case.method, case.path) else None
    operation = profile.classify(case.method, case.path, case.query, needed, case.content_type)
    leaves = leaves_of(case.body, case.content_type)
    found = _operation(operation, case.expect)
    if operation.id not in profile.operation_ids:
        found["known"] = (True, False)
    if operation.graphql is not None:
        return _worded(found | _graphql(profile, operation, operation.graphql, case))
    by_name = {_named(path): path for path in leaves}
    for name, wanted in case.treated.items():
        path = by_name.get(name)
        found[f"leaf {name}"] = (wanted, "not in the body" if path is None else _treated(operation, path, leaves))
    if case.searched:
        operands = _operands(operation, case, leaves, profile.tables)
        names = dict.fromkeys((*case.searched, *operands))
        found |= {f"search in {name}": (case.searched.get(name), operands.get(name)) for name in names}
    if "owner" in case.expect:
        flat = {path[0]: text for path, text in leaves.items() if len(path) == 1}
        found["owner"] = (case.expect["owner"], profile.owner_from_body(operation, flat))
    if "parts" in case.expect:
        found["parts"] = (case.expect["parts"], _parts(profile, operation, case.body))
    if "columns" in case.expect:
        flat = {path[0]: text for path, text in leaves.items() if len(path) == 1}
        columns = {f"{spec.entity}.{spec.name}": number for spec, number in profile.import_columns(operation, flat)}
        found["columns"] = (case.expect["columns"], columns)
    return _worded(found)


def _worded(found: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return [f"{what}: {got!r} instead of {wanted!r}" for what, (wanted, got) in found.items() if got != wanted]


def _graphql(profile: Profile, operation: Operation, asked: Asked, case: Case) -> dict[str, tuple[Any, Any]]:
    """Name → (expected, found) of a GraphQL request, whose places begin with the response key of their part."""
    told = list(places_of(asked))
    written = {one.place: f"{one.what} {_field(one.spec)}".strip() for one in told if one.written}
    sought = {one.place: f"{one.what} {_field(one.spec)}".strip() for one in told if not one.written}
    found: dict[str, tuple[Any, Any]] = {
        f"leaf {name}": (wanted, written.get(name, "not in the request")) for name, wanted in case.treated.items()
    }
    if case.searched or sought:
        names = dict.fromkeys((*case.searched, *sought))
        found |= {f"search in {name}": (case.searched.get(name), sought.get(name)) for name in names}
    if "parts" in case.expect:
        found["parts"] = (case.expect["parts"], _parts(profile, operation, case.body))
    if asked.problem or "refused" in case.expect:
        found["refused"] = (case.expect.get("refused"), asked.problem or None)
    return found


def _operation(operation: Operation, expect: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name → (expected, found) of everything that is expected of the operation."""
    found: dict[str, tuple[Any, Any]] = {
        name: (expect[name], getattr(operation, name)) for name in _OF_OPERATION if name in expect
    }
    if "action" in expect:
        found["action"] = (expect["action"], operation.action.value)
    if "granted" in expect:
        found["granted"] = (expect["granted"], operation.granted_write)
    found |= {name: (expect[name], list(getattr(operation, name))) for name in ("records", "touched") if name in expect}
    if "unique" in expect:
        fields = operation.unique.fields if operation.unique is not None else ()
        found["unique"] = (sorted(expect["unique"]), sorted(f"{entity}.{name}" for entity, name in fields))
    if "uploads" in expect:
        found["uploads"] = (expect["uploads"], {upload.part: upload.data for upload in operation.uploads})
    return found


def _treated(operation: Operation, path: tuple[str, ...], leaves: Mapping[tuple[str, ...], str]) -> str:
    siblings = {key[-1]: value for key, value in leaves.items() if key[:-1] == path[:-1] and key != path}
    what, spec = treatment(operation, path, siblings, text=leaves[path], leaves=leaves)
    return f"{what.value} {spec.entity}.{spec.name}" if spec is not None else what.value


def _operands(
    operation: Operation, case: Case, leaves: Mapping[tuple[str, ...], str], tables: Tables
) -> dict[str, str]:
    """Operand → its field; a column of a query → how it is used, and its field."""
    parameters = leaves_of(case.query.encode(), FORM)
    found = {f"path {template}": _field(spec) for template, spec in path_operands(operation.searches, case.path)}
    for where in Where:
        given = leaves_in(operation, where, parameters, leaves)
        for path, _, spec, rule in search_operands(operation, where, given):
            if not rule.language:
                found[_named(path)] = _field(spec)
            for column, what, named in columns_of(rule, path[-1], given[path], tables) if rule.language else ():
                found[f"{_named(path)} {column}".strip()] = f"{what} {_field(named)}".strip()
    return found


def _field(spec: FieldSpec | None) -> str:
    return "" if spec is None else f"{spec.entity}.{spec.name}"


def _parts(profile: Profile, operation: Operation, body: bytes) -> list[str]:
    """Operation and record of each part of a JSON batch."""
    found = part_operations(profile, operation, body)
    return [" ".join(filter(None, (one.id, one.record))) for one in found]


def _named(path: Sequence[str]) -> str:
    return "/".join(path)
