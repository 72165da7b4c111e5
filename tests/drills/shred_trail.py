"""The trail of the shredding drill: whole and proved after an erasure, and nothing left that says whom it names.

Each record is shown and changed by somebody, as the gateway writes that down, and once it is named together with the
next one. The erased record's entries have exchanges of their own, so that every row of the database that has one of
these, an id of such an entry or a pseudonym can be looked for beside the record's key.
"""

import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg

from audit import store
from audit.checkpoint import Keeper
from audit.entry import AuditEntry, decode
from audit.log import AuditLog
from audit.note import ensure_signer, origin_of
from audit.proof import EntryProof, prove_entry
from audit.verify import verify
from audit.watch import Watch
from gateway.accounts import utc_now
from gateway.database import open_pool
from gateway.named_people import ERASED, NamedPeople, pseudonyms_in
from gateway.naming import PersonNaming
from gateway.person_keys import open_persons, pseudonyms_of
from gateway.settings import Settings
from kms.pseudonyms import Pseudonyms
from tests.conftest import unwalled

_PROFILE: Any = SimpleNamespace(field_specs={("contact", "phone"): None, ("contact", "name"): None})


@dataclass
class Trailed:
    """What is in the trail: index → exchange and id of the entries about each record, and their proofs."""

    entries: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    pseudonyms: dict[str, str] = field(default_factory=dict)
    proofs: dict[int, str] = field(default_factory=dict)


@dataclass
class Reader:
    """What reads and writes a trail in one process."""

    names: Pseudonyms
    people: NamedPeople
    log: AuditLog


@asynccontextmanager
async def trail(settings: Settings, dsn: str) -> AsyncIterator[Reader]:
    """One that has nothing in memory."""
    pool, persons = await open_pool(dsn, max_size=2), open_persons(settings)
    names = pseudonyms_of(pool, persons)
    naming = PersonNaming(names, lambda _: _PROFILE)
    log = AuditLog(dsn, naming=naming, commit_timeout_s=60.0)
    await log.start()
    try:
        yield Reader(names, NamedPeople(names, naming.people), log)
    finally:
        await log.close()
        await persons.close()
        await pool.close()


async def fill(settings: Settings, dsn: str, tenant: str, records: Sequence[str]) -> Trailed:
    """Entries about every record; the first exchange of each is the one that made it."""
    made = Trailed()
    async with trail(settings, dsn) as at:
        for number, record in enumerate(records):
            other = records[(number + 1) % len(records)]
            for kind, fields in (
                ("decision", {"written": ["contact.phone"]}),
                (
                    "outcome",
                    {"shown": {"contact.phone": {record: {"clear": 1}}, "contact.name": {record: {"clear": 1}}}},
                ),
                (
                    "outcome",
                    {"records": [f"contact.{record}", f"contact.{other}"], "parts": [f"batch:contact.{record}"]},
                ),
            ):
                exchange = f"x-{record}" if kind == "decision" else f"y{os.urandom(8).hex()}"
                entry = AuditEntry(
                    actor="u-drill", at=utc_now(), entity="contact", exchange=exchange, fields=fields,
                    id=f"a{os.urandom(8).hex()}", kind=kind, record=record, status=200, tenant=tenant,
                )  # fmt: skip
                made.entries.setdefault(record, []).append((await at.log.append(entry), exchange, entry.id))
        named = await at.names.names(tenant, [("contact", record) for record in records], make=False)
        made.pseudonyms = {record: name for (_, record), name in named.items()}
    await seal(settings, dsn, tenant)
    verifier = ensure_signer(settings.checkpoint_key_path).verifier
    async with store.reading(dsn, tenant) as connection:
        for some in made.entries.values():
            for index, _, _ in some:
                made.proofs[index] = (await prove_entry(connection, tenant, index, verifier)).text()
    return made


async def seal(settings: Settings, dsn: str, tenant: str) -> None:
    """Sign the trail as it is."""
    pool = await open_pool(dsn, max_size=2)
    try:
        settings.checkpoint_folder.mkdir(parents=True, exist_ok=True)
        await Keeper(pool, ensure_signer(settings.checkpoint_key_path), settings.checkpoint_folder, now=utc_now).seal(
            tenant
        )
    finally:
        await pool.close()


async def look(
    settings: Settings, dsn: str, tenant: str, made: Trailed, erased: str, *, newest: bool = True
) -> list[str]:
    """What is wrong with the trail and with whom it names; newest: this is the database the last checkpoint is of."""
    wrong: list[str] = []
    verifier = ensure_signer(settings.checkpoint_key_path).verifier
    folder = settings.checkpoint_folder if newest else None
    if newest:
        await seal(settings, dsn, tenant)
        wrong += await _watched(settings, dsn, tenant)
    report = await verify(dsn, tenant, verifier, folder)
    if report.entries < sum(map(len, made.entries.values())) or (report.unsigned and newest):
        wrong.append("the trail has fewer entries than were written, or unsigned ones")
    for text in made.proofs.values():
        EntryProof.from_text(text).check(verifier, origin_of(tenant))
    async with store.reading(dsn, tenant) as connection:
        for index, _, _ in made.entries[erased]:
            proof = await prove_entry(connection, tenant, index, verifier)
            proof.check(verifier, origin_of(tenant))
            if made.pseudonyms[erased] not in set(pseudonyms_in(decode(proof.body))):
                wrong.append("an entry of the erased person does not have the pseudonym")
    async with trail(settings, dsn) as at:
        told = await at.people.told(tenant, made.pseudonyms.values())
        wrong += [
            "the trail names somebody else otherwise"
            for record, name in made.pseudonyms.items()
            if record != erased and told.get(name) != f"contact/{record}"
        ]
        if told.get(made.pseudonyms[erased]) != ERASED:
            wrong.append("the pseudonym of the erased person is told")
        if made.pseudonyms[erased] in await at.people.names_of(tenant, "contact", erased):
            wrong.append("the erased record leads to its pseudonym")
    return wrong


async def _watched(settings: Settings, dsn: str, tenant: str) -> list[str]:
    pool = await open_pool(dsn, max_size=2)
    try:
        verifier = ensure_signer(settings.checkpoint_key_path).verifier
        watch = Watch(pool, verifier, settings.checkpoint_folder, now=utc_now)
        for _ in range(3):
            await watch.round()
        return [one.line() for one in watch.findings(tenant)]
    finally:
        await pool.close()


def beside(dump: Path, made: Trailed, erased: str) -> tuple[int, list[str]]:
    """Rows of a dump with a name of the erased person or its entries: how many, and tables of those with its key."""
    tokens = {made.pseudonyms[erased], *(name for _, *names in made.entries[erased] for name in names)}
    sought = re.compile("|".join(sorted({*tokens, *(one.encode().hex() for one in tokens)})))
    spelled = [f'"{erased}"', f"contact.{erased}", f"contact/{erased}"]
    parts = re.compile("|".join(re.escape(text) for one in spelled for text in (one, one.encode().hex())))
    rows, both = 0, []
    table, columns = "", [""]
    for line in dump.read_text(errors="replace").splitlines():
        if head := re.match(r"COPY (\S+) \((.*)\) FROM stdin;", line):
            table, columns = head[1], head[2].split(", ")
        elif sought.search(line):
            rows += 1
            values = dict(zip(columns, line.split("\t"), strict=True))
            values.pop("index", None)  # a number as well
            if erased in values.values() or parts.search(line):
                both.append(table)
    return rows, both


async def tried(settings: Sequence[Settings], dsns: Iterable[str], tenant: str, made: Trailed, erased: str) -> int:
    """Ask every pair of databases for the pseudonym of the erased person; how many tell it."""
    found = 0
    for dsn in dsns:
        with psycopg.connect(unwalled(dsn)) as connection:
            assert connection.execute("SELECT count(*) FROM audit_entry").fetchone() != (0,)
        for one in settings:
            async with trail(one, dsn) as at:
                found += bool((await at.people.told(tenant, [made.pseudonyms[erased]])).get(made.pseudonyms[erased]))
    return found
