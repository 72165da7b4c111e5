"""Whom the trail means: the names it has for a record, and the record behind a name while the person lives."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from kms.connections import StoreUnavailable
from kms.provider import KeysUnavailable
from kms.pseudonym import is_pseudonym
from kms.pseudonyms import Pseudonyms

ERASED = ""
"""In place of a record: the person was erased, and nothing says any more who that was."""


class People(Protocol):
    """What pages and commands ask (NamedPeople)."""

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        """The name under which a record is written down; made where there is none.

        Raises KeysUnavailable, StoreUnavailable.
        """
        ...

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        """Every name a record may stand under, its own key among them; entity "": of any sort.

        Raises KeysUnavailable, StoreUnavailable.
        """
        ...

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        """Pseudonym → entity/record, or `ERASED`; none of them while keys or store are away."""
        ...


class NamedPeople:
    """Over the pseudonyms of one process. entities: those of a tenant that hold people."""

    def __init__(self, pseudonyms: Pseudonyms, entities: Callable[[str], frozenset[str]]) -> None:
        self._pseudonyms = pseudonyms
        self._entities = entities

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        """See People."""
        if entity not in self._entities(tenant):
            return record
        return (await self._pseudonyms.names(tenant, [(entity, record)]))[(entity, record)]

    def holds_people(self, tenant: str, entity: str) -> bool:
        """Whether records of this kind are people, so that nothing but a pseudonym of theirs is written down."""
        return entity in self._entities(tenant)

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        """See People."""
        every = self._entities(tenant)
        asked = [(one, record) for one in sorted(every if not entity else every & {entity})]
        # Its own key: entries of version 1, and records that are nobody.
        return [record, *(await self._pseudonyms.every(tenant, asked))]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        """See People."""
        asked = {name for name in names if is_pseudonym(name)}
        if not asked:
            return {}
        try:
            found = await self._pseudonyms.records(tenant, asked)
        except (KeysUnavailable, StoreUnavailable):
            return {}
        return {name: "/".join(found[name]) if name in found else ERASED for name in asked}


def pseudonyms_in(content: Mapping[str, Any]) -> Iterator[str]:
    """The pseudonyms in a decoded entry; one may come several times."""
    for name in _names(content):
        if is_pseudonym(name):
            yield name


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    fields = content.get("fields") or {}
    yield str(content.get("record", ""))
    yield str(content.get("data_subject", ""))
    shown = fields.get("shown")
    for records in shown.values() if isinstance(shown, Mapping) else ():
        yield from records if isinstance(records, Mapping) else ()
    for key in ("records", "parts"):
        for text in fields.get(key) or ():
            for piece in str(text).split(":"):
                yield piece.rpartition(".")[2]
