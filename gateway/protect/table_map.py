"""A map of a CRM's own tables, for CRMs whose interface cannot do it: which columns hold which fields.

YAML: `entities`, each with `entity`, `table`, `key` (its primary key, one column), `fields` (column → field of the
profile, "text", or "kind:" and a kind for a whole value that the profile declares nowhere), and where needed `where` (a
condition over columns of the table), `parent` (entity and column of the record a row belongs to) and `json` (column →
"escaped" or "plain": the column holds JSON, every string in it is free text; says how characters beyond ASCII are
written). Where a row does not say itself whose it is, `parent` names the table that does: `through: {table, column,
where}`, whose `column` holds the key of the row and whose `key` is the record; rows that it does not name are left.
`except` names columns (`{table, column}`) that hold keys of rows which another entry reaches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
import yaml
from jsonschema import Draft202012Validator
from sqlglot import expressions as exp

from kms.surrogate import KINDS
from policies.operation import FieldSpec
from policies.profile import Profile
from policies.taxonomy import Kind
from policies.walk import TEXT_CHARS, UNDECLARED, Walk, WalkEntity, WalkField

_NAME = {"type": "string", "minLength": 1, "maxLength": 128}
_SCHEMA = {
    "type": "object",
    "required": ["entities"],
    "additionalProperties": False,
    "properties": {
        "entities": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["entity", "table", "key", "fields"],
                "additionalProperties": False,
                "properties": {
                    "entity": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
                    "table": _NAME,
                    "key": _NAME,
                    "where": {"type": "string", "minLength": 1},
                    "parent": {
                        "type": "object",
                        "required": ["entity", "key"],
                        "additionalProperties": False,
                        "properties": {
                            "entity": _NAME,
                            "key": _NAME,
                            "through": {
                                "type": "object",
                                "required": ["table", "column"],
                                "additionalProperties": False,
                                "properties": {"table": _NAME, "column": _NAME, "where": _NAME},
                            },
                        },
                    },
                    "except": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["table", "column"],
                            "additionalProperties": False,
                            "properties": {"table": _NAME, "column": _NAME},
                        },
                    },
                    "json": {"type": "object", "additionalProperties": {"enum": ["escaped", "plain"]}},
                    "fields": {"type": "object", "minProperties": 1, "additionalProperties": _NAME},
                },
            },
        }
    },
}
# What a condition may be made of: comparisons of columns with constants, nothing that reads another table or calls.
_PLAIN = (
    *(exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Like),
    *(exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Neg, exp.Between),
)


class MapInvalid(Exception):  # noqa: N818 - names what is wrong
    """A map that cannot be used; the text says where and why."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Through:
    """The table that says whose a row is: its `column` names the row, its `key` the record; where: as of TableMap."""

    table: str
    column: str
    key: str
    where: str


@dataclass(frozen=True, slots=True)
class TableMap:
    """One table. where: a checked condition in the dialect of the database, or ""; parent: a column of this table, or
    "" when there is none or `through` knows it; json: column → how it is written; unless: (table, column) pairs that
    name rows which are left."""

    table: str
    key: str
    columns: tuple[str, ...]
    where: str
    parent: str
    json: Mapping[str, str]
    through: Through | None = None
    unless: tuple[tuple[str, str], ...] = ()


def read_map(file: Path, profile: Profile, dialect: str) -> tuple[Walk, dict[str, TableMap]]:
    """The walk of a map and its tables by entity; raises MapInvalid. dialect: as sqlglot names it."""
    try:
        source = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise MapInvalid(f"cannot read {file}: {fault.strerror}") from None
    except yaml.YAMLError as fault:
        raise MapInvalid(f"{file} is not valid YAML: {getattr(fault, 'problem', fault)}") from None
    problems = [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in
                Draft202012Validator(_SCHEMA).iter_errors(source)]  # fmt: skip
    if problems:
        raise MapInvalid("; ".join(problems))
    entities = tuple(_entity(entry, profile) for entry in source["entities"])
    if len({one.entity for one in entities}) < len(entities):
        raise MapInvalid("two entries of the map name the same entity")
    tables = {entry["entity"]: _table(entry, dialect) for entry in source["entities"]}
    return Walk(sign_in={}, entities=entities, trims=False, page=500), tables


def _entity(entry: Mapping[str, Any], profile: Profile) -> WalkEntity:
    entity, parent = entry["entity"], entry.get("parent")
    fields = []
    for column, name in entry["fields"].items():
        spec = FieldSpec(entity, UNDECLARED, None, TEXT_CHARS)
        if name.startswith("kind:"):
            if name[5:] not in KINDS:
                raise MapInvalid(f"{entity}.{column}: there is no kind {name[5:]!r}")
            spec = FieldSpec(entity, UNDECLARED, Kind(name[5:]), TEXT_CHARS)
        elif name != "text":
            owner, _, short = name.rpartition(".")
            found = profile.field_specs.get((owner or entity, short))
            if found is None:
                raise MapInvalid(f"{entity}.{column}: the profile declares no field {name!r}")
            spec = found
        pattern = f"{column}:*" if column in entry.get("json", {}) else column
        fields.append(WalkField(pattern, spec))
    return WalkEntity(entity, tuple(fields), parent=(parent["entity"], parent["key"]) if parent else None)


def _table(entry: Mapping[str, Any], dialect: str) -> TableMap:
    parent = entry.get("parent", {})
    through = parent.get("through")
    return TableMap(
        table=entry["table"],
        key=entry["key"],
        columns=tuple(entry["fields"]),
        where=_condition(entry["where"], dialect) if "where" in entry else "",
        parent=parent["key"] if parent and not through else "",
        json=entry.get("json", {}),
        through=Through(
            through["table"],
            through["column"],
            parent["key"],
            _condition(through["where"], dialect) if "where" in through else "",
        )
        if through
        else None,
        unless=tuple((one["table"], one["column"]) for one in entry.get("except", ())),
    )


def _condition(text: str, dialect: str) -> str:
    """A condition, parsed and written anew with every name quoted; raises MapInvalid for anything but comparisons."""
    try:
        parsed = sqlglot.parse(text, dialect=dialect)
    except sqlglot.errors.SqlglotError:
        raise MapInvalid(f"the condition {text!r} is not SQL") from None
    if len(parsed) != 1 or parsed[0] is None:
        raise MapInvalid(f"the condition {text!r} is more than a condition")
    for node in parsed[0].walk():
        if not isinstance(node, _PLAIN) or (isinstance(node, exp.Column) and node.table):
            raise MapInvalid(f"the condition {text!r} may only compare columns of its table with constants")
    return str(parsed[0].sql(dialect=dialect, identify=True))
