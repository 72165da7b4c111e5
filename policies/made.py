"""How a CRM is asked which record a create has made, where its answer does not say so.

The list of the newest records is asked for; the one whose text holds a surrogate that this very create brought is the
record. Only surrogates that stand for one person's value alone count, so that no older record can hold it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from policies.record_id import RecordIds


@dataclass(frozen=True, slots=True)
class MadeRule:
    """Where the newest records are listed as JSON. target: path and query, `{name}` are parameters of the create's own
    path; items: the way to the list; id, text: keys of one record."""

    target: str
    items: tuple[str, ...]
    id: str
    text: str

    def address(self, parameters: Mapping[str, str]) -> str:
        """What to ask for; raises KeyError where the create's path lacks a parameter."""
        return self.target.format_map(parameters)

    def record(self, body: bytes, surrogates: Collection[str], ids: RecordIds = RecordIds.NUMBER) -> str | None:
        """The one record that holds any of these; None where none or several do."""
        try:
            listed: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        for step in self.items:
            listed = listed.get(step) if isinstance(listed, dict) else None
        found = {
            str(one.get(self.id))
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict) and holds(str(one.get(self.text, "")), surrogates)
        }
        return ids.canonical(found.pop()) if len(found) == 1 else None


def holds(text: str, surrogates: Collection[str]) -> bool:
    """Whether one of the surrogates stands in a text."""
    return any(one in text for one in surrogates)


def read_made(entry: Mapping[str, Any]) -> MadeRule:
    """A validated `newest` of an answer."""
    items: Sequence[str] = entry["items"]
    return MadeRule(entry["target"], tuple(items), entry["id"], entry["text"])
