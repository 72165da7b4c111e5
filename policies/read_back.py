"""Requests of the gateway's own to a CRM: who a person is there, and what a record holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies import answers
from policies.record_id import RecordIds


@dataclass(frozen=True, slots=True)
class Whoami:
    """A request the gateway may send with the user's own cookies to learn the CRM's key of that user."""

    method: str
    path: str
    selector: str
    attribute: str


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A request of the gateway's own that shows which record holds which values, and its owner.

    path: template with `{record}`; body: JSON template for RPC, else ""; owner_css: selector and attribute;
    owner_path: JSON path to the owner; parent: (entity, JSON path to its id) for records that belong to another one;
    siblings: JSON paths to stored values that decide what another value is.
    """

    entity: str
    method: str
    path: str
    body: str = ""
    owner_css: tuple[str, str] | None = None
    owner_path: tuple[str, ...] = ()
    parent: tuple[str, tuple[str, ...]] | None = None
    siblings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    record_ids: RecordIds = RecordIds.NUMBER

    def request(self, record: str, path: str) -> tuple[str, str, bytes]:
        """(method, path, body) for one record; the path of the exchange at hand serves where the database is in it."""
        number = self.record_ids.canonical(record)
        if number is None:
            raise ValueError(f"a record id of this profile has the shape {self.record_ids}")
        target = path if "{db}" in self.path else self.path.replace("{record}", number)
        return self.method, target, self.body.replace("{record}", number).encode()

    def read(self, status: int, body: bytes) -> tuple[str | None, str | None, dict[str, str]]:
        """(owner, parent's id, stored siblings) in the answer; None for what it does not tell."""
        owner = answers.css_value(status, body, *self.owner_css) if self.owner_css else None
        if self.owner_path:
            owner = answers.json_value(status, body, self.owner_path)
        parent = answers.json_value(status, body, self.parent[1]) if self.parent else None
        stored = {key: answers.json_value(status, body, path) for key, path in self.siblings.items()}
        return owner, parent, {key: value for key, value in stored.items() if value is not None}


def compile_read_back(entry: Mapping[str, Any], record_ids: RecordIds) -> ReadBack:
    """A request of the profile's source."""
    css = entry.get("owner_css")
    parent = entry.get("parent")
    return ReadBack(
        entity=entry["entity"],
        method=entry["method"],
        path=entry["path"],
        body=entry.get("body", ""),
        owner_css=(css["selector"], css["attribute"]) if css else None,
        owner_path=tuple(entry.get("owner_path", ())),
        parent=(parent["entity"], tuple(parent["path"])) if parent else None,
        siblings={key: tuple(path) for key, path in entry.get("siblings", {}).items()},
        record_ids=record_ids,
    )
