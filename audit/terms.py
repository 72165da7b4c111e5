"""Under which terms an entry is found: the record, the field, the person, the operation it is about; pure.

One entry has a term for each record it shows or touches, so that a list of a hundred people is found by each of them.
With records and fields stands what was shown of them, as ` field/form field/form `. One term every entry has: with it
stands what most questions narrow or count by, so that neither needs entries that left the database.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from audit.event_row import sights

TERMS_FORMAT = 2
"""Raised when terms change: the index is then made anew."""
COMMON_KINDS = frozenset({"decision", "outcome"})
COMMON_REASONS = frozenset({"", "allowed"})
ENTRY_TERM = "e"
SEAM = "\x1f"


def record_term(entity: str, record: str) -> str:
    """Of one record."""
    return f"r:{entity}/{record}"


def field_term(entity: str, field: str) -> str:
    """Of one field, whatever the record."""
    return f"f:{entity}.{field}"


def terms_of(content: Mapping[str, Any]) -> dict[str, str]:
    """Term → what was shown, "" for none, of a decoded entry."""
    shown: dict[str, list[str]] = {}
    # A list shows the same few fields of each record: each name is put together once.
    pairs: dict[tuple[str, str, str], str] = {}
    records: dict[tuple[str, str], list[str]] = {}
    # Records are also named without a field: by an action, by the parts of a batch, by a look into the trail.
    for entity, record, field, form, _ in sights(content):
        seen = entity, field, form
        pair = pairs.get(seen)
        if pair is None:
            pair = pairs[seen] = f"{field}/{form}"
            shown.setdefault(field_term(entity, field), []).append(pair)
            shown.setdefault(f"m:{form}", [])
        if record:
            told = records.get((entity, record))
            if told is None:
                records[(entity, record)] = told = shown.setdefault(record_term(entity, record), [])
            told.append(pair)
    for term in _named(content):
        shown.setdefault(term, [])
    said = {term: _said(tuple(found)) for term, found in shown.items()}
    return said | {ENTRY_TERM: _facts(content)}


@lru_cache(maxsize=1024)  # of names of fields and forms only, which nothing changes
def _said(pairs: tuple[str, ...]) -> str:
    return f" {' '.join(sorted(set(pairs)))} " if pairs else ""


def _named(content: Mapping[str, Any]) -> Iterator[str]:
    if content["entity"] and content["record"]:
        yield record_term(content["entity"], content["record"])
    for name in _texts(content["fields"].get("records")):
        entity, _, record = name.partition(".")
        yield record_term(entity, record)
    for part in _texts(content["fields"].get("parts")):
        operation, *records = part.split(":")
        for record in records:
            # Entries of version 1 name the record alone.
            entity, _, key = (
                record.partition(".") if content["version"] > 1 else (operation.partition(".")[0], "", record)
            )
            yield record_term(entity, key)
    for mark, name in (("u", "actor"), ("o", "operation"), ("c", "client")):
        if content[name]:
            yield f"{mark}:{content[name]}"
    if content["kind"] not in COMMON_KINDS:
        yield f"k:{content['kind']}"
    if content["reason"] not in COMMON_REASONS:
        yield f"w:{content['reason']}"


def _facts(content: Mapping[str, Any]) -> str:
    """Kind, reason, status, account and login, in this order; a status has three digits, so that texts compare."""
    status = content["status"]
    facts = (content["kind"], content["reason"], f"{status:03d}", content["actor"], content["actor_login"])
    return SEAM.join("".join(sign if sign.isprintable() else " " for sign in one) for one in facts)


def _texts(told: object) -> list[str]:
    return [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
