"""`make shred-drill`: one person erased, copies of both databases from before restored: nothing of them opens any more.

Records are made as the gateway makes them, some values shared by two of them, each with a cell and a file that the CRM
keeps (tests.drills.shred_sealed). Then come `pg_dump` of the main database
and a copy of the person store, the erasure of one person, killed with SIGKILL on the way, and turns of the epoch,
killed at every step, while others go on writing. At the end the copies are restored, and every key that is left is
tried on what the erased person had.
"""

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from gateway.accounts import utc_now
from gateway.database import EmbeddedPostgres, open_pool
from gateway.demo.people import make_people
from gateway.key_config import PersonSettings, PersonStoreKind
from gateway.opening import embedded_folder, open_keyring, sealing_of
from gateway.person_keys import open_persons
from gateway.settings import Settings
from kms.beside import Beside, place_of
from kms.beside_store import BesideRow
from kms.cell_store import CellStore
from kms.drafts import value_context
from kms.envelope import EnvelopeInvalid, key_id, open_
from kms.keyring import Keyring
from kms.original import open_value
from kms.person import EPOCH_CLOSED
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.shredding import Shredder
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from kms.value_key import derived, epoch_place, person_place, unwrap, value_place
from tests.conftest import unwalled
from tests.drills import shred_trail
from tests.drills.rotation import Place, place, with_openbao
from tests.drills.shred_sealed import Sealed, SealedAt
from tests.drills.shred_turn import TENANT
from tests.real.bao import bao

SEED = 20261126
BORN = ("contact", "birthday")
FULL, SHORT = (400, 12), (60, 6)
STEPS = ("rotate", "switch", "rewrap:1", "rewrap:2", "trim", "close_epochs")
"""In an order in which each of them is met."""
WAIT_S = 300.0


@dataclass
class Outcome:
    """What was seen; `wrong` is empty when all is well."""

    people: int = 0
    values: int = 0
    shared: int = 0
    dates: int = 0
    written_meanwhile: int = 0
    kills: list[str] = field(default_factory=list)
    tried: int = 0
    opened: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where → (values of the erased person that open, values of others that open)."""
    sealed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The same of cells and files in the CRM."""
    trail: int = 0
    """Rows of the database with the pseudonym or an entry of the erased person; none has its record."""
    wrong: list[str] = field(default_factory=list)


@dataclass
class Written:
    """Surrogates by record with what they stand for; the last record shares a value with the first."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    sealed: Sealed = field(default_factory=Sealed)
    dates: dict[str, date] = field(default_factory=dict)
    """Dates of birth kept beside the CRM, by record."""


@dataclass
class Opened:
    """A process over a database and a person store."""

    vault: SurrogateVault
    keyring: Keyring
    persons: Persons
    store: Store
    sealed: SealedAt
    beside: Beside


@asynccontextmanager
async def process(settings: Settings, dsn: str) -> AsyncIterator[Opened]:
    """One that has nothing in memory."""
    pool = await open_pool(dsn, max_size=4)
    keyring, persons = open_keyring(settings, pool), open_persons(settings)
    vault = SurrogateVault(pool, keyring, persons=persons)
    try:
        beside = Beside(CellStore(pool), keyring, partial(sealing_of, settings), persons=persons)
        sealed = SealedAt(TENANT, CellStore(pool), keyring, persons)
        yield Opened(vault, keyring, persons, Store(pool), sealed, beside)
    finally:
        await vault.close()
        await persons.close()
        await keyring.close()
        await pool.close()


async def fill(at: Opened, rng: random.Random, count: int) -> Written:
    """People made by creates whose record is learnt afterwards; each shares an e-mail with the next but one.

    Dates come with the create and some are changed later, as the gateway does it.
    """
    written, vault, beside = Written(), at.vault, at.beside
    for number, person in enumerate(make_people(rng, count)):
        record, exchange = str(number), f"x-{number}"
        given = {"name": person.full_name, "phone": f"138{number:08d}", "address": person.address}
        values = [NewValue(kind, clear, Origin("contact", kind, None)) for kind, clear in given.items()]
        made = await vault.tokenise(TENANT, values, exchange)
        await beside.keep(TENANT, *BORN, person.birthday, record=None, cell=exchange)
        await vault.bind(TENANT, exchange, "contact", record)
        await at.sealed.make(written.sealed, record)
        await beside.bind(TENANT, exchange, "contact", record)
        written.dates[record] = person.birthday
        if number % 3 == 0:
            written.dates[record] = person.birthday + timedelta(days=1)
            taken = await beside.offer(TENANT, *BORN, written.dates[record], [record], 365)
            await beside.accept(TENANT, *BORN, [record], taken)
        written.values[record] = dict(zip(made, given.values(), strict=True))
        common = f"family{number // 2}@example.org"
        (one,) = await vault.tokenise(TENANT, [NewValue("email", common, Origin("contact", "email", record))], "")
        written.shared[one] = common
    return written


async def look(
    settings: Settings, dsn: str, written: Written, erased: str
) -> tuple[int, int, tuple[int, int], list[str]]:
    """Values of the erased person and of others that open, cells and files likewise, and what is wrong with others'."""
    wrong: list[str] = []
    mine = others = 0
    expected = {
        one: clear for record, some in written.values.items() if record != erased for one, clear in some.items()
    }
    async with process(settings, dsn) as at:
        found = await at.vault.resolve(TENANT, [*expected, *written.shared, *written.values[erased]])
        mine = sum(one in found for one in written.values[erased])
        for one, clear in {**expected, **written.shared}.items():
            if one in found and found[one].clear == clear:
                others += 1
            else:
                wrong.append("a value of somebody else does not open")
        if any(origin.record == erased for entry in found.values() for origin in entry.origins):
            wrong.append("an origin of the erased record is there")
        dates = await at.beside.read(TENANT, *BORN, list(written.dates))
        mine += erased in dates
        others += sum(dates.get(one) == day for one, day in written.dates.items() if one != erased)
        wrong += ["a date of somebody else does not open" for one in written.dates if one not in (*dates, erased)]
        if at.vault.damaged or at.sealed.cells.damaged or at.beside.damaged:
            wrong.append(
                f"{at.vault.damaged} entries, {at.sealed.cells.damaged} cells and {at.beside.damaged} dates are damaged"
            )
        theirs = written.sealed.without(erased)
        sealed = await at.sealed.opened(written.sealed.of(erased)), await at.sealed.opened(theirs)
        if sealed[1] != len(theirs.cells) + len(theirs.files):
            wrong.append("a cell or a file of somebody else does not open")
    return mine, others, sealed, wrong


async def refused(settings: Settings, dsn: str, written: Written) -> tuple[int, int]:
    """With a person store from before: what opens, one by one, and what is refused for the epoch."""
    opened = closed = 0
    async with process(settings, dsn) as at:
        for one in (*written.shared, *(one for some in written.values.values() for one in some)):
            try:
                opened += len(await at.vault.resolve(TENANT, [one]))
            except KeysUnavailable as fault:
                closed += fault.problem == EPOCH_CLOSED
        opened_sealed, closed_sealed = await at.sealed.refused(written.sealed)
        if not closed_sealed:
            raise AssertionError("no cell and no file is refused for its epoch")
        for one in written.dates:
            try:
                opened += len(await at.beside.read(TENANT, *BORN, [one]))
            except KeysUnavailable as fault:
                closed += fault.problem == EPOCH_CLOSED
    return opened + opened_sealed, closed + closed_sealed


async def try_everything(old: Settings, now: Settings, dsn: str, written: Written, erased: str) -> tuple[int, int]:
    """Every key that is left, tried on what the erased person had in the restored database: (tries, openings)."""
    tries = openings = 0
    async with process(now, dsn) as at:
        with psycopg.connect(unwalled(dsn)) as connection:
            wraps = connection.execute(
                "SELECT w.surrogate, w.holder, w.wrapped, v.kind, v.blob FROM vault_wrap w JOIN vault v USING"
                " (tenant, surrogate) WHERE tenant = %s",
                (TENANT,),
            ).fetchall()
            dates = connection.execute(
                "SELECT entity, field, record, generation, blob, holder, wrapped FROM vault_beside WHERE tenant = %s",
                (TENANT,),
            ).fetchall()
        rows_beside = [
            BesideRow(entity, name, record, "", number, bytes(blob), True, bytes(holder), bytes(wrapped))
            for entity, name, record, number, blob, holder, wrapped in dates
        ]
        kept = open_persons(old)
        keeper = at.persons.keeper(TENANT)
        epochs: list[bytes] = []
        for store in (kept.store, at.persons.store):
            for epoch in await store.epochs(TENANT):
                tries += 1
                try:
                    epochs.append(await keeper.unwrap(TENANT, epoch.wrapped[16:], epoch_place(TENANT)))
                except (KeysUnavailable, ValueError):
                    continue
        holders = {bytes(row[1]) for row in wraps} | {row.holder for row in rows_beside if row.holder}
        rows = [
            row for store in (kept.store, at.persons.store) for row in (await store.read(TENANT, holders))[0].values()
        ]
        persons = {}
        for row in rows:
            for key in epochs:
                tries += 1
                opened = unwrap(key, row.wrapped, person_place(TENANT, row.holder, row.epoch))
                if opened is not None:
                    persons[row.holder] = opened
        await kept.close()
        mine = set(written.values[erased])
        value_keys: set[bytes] = set()
        for surrogate, holder, wrapped, _, _ in wraps:
            for key in persons.values() if surrogate in mine else [persons.get(bytes(holder), bytes(32))]:
                tries += 1
                value = unwrap(key, bytes(wrapped), value_place(TENANT, bytes(holder), surrogate))
                if value is not None:
                    value_keys.add(value)
                    openings += surrogate in mine
        if not value_keys:
            raise AssertionError("trying opens nothing of anybody: it would prove nothing")
        for surrogate, kind, blob in {(row[0], row[3], bytes(row[4])) for row in wraps if row[0] in mine}:
            field_key = (await at.keyring.by_id(TENANT, {key_id(blob)}))[key_id(blob)]
            for key in (field_key, *(derived(field_key, value) for value in value_keys)):
                tries += 1
                try:
                    open_({key.id: key}, blob, value_context(TENANT, kind, surrogate))
                    openings += 1
                except EnvelopeInvalid:
                    continue
        more, opened_sealed, others = await at.sealed.try_all(dsn, written.sealed.of(erased), persons)
        if not others:
            raise AssertionError("trying opens no cell and no file of anybody: it would prove nothing")
        date_tries, date_openings = await try_dates(at.keyring, rows_beside, persons, erased)
    return tries + more + date_tries, openings + opened_sealed + date_openings


async def try_dates(
    keyring: Keyring, rows: list[BesideRow], persons: Mapping[bytes, bytes], erased: str
) -> tuple[int, int]:
    """The same for the date of the erased person: with every person key, every value key and the field key alone."""
    tries = openings = 0
    value_keys: set[bytes] = set()
    for row in rows:
        assert row.holder is not None
        assert row.wrapped is not None
        for key in persons.values() if row.record == erased else [persons.get(row.holder, bytes(32))]:
            tries += 1
            value = unwrap(key, row.wrapped, value_place(TENANT, row.holder, row.name))
            if value is not None:
                value_keys.add(value)
                openings += row.record == erased
    if len(value_keys) < len({row.record for row in rows}) - 1:
        raise AssertionError("the dates of others do not open: trying that of the erased would prove nothing")
    if erased not in {row.record for row in rows}:
        raise AssertionError("the old copy has no date of the erased person")
    for row in rows:
        field_key = (await keyring.by_id(TENANT, {key_id(row.blob)}))[key_id(row.blob)]
        bound = place_of(TENANT, row.entity, row.field, row.record, row.cell)
        for key_ in (field_key, *(derived(field_key, value) for value in value_keys)) if row.record == erased else ():
            tries += 1
            try:
                open_value({key_.id: key_}, row.blob, bound)
                openings += 1
            except EnvelopeInvalid:
                continue
    return tries, openings


def dump(where: Place, server: EmbeddedPostgres, name: str, dsn: str) -> Path:
    """`pg_dump` of a database, by an account that row-level security does not bind (deploy/postgresql)."""
    target = where.folder / f"{name}.sql"
    program = server._programs() / "pg_dump"
    whole = make_conninfo(server.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
    done = subprocess.run([program, "--no-owner", whole], capture_output=True, check=True)
    target.write_bytes(done.stdout)
    return target


def restore(server: EmbeddedPostgres, file: Path, name: str) -> str:
    """A database of its own out of a dump; its connection string."""
    dsn = fresh(server, name)
    program = server._programs() / "psql"
    done = subprocess.run(
        [program, "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), dsn], capture_output=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode()[-2000:])
    return dsn


def fresh(server: EmbeddedPostgres, name: str) -> str:
    """An empty database of the same owner."""
    owner = str(conninfo_to_dict(server.dsn)["user"])
    with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))
    return make_conninfo(server.dsn, dbname=name)


async def drill(
    people: int, kills: int, seed: int, edit: Callable[[str], str] = lambda text: text, postgres: bool = False
) -> Outcome:
    """Fill, copy, erase, turn with kills and writers, restore, look."""
    rng, outcome = random.Random(seed), Outcome(people=people)
    with place(edit) as where:
        server = EmbeddedPostgres(embedded_folder(where.settings))
        settings = with_postgres(where, fresh(server, "persons")) if postgres else where.settings
        async with process(settings, where.dsn) as at:
            written = await fill(at, rng, people)
        trailed = await shred_trail.fill(settings, where.dsn, TENANT, list(written.values))
        outcome.values, outcome.shared = sum(map(len, written.values.values())), len(written.shared)
        outcome.dates = len(written.dates)
        erased = str(people // 2)
        before = dump(where, server, "main", where.dsn)
        if not shred_trail.beside(before, trailed, erased)[1]:
            raise AssertionError("nothing leads to the record while the person lives: looking would prove nothing")
        old = copied(where, server, settings)
        after = Written(dict(written.values), dict(written.shared), written.sealed, dict(written.dates))
        await erase_and_turn(where, settings, rng, erased, kills, after, outcome)

        await seen("now", settings, where.dsn, after, erased, outcome)
        outcome.wrong += await shred_trail.look(settings, where.dsn, TENANT, trailed, erased)
        outcome.trail, both = shred_trail.beside(dump(where, server, "now", where.dsn), trailed, erased)
        outcome.wrong += [f"a row of {table} has the erased record beside its pseudonym" for table in both]
        restored = restore(server, before, "restored")
        await seen("old main database", settings, restored, written, erased, outcome, origins=False)
        async with process(settings, restored) as at:
            await Shredder(at.store, at.persons, utc_now).again(TENANT)
        await seen("the same, tombstones carried", settings, restored, written, erased, outcome)
        outcome.wrong += await shred_trail.look(settings, restored, TENANT, trailed, erased, newest=False)
        _, both = shred_trail.beside(dump(where, server, "again", restored), trailed, erased)
        outcome.wrong += [f"a row of {table} has the erased record again" for table in both]
        restored = restore(server, before, "tried")
        tries, openings = await try_everything(old, settings, restored, written, erased)
        outcome.tried = tries
        if openings:
            outcome.wrong.append(f"{openings} of {tries} tries opened something of the erased person")
        oldest = restore(server, before, "both")
        if await shred_trail.tried([old, settings], [where.dsn, oldest], TENANT, trailed, erased):
            outcome.wrong.append("an old copy tells the pseudonym of the erased person")
        for name, dsn in (("old person store", where.dsn), ("both old", oldest)):
            opened, closed = await refused(old, dsn, written)
            outcome.opened[name] = (opened, 0)
            if opened or not closed:
                outcome.wrong.append(f"{name}: {opened} values open, {closed} are refused for their epoch")
    return outcome


async def seen(
    name: str, settings: Settings, dsn: str, written: Written, erased: str, outcome: Outcome, *, origins: bool = True
) -> None:
    """Look, and note what is seen and what is wrong."""
    mine, others, sealed, wrong = await look(settings, dsn, written, erased)
    outcome.opened[name], outcome.sealed[name] = (mine, others), sealed
    outcome.wrong += [one for one in wrong if origins or "origin" not in one]
    if mine or sealed[0]:
        outcome.wrong.append(f"{mine} values, {sealed[0]} cells and files of the erased person open")


def with_postgres(where: Place, dsn: str) -> Settings:
    """The same installation with its person keys in another database, also for commands."""
    file = where.folder / "persons.dsn"
    file.write_text(dsn)
    text = where.settings.file.read_text()
    where.settings.file.write_text(f'{text}\n[persons]\nstore = "postgresql"\ndsn_file = "{file}"\n')
    return replace(where.settings, persons=PersonSettings(store=PersonStoreKind.POSTGRESQL, dsn_file=file))


def copied(where: Place, server: EmbeddedPostgres, settings: Settings) -> Settings:
    """Settings with a copy of the person store as it is now."""
    if settings.persons.store is PersonStoreKind.SQLITE:
        copy = where.folder / "persons-copy.db"
        shutil.copy(settings.person_store_path, copy)
        return replace(settings, persons=replace(settings.persons, path=copy))
    assert settings.persons.dsn_file is not None
    file = where.folder / "persons-copy.dsn"
    file.write_text(
        restore(server, dump(where, server, "persons", settings.persons.dsn_file.read_text()), "old_persons")
    )
    return replace(settings, persons=replace(settings.persons, dsn_file=file))


async def erase_and_turn(
    where: Place, settings: Settings, rng: random.Random, erased: str, kills: int, after: Written, outcome: Outcome
) -> None:
    """Kill the erasure once, then turns at every step while others write; the last command comes to the end."""
    done = asyncio.Event()
    writing = asyncio.create_task(write(settings, where.dsn, done, after, outcome))
    try:
        await killed(where, "destroy", f"contact/{erased}", outcome)
        for number in range(kills):
            await killed(where, STEPS[number % len(STEPS)], "", outcome)
        process_ = command(where, "", "")
        if await asyncio.to_thread(process_.wait, WAIT_S):
            outcome.wrong.append(f"the last command failed: {where.said()}")
    finally:
        done.set()
        await writing


def command(where: Place, step: str, record: str) -> "subprocess.Popen[bytes]":
    """One command in a process of its own."""
    words = [sys.executable, "-m", "tests.drills.shred_turn", str(where.settings.file), where.dsn, step, record]
    with (where.folder / "command.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log)


async def killed(where: Place, step: str, record: str, outcome: Outcome) -> None:
    """A command that dies at a step."""
    code = await asyncio.to_thread(command(where, step, record).wait, WAIT_S)
    if code != -signal.SIGKILL:
        outcome.wrong.append(f"the command ended with {code} and was not killed at {step}: {where.said()}")
    outcome.kills.append(step)


async def write(settings: Settings, dsn: str, done: asyncio.Event, after: Written, outcome: Outcome) -> None:
    """New people, one after the other."""
    async with process(settings, dsn) as at:
        number = 0
        while not done.is_set():
            record, clear = f"n{number}", f"139{number:08d}"
            value = NewValue("phone", clear, Origin("contact", "phone", record))
            (made,) = await at.vault.tokenise(TENANT, [value], "")
            after.values[record] = {made: clear}
            number += 1
            await asyncio.sleep(0.02)
        outcome.written_meanwhile = number


def main() -> int:
    """Run it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="make shred-drill", description=__doc__)
    parser.add_argument("--people", type=int, default=FULL[0])
    parser.add_argument("--kills", type=int, default=FULL[1])
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    console = Console(highlight=False, width=120)
    wrong = 0
    with bao() as running, tempfile.TemporaryDirectory() as folder:
        edit = with_openbao(running, Path(folder))
        for name, one, postgres in (
            ("local keyring, SQLite", lambda text: text, False),
            ("OpenBao, PostgreSQL", edit, True),
        ):
            started = time.monotonic()
            outcome = asyncio.run(drill(given.people, given.kills, given.seed, one, postgres))
            show(console, name, outcome, time.monotonic() - started)
            wrong += len(outcome.wrong)
    return 1 if wrong else 0


def show(console: Console, name: str, outcome: Outcome, seconds: float) -> None:
    """The counts."""
    console.print(f"{name}: {outcome.people} people, {outcome.values} values, {outcome.shared} shared by two")
    console.print(f"  dates beside the CRM: {outcome.dates}, counted with the values below")
    console.print(f"  killed at: {', '.join(outcome.kills)}; written meanwhile: {outcome.written_meanwhile}")
    for where, (mine, others) in outcome.opened.items():
        console.print(f"  {where}: {mine} values of the erased person open, {others} of others")
        if where in outcome.sealed:
            mine, others = outcome.sealed[where]
            console.print(f"    cells and files in the CRM: {mine} of the erased person open, {others} of others")
    console.print(f"  every key that is left: {outcome.tried} tries; {seconds:.0f} s")
    console.print(f"  the trail: whole and proved; {outcome.trail} rows of the erased person, none with its record")
    for line in outcome.wrong[:20]:
        console.print(f"  {line}", style="red", markup=False)
    console.print(f"  {len(outcome.wrong)} wrong", style="bold red" if outcome.wrong else "bold green")


if __name__ == "__main__":
    sys.exit(main())
