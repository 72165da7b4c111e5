"""The database way on SQLite and PostgreSQL: only what the map names, only while the CRM is off, byte for byte."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, create_engine, text

from gateway.protect.direct import CrmStillUp, Direct, dialect_of, open_engine
from gateway.protect.reading import CrmRefused, RecordChanged
from gateway.protect.table_map import MapInvalid, read_map
from policies.profile import load_profile
from tests.unit.gateway.protect.conftest import Bench, T

MAP = """
entities:
  - {entity: contact, table: People, key: id, where: "staff = 0 AND note <> ':x'",
     fields: {last name: .last_name, mail: .email, note: text}}
  - {entity: history, table: log, key: code, json: {told: escaped}, fields: {told: text}}
"""
OFF = "http://127.0.0.1:1"
ROWS = [
    (1, " 司马\r\n", "A@Example.org ", "see a@example.org:\n\t司马 ", 0),
    (2, "Girard", "g@example.com", "-", 0),
    (3, "Staff", "staff@example.com", "-", 1),
]
TOLD = json.dumps(["司马", {"mail": "a@example.org", "n": 1.50}, None, "𠮷"])


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, dsn: str) -> str:
    """A CRM's database with two tables."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'crm.sqlite3'}"
    else:
        told = conninfo_to_dict(dsn)
        query = {"host": str(told["host"])}
        parts = URL.create("postgresql+psycopg", str(told["user"]), database=str(told["dbname"]), query=query)
        if told.get("port"):
            parts = parts.set(query={**query, "port": str(told["port"])})
        made = parts.render_as_string(hide_password=False)
    engine = create_engine(made)
    with engine.begin() as link:
        link.execute(
            text(
                'CREATE TABLE "People"'
                ' (id integer primary key, "last name" varchar(60), mail text, note text, staff int)'
            )
        )
        link.execute(text("CREATE TABLE log (code varchar(10) primary key, told text)"))
        for row in ROWS:
            given = dict(zip("abcde", row, strict=True))
            link.execute(text('INSERT INTO "People" VALUES (:a, :b, :c, :d, :e)'), given)
        link.execute(text("INSERT INTO log VALUES ('x1', :told), ('x2', 'no JSON of g@example.com')"), {"told": TOLD})
    engine.dispose()
    return made


def rows(url: str) -> list[object]:
    engine = create_engine(url)
    with engine.connect() as link:
        found = [
            *link.execute(text('SELECT * FROM "People" ORDER BY id')),
            *link.execute(text("SELECT * FROM log ORDER BY code")),
        ]
    engine.dispose()
    return [tuple(row) for row in found]


def opened(url: str, tmp_path: Path, told: str = MAP, upstream: str = OFF) -> Direct:
    file = tmp_path / "map.yaml"
    file.write_text(told)
    engine = open_engine(url.replace("+psycopg", ""))
    walk, tables = read_map(file, load_profile("creme"), dialect_of(engine))
    return Direct(engine, walk, tables, upstream)


@pytest.fixture
async def direct(url: str, tmp_path: Path) -> AsyncIterator[Direct]:
    made = opened(url, tmp_path)
    yield made
    await made.close()


async def test_a_run_and_its_undo_change_mapped_columns_only_and_give_every_byte_back(
    bench: Bench, direct: Direct, url: str
) -> None:
    before = rows(url)
    work = bench.work(direct, direct._walk)
    await bench.store.begin(T, "r1", "database", 0)
    await bench.carry_out(work, "r1")
    await direct.compact()
    held = str(rows(url))
    for value in ("司马", "Example", "example.org", "Girard", "g@example"):
        assert value not in held
        assert json.dumps(value)[1:-1] not in held
    assert "staff@example.com" in held  # the condition leaves staff alone
    assert await bench.store.misfits(T, "r1") == []
    await bench.carry_out(work, "r1", undo=True)
    await direct.close()
    assert rows(url) == before


async def test_a_row_that_changed_meanwhile_is_not_written(direct: Direct, url: str) -> None:
    entity = direct._walk.entities[0]
    reading = await direct.read(entity, "2")
    assert reading is not None
    engine = create_engine(url)
    with engine.begin() as link:
        link.execute(text("UPDATE \"People\" SET mail = 'new@example.com' WHERE id = 2"))
    engine.dispose()
    with pytest.raises(RecordChanged):
        await direct.write(reading, {"mail": "e.x@enc.invalid"})
    assert rows(url)[1] == (2, "Girard", "new@example.com", "-", 0)


async def test_nothing_is_done_while_the_crm_answers(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        up = opened(url, tmp_path, upstream=f"http://127.0.0.1:{listener.getsockname()[1]}")
        reading = await up.read(up._walk.entities[0], "1")
        assert reading is not None
        with pytest.raises(CrmStillUp):
            await up.page(up._walk.entities[0], "")
        with pytest.raises(CrmStillUp):
            await up.write(reading, {"mail": "x"})
        with pytest.raises(CrmStillUp):
            await up.compact()
        await up.close()
    assert rows(url)[0] == ROWS[0]


async def test_rows_are_never_made_or_removed(direct: Direct) -> None:
    for call in (direct.create(direct._walk.entities[0], {}), direct.remove(direct._walk.entities[0], "1")):
        with pytest.raises(CrmRefused):
            await call


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (MAP.replace("staff = 0 AND note <> ':x'", "1 = 1 UNION SELECT 1"), "condition"),
        (MAP.replace("staff = 0 AND note <> ':x'", "id IN (SELECT id FROM log)"), "condition"),
        (MAP.replace("staff = 0 AND note <> ':x'", "lower(note) = 'a'"), "condition"),
        (MAP.replace("staff = 0 AND note <> ':x'", "staff = 0; DELETE FROM log"), "condition"),
        (MAP.replace("staff = 0 AND note <> ':x'", "staff ="), "condition"),
        (MAP.replace(".email", ".nothing"), "declares no field"),
        (MAP.replace("entity: history", "entity: contact"), "two entries"),
        (MAP.replace("key: code,", ""), "required"),
        ("{", "YAML"),
    ],
)
def test_a_map_that_says_more_or_less_than_it_may_is_refused(told: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(MapInvalid, match=why):
        opened("sqlite://", tmp_path, told)


@pytest.mark.parametrize("change", [("table: log", "table: logs"), ("told: text", "nothing: text")])
async def test_names_that_the_database_does_not_have_are_told(
    url: str, tmp_path: Path, change: tuple[str, str]
) -> None:
    made = opened(url, tmp_path, MAP.replace(*change))
    with contextlib.closing(socket.socket()), pytest.raises(MapInvalid, match="has no"):
        await made.page(made._walk.entities[1], "")
    await made.close()


def test_other_databases_are_refused() -> None:
    with pytest.raises(MapInvalid):
        open_engine("mysql://localhost/crm")
    with pytest.raises(MapInvalid):
        open_engine("no address")


ELSEWHERE = """
entities:
  - {entity: contact_note, table: notes, key: id,
     parent: {entity: contact, key: id, through: {table: People, column: note_id, where: staff = 0}},
     fields: {told: contact.description, looked_up: "kind:name"}}
  - {entity: note, table: notes, key: id, except: [{table: People, column: note_id}], fields: {told: text}}
"""


@pytest.fixture
def notes(url: str) -> str:
    """Notes that do not say whose they are; a column of the people does."""
    engine = create_engine(url)
    with engine.begin() as link:
        link.execute(text("CREATE TABLE notes (id integer primary key, told text, looked_up text)"))
        link.execute(text('ALTER TABLE "People" ADD COLUMN note_id int'))
        link.execute(
            text(
                "INSERT INTO notes VALUES (7, 'rings from 13649901259', '司马 波湖'), (8, 'a@example.org', 'Staff'),"
                " (9, 'nobody''s, b@example.org', 'X')"
            )
        )
        link.execute(text('UPDATE "People" SET note_id = id + 6 WHERE id = 1'))
        link.execute(text('UPDATE "People" SET note_id = 8 WHERE staff = 1'))
    engine.dispose()
    return url


async def test_rows_that_another_table_owns_have_their_origin_at_its_record(
    bench: Bench, notes: str, tmp_path: Path
) -> None:
    direct = opened(notes, tmp_path, ELSEWHERE)
    owned, rest = direct._walk.entities
    assert (await direct.page(owned, "")).ids == ["7"]  # 8 is a member of staff's, 9 is nobody's
    assert (await direct.page(rest, "")).ids == ["9"]
    reading = await direct.read(owned, "7")
    assert reading is not None
    assert reading.parent == "1"
    (change,) = await bench.changer.change([reading])
    await bench.vault.resolve(T, [])
    phone = change.fields["told"]["parts"][0][1]
    entry = (await bench.vault.resolve(T, [phone]))[phone]
    assert [(one.entity, one.field, one.record) for one in entry.origins] == [("contact", "description", "1")]
    assert change.new["looked_up"].startswith("Zq")
    await direct.close()


async def test_writes_asked_for_together_go_together_and_each_counts_for_itself(direct: Direct, url: str) -> None:
    entity = direct._walk.entities[0]
    first, second = await direct.read(entity, "1"), await direct.read(entity, "2")
    assert first is not None
    assert second is not None
    engine = create_engine(url)
    with engine.begin() as link:
        link.execute(text("UPDATE \"People\" SET mail = 'new@example.com' WHERE id = 2"))
    engine.dispose()
    done = await asyncio.gather(
        direct.write(first, {"mail": "e.x@enc.invalid"}),
        direct.write(second, {"mail": "e.y@enc.invalid"}),
        return_exceptions=True,
    )
    assert done[0] is None
    assert isinstance(done[1], RecordChanged)
    assert [row[2] for row in rows(url)[:2]] == ["e.x@enc.invalid", "new@example.com"]  # type: ignore[index]


async def test_a_key_that_names_several_rows_changes_none(url: str, tmp_path: Path) -> None:
    engine = create_engine(url)
    with engine.begin() as link:
        link.execute(text("CREATE TABLE pairs (number integer, mail text)"))
        link.execute(text("INSERT INTO pairs VALUES (1, 'a@example.org'), (1, 'a@example.org')"))
    made = opened(url, tmp_path, "entities: [{entity: contact, table: pairs, key: number, fields: {mail: .email}}]")
    reading = await made.read(made._walk.entities[0], "1")
    assert reading is not None
    with pytest.raises(MapInvalid, match="several rows"):
        await made.write(reading, {"mail": "x"})
    await made.close()
    with engine.connect() as link:
        assert [row[1] for row in link.execute(text("SELECT * FROM pairs"))] == ["a@example.org"] * 2
    engine.dispose()


async def test_reading_alone_is_possible_while_the_crm_answers(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file = tmp_path / "map.yaml"
        file.write_text(MAP)
        engine = open_engine(url.replace("+psycopg", ""))
        walk, tables = read_map(file, load_profile("creme"), dialect_of(engine))
        up = Direct(engine, walk, tables, f"http://127.0.0.1:{listener.getsockname()[1]}", reading=True)
        assert (await up.page(walk.entities[0], "")).ids == ["1", "2"]
        reading = await up.read(walk.entities[0], "1")
        assert reading is not None
        with pytest.raises(CrmStillUp):
            await up.write(reading, {"mail": "x"})
        await up.close()


async def test_a_mapped_column_that_is_no_text_is_told_and_never_passed_over(url: str, tmp_path: Path) -> None:
    """Else a run would leave it clear and a verification would not see it."""
    told = "entities: [{entity: contact, table: People, key: id, fields: {staff: .phone}}]"
    made = opened(url, tmp_path, told)
    with pytest.raises(MapInvalid, match="no text"):
        await made.read(made._walk.entities[0], "1")
    await made.close()
