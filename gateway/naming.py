"""Persons in the trail by pseudonym: what an entry names by the CRM's own keys is replaced before it is written.

Records of entities that hold people, which are those with a protected field in the profile, are named by a pseudonym
that dies with the person (kms.pseudonyms); everything else stays as it is. Where no pseudonym can be had, nothing is
written and the exchange is refused; only the entry about a refusal itself goes in without the name.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from audit.entry import NOT_RECORDED, AuditEntry, is_name
from kms.provider import KeysUnavailable
from kms.pseudonym import is_pseudonym
from kms.pseudonyms import Record
from kms.store import StoreUnavailable
from policies.profile import Profile

REFUSAL = "refusal"
_BLANK = frozenset({"", NOT_RECORDED})
_PART = ":"


class Names(Protocol):
    """Where pseudonyms come from (kms.pseudonyms.Pseudonyms)."""

    def held(self, tenant: str, records: Iterable[Record]) -> dict[Record, str]: ...

    async def names(self, tenant: str, records: Collection[Record], *, make: bool = True) -> dict[Record, str]: ...


class PersonNaming:
    """Names persons in entries by pseudonym (audit.log.Naming). profile: that of a tenant as it is now."""

    def __init__(self, names: Names, profile: Callable[[str], Profile]) -> None:
        self._names = names
        self._profile = profile
        self._people: dict[str, tuple[Profile, frozenset[str]]] = {}

    def at_once(self, entry: AuditEntry) -> AuditEntry | None:
        """The entry with pseudonyms that are in memory; None when one has to be asked for."""
        if not _may_name(entry):
            return entry
        people = self.people(entry.tenant)
        records = touched(entry, people)
        names = self._names.held(entry.tenant, records)
        if len(names) < len(records):
            for record in records.difference(names):
                if is_name(record[1]):
                    return None
                names[record] = NOT_RECORDED
        return renamed(entry, people, names)

    async def named(self, entry: AuditEntry) -> AuditEntry:
        """The entry with its pseudonyms, made where there are none. Raises KeysUnavailable, StoreUnavailable.

        Nobody known makes nobody known: what only a refused stranger named, and nothing else ever, stays without one.
        """
        people = self.people(entry.tenant)
        records = touched(entry, people)
        names: Mapping[Record, str] = {}
        try:
            known = {one for one in records if is_name(one[1])}
            names = await self._names.names(entry.tenant, known, make=bool(entry.actor) or entry.kind != REFUSAL)
        except (KeysUnavailable, StoreUnavailable):
            if entry.kind != REFUSAL:
                raise
        return renamed(entry, people, {one: names.get(one, NOT_RECORDED) for one in records})

    def people(self, tenant: str) -> frozenset[str]:
        """Entities of a tenant that hold people."""
        profile = self._profile(tenant)
        known = self._people.get(tenant)
        if known is None or known[0] is not profile:
            known = self._people[tenant] = (profile, frozenset(entity for entity, _ in profile.field_specs))
        return known[1]


def touched(entry: AuditEntry, people: frozenset[str]) -> set[Record]:
    """Records of persons that an entry names."""
    found = {record for text in _listed(entry.fields) if (record := _record(text, people)) is not None}
    if entry.entity in people and _is_key(entry.record):
        found.add((entry.entity, entry.record))
    shown: dict[str, set[str]] = {}  # a list names the same records in each of its columns
    for label, records in (entry.fields.get("shown") or {}).items():
        entity = label.rpartition(".")[0]
        if entity in people:
            shown.setdefault(entity, set()).update(records)
    for entity, keys in shown.items():
        found.update((entity, key) for key in keys if _is_key(key))
    return found


def renamed(entry: AuditEntry, people: frozenset[str], names: Mapping[Record, str]) -> AuditEntry:
    """The entry with these pseudonyms; the same object where it names nobody."""
    if not names:
        return entry
    record = names.get((entry.entity, entry.record), entry.record)
    changes: dict[str, Any] = {}
    if shown := entry.fields.get("shown"):
        of: dict[str, dict[str, str]] = {}
        for (entity, key), name in names.items():
            of.setdefault(entity, {})[key] = name
        changes["shown"] = {label: _shown(told, of.get(label.rpartition(".")[0])) for label, told in shown.items()}
    if "records" in entry.fields:
        changes["records"] = [_text(one, people, names) for one in entry.fields["records"]]
    if "parts" in entry.fields:
        changes["parts"] = [
            _PART.join((first, *(_text(one, people, names) for one in more)))
            for first, *more in (one.split(_PART) for one in entry.fields["parts"])
        ]
    about = record if record != entry.record else _only(names)
    fields = {**entry.fields, **changes} if changes else entry.fields
    return entry.renamed(record, "" if about == NOT_RECORDED else about, fields)


def _is_key(record: str) -> bool:
    """Whether this is the CRM's key; a question to the trail is about somebody who has a pseudonym already."""
    return record not in _BLANK and not is_pseudonym(record)


def _may_name(entry: AuditEntry) -> bool:
    fields = entry.fields
    return bool(entry.record) or "shown" in fields or "parts" in fields or "records" in fields


def _listed(fields: Mapping[str, Any]) -> Iterable[str]:
    listed: Iterable[str] = fields.get("records", ())
    if "parts" not in fields:
        return listed
    return (*listed, *(one for part in fields["parts"] for one in part.split(_PART)[1:]))


def _record(text: str, people: frozenset[str]) -> Record | None:
    """The record that a text of the form "entity.record" names, where its entity holds people."""
    at = text.find(".")
    while at > 0:
        if text[:at] in people and _is_key(text[at + 1 :]):
            return text[:at], text[at + 1 :]
        at = text.find(".", at + 1)
    return None


def _text(text: str, people: frozenset[str], names: Mapping[Record, str]) -> str:
    record = _record(text, people)
    return text if record is None else f"{record[0]}.{names[record]}"


def _shown(told: Mapping[str, Any], names: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Forms by record, of one entity; those of several that have no name are added up."""
    if names is None:
        return told
    found = {names.get(record, record): forms for record, forms in told.items()}
    if len(found) == len(told):
        return found
    found.clear()
    for record, forms in told.items():
        name = names.get(record, record)
        if name in found:
            forms = {form: found[name].get(form, 0) + forms.get(form, 0) for form in {**found[name], **forms}}
        found[name] = forms
    return found


def _only(names: Mapping[Record, str]) -> str:
    """The one person all of it is about, "" for several."""
    persons = set(names.values())
    return persons.pop() if len(persons) == 1 else ""
