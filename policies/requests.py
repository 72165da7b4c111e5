"""What the address line and the body of a request name: record ids and the type of a record.

Ids are kept only when they have the shape of the profile's record ids, so that no other text of a request can reach
the audit trail this way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from policies.record_id import RecordIds

# More ids than this in one bulk request are cut; the operation then still counts as a bulk request.
BULK_LIMIT = 10_000


def type_id(parameters: Mapping[str, str], query: str) -> str:
    """The CRM's number of a record type: path parameter `type`, else query parameter `ct_id`; "" when there is none."""
    found = parameters.get("type")
    if found is None and "ct_id=" in query:
        found = next((value for name, value in _pairs(query) if name == "ct_id"), "")
    return found or ""


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=5000, errors="replace")
    except ValueError:
        return []


def record_ids(
    names: Sequence[str], query: str, body: bytes | None, content_type: str, shape: RecordIds = RecordIds.NUMBER
) -> tuple[str, ...]:
    """Record ids under any of `names`: lists such as `1,2,3` or repeated, in JSON numbers, texts or lists of them.

    From the urlencoded or JSON body where there is one, else from the query: a CRM that reads the body ignores the
    query, and ids that it ignores must not count.
    """
    pairs = _pairs(query) if query and not body else []
    media = content_type.partition(";")[0].strip().lower()
    if body and media == "application/x-www-form-urlencoded":
        pairs = _pairs(body.decode("latin-1"))
    elif body and media == "application/json":
        pairs = _members(body)
    found: dict[str, None] = {}
    for name, value in pairs:
        if name in names:
            for part in value.split(","):
                number = shape.canonical(part.strip())
                if number is not None and len(found) < BULK_LIMIT:
                    found[number] = None
    return tuple(found)


def _members(body: bytes) -> list[tuple[str, str]]:
    """Members of a JSON object that are numbers, texts or lists of those, as pairs; anything else has none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    pairs = []
    for name, member in value.items() if isinstance(value, dict) else ():
        for one in member if isinstance(member, list) else [member]:
            if isinstance(one, int | str) and not isinstance(one, bool):
                pairs.append((name, str(one)))
    return pairs


def names_field(name: str, body: bytes | None, content_type: str) -> bool:
    """Whether a form body has a non-empty field of this name; True as well when that cannot be told for certain."""
    if not body:
        return False
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return True
    try:
        pairs = parse_qsl(body.decode("latin-1"), max_num_fields=5000)
    except ValueError:
        return True
    return any(key == name for key, _ in pairs)


def leaves_of(body: bytes, content_type: str) -> dict[tuple[str, ...], str]:
    """Every text of a JSON or form body by the path to it; none where it is not what its type says.

    For people at a command line; the gateway opens bodies itself, more strictly.
    """
    if content_type.partition(";")[0].strip().lower() == "application/json":
        try:
            return dict(_texts((), json.loads(body)))
        except (ValueError, RecursionError):
            return {}
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=5000)
    except ValueError:
        return {}
    return {(name,): value for name, value in pairs}


def _texts(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from _texts((*path, str(step)), item)
