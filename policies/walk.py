"""How to walk through a CRM record by record with its own reads and writes: the `walk` part of a profile.

Plain values. Two protocols are known: `html-forms` reads an edit form and posts it whole, `json-rpc` calls search, read
and write of an object. What is special about a CRM is data here; the protocols are drivers of the gateway.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from policies.operation import FieldSpec

TEXT_CHARS = 65_000
UNDECLARED = "undeclared"


@dataclass(frozen=True, slots=True)
class WalkField:
    """One field as the edit form or the object names it.

    name: an fnmatch pattern; by: (field that decides, its value → field), where one column holds several kinds.
    """

    name: str
    spec: FieldSpec
    by: tuple[str, Mapping[str, FieldSpec]] | None = None


@dataclass(frozen=True, slots=True)
class WalkEntity:
    """One kind of record.

    fields: the first pattern that fits counts. list_path: with {page}; newer: the same for ids after {after};
    selector, attribute: where its ids stand. edit, create: paths of forms, mark: a field only the right form has;
    skip: a selector that only forms of records show that are never touched (accounts of staff). accepted: statuses of
    a write that took effect. remove: path and how often it is posted. object: name before the verb (JSON-RPC).
    parent: (entity, key) of the record this one hangs on; values whose field belongs to the parent's entity have
    their origin there. probe: fields a new scratch record cannot do without; `{parent}` stands for a scratch record
    of the parent. owner: the column that says who made the record or the one it hangs on (`party.create_uid`).
    removed_by: the calls that delete a record, one after another (JSON-RPC).
    """

    entity: str
    fields: tuple[WalkField, ...]
    list_path: str = ""
    newer: str = ""
    selector: str = ""
    attribute: str = ""
    edit: str = ""
    create: str = ""
    mark: str = ""
    skip: str = ""
    accepted: frozenset[int] = frozenset({200})
    remove: tuple[str, int] | None = None
    object: str = ""
    parent: tuple[str, str] | None = None
    probe: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    removed_by: tuple[str, ...] = ("delete",)

    def spec_of(self, name: str, values: Mapping[str, str]) -> FieldSpec | None:
        """What a field of this record is; None when nobody declared it."""
        for one in self.fields:
            if fnmatchcase(name, one.name):
                if one.by is not None:
                    return one.by[1].get(values.get(one.by[0], ""), one.spec)
                return one.spec
        return None

    @property
    def deciding(self) -> frozenset[str]:
        """Names of the fields that decide what others are."""
        return frozenset(one.by[0] for one in self.fields if one.by is not None)


@dataclass(frozen=True, slots=True)
class History:
    """Old values that a CRM keeps by itself. table: where; map: the file in deploy/protect that walks it."""

    table: str
    map: str


@dataclass(frozen=True, slots=True)
class Walk:
    """The whole walk.

    sign_in: path and names (forms) or path and method (RPC). trims: the CRM drops white space around what it stores.
    page: records a list shows at once. entities: in the order in which they are walked. history: where the CRM keeps
    what its records held before, out of reach of its interface.
    """

    sign_in: Mapping[str, Any]
    entities: tuple[WalkEntity, ...]
    trims: bool = False
    page: int = 100
    history: "History | None" = None

    def entity(self, name: str) -> WalkEntity:
        """The kind of record with this name; raises KeyError."""
        return next(one for one in self.entities if one.entity == name)

    @property
    def asks(self) -> tuple[str, ...]:
        """What has to be known beside login and password, for example the name of the database in the path."""
        path = str(self.sign_in["path"])
        return ("db",) if "{db}" in path else ()


Resolve = Callable[[str | None, str, str], FieldSpec | None]


def compile_walk(source: Mapping[str, Any], resolve: Resolve) -> Walk:
    """The walk of a validated profile source; `resolve` looks fields up and notes what does not exist."""
    return Walk(
        sign_in=source["sign_in"],
        entities=tuple(_entity(entry, resolve) for entry in source["entities"]),
        trims=source.get("trims", False),
        page=source.get("page", 100),
        history=History(**source["history"]) if "history" in source else None,
    )


def _entity(entry: Mapping[str, Any], resolve: Resolve) -> WalkEntity:
    entity = entry["entity"]
    place = f"walk {entity}"

    def spec(name: str) -> FieldSpec:
        return resolve(name, entity, place) or FieldSpec(entity, UNDECLARED, None, TEXT_CHARS)

    fields = []
    for name, given in entry["fields"].items():
        if isinstance(given, str):
            fields.append(WalkField(name, spec(given)))
        else:
            kinds = {key: spec(value) for key, value in given["is"].items()}
            fields.append(WalkField(name, spec(given["else"]), (given["by"], kinds)))
    listed = entry.get("list", {})
    parent = entry.get("parent")
    remove = entry.get("remove")
    return WalkEntity(
        entity=entity,
        fields=tuple(fields),
        list_path=listed.get("path", ""),
        newer=listed.get("newer", ""),
        selector=listed.get("selector", ""),
        attribute=listed.get("attribute", ""),
        edit=entry.get("edit", ""),
        create=entry.get("create", ""),
        mark=entry.get("mark", ""),
        skip=entry.get("skip", ""),
        accepted=frozenset(entry.get("accepted", (200,))),
        remove=(remove["path"], remove.get("times", 1)) if remove else None,
        object=entry.get("object", ""),
        parent=(parent["entity"], parent["key"]) if parent else None,
        probe=entry.get("probe", {}),
        owner=entry.get("owner", ""),
        removed_by=tuple(entry.get("removed_by", ("delete",))),
    )
