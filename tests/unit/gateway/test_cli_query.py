"""`crmgate audit query` on an embedded database: forms of rows, refusals in both languages, what is on record."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.cli import command_line
from gateway.database import EmbeddedPostgres, migrate, open_pool
from gateway.opening import embedded_folder
from gateway.person_keys import open_people
from gateway.query_result import cells, csv_lines
from gateway.settings_file import read_settings
from tests.conftest import unwalled

RUNNER = CliRunner()


def run(file: Path, *arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    done = RUNNER.invoke(command_line(), ["audit", "query", *arguments, "-c", str(file)], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A settings file, and its database, which runs."""
    folder = tmp_path_factory.mktemp("crmgate")
    for part in (folder, *folder.parents):
        if os.geteuid() == 0 and str(part).startswith("/tmp/"):
            part.chmod(0o755)  # as root the database runs as another account, which has to pass
    file = folder / "crmgate.toml"
    done = RUNNER.invoke(
        command_line(), ["init", "--upstream", "http://127.0.0.1:9", "--profile", "creme", "--config", str(file)]
    )
    assert done.exit_code == 0, done.output
    with EmbeddedPostgres(embedded_folder(read_settings(file)), {"fsync": "off"}) as server:
        yield file, server.dsn


def test_rows_come_as_csv_json_parquet_and_as_a_table(installation: tuple[Path, str], tmp_path: Path) -> None:
    file, _ = installation
    assert run(file, "SELECT count(*) AS entries FROM event")[0] == 0  # itself an entry from now on
    statement = "SELECT index, operation, reason FROM event WHERE operation = 'audit.query' ORDER BY index LIMIT 1"
    code, said, _ = run(file, statement, "--format", "csv")
    assert (code, said.splitlines()[0], said.splitlines()[1].split(",")[1:]) == (
        0,
        "index,operation,reason",
        ["audit.query", "query-asked"],
    )
    assert json.loads(run(file, statement, "--format", "json")[1])["reason"] == "query-asked"
    target = tmp_path / "rows.parquet"
    assert run(file, statement, "--format", "parquet", "-o", str(target))[0] == 0
    assert pq.read_table(target).column("reason").to_pylist() == ["query-asked"]
    assert "query-asked" in run(file, statement)[1]
    assert "is there already" in run(file, statement, "-o", str(target))[2]
    assert "needs a file" in run(file, statement, "--format", "parquet")[2]


def test_a_statement_from_standard_input_leaves_no_trace_of_its_values(installation: tuple[Path, str]) -> None:
    file, dsn = installation
    code, said, _ = run(
        file, "-", "--format", "csv", typed="SELECT actor AS 李四 FROM event WHERE record = '13912345678'"
    )
    assert (code, said.strip()) == (0, "李四")
    with psycopg.connect(unwalled(dsn)) as connection:
        bodies = [bytes(row[0]) for row in connection.execute("SELECT body FROM audit_entry ORDER BY index").fetchall()]
    asked, answered = (orjson.loads(body) for body in bodies[-2:])
    assert " ".join(asked["fields"]["statement"]) == "select actor as n1 from event where record = ?"
    assert (asked["actor"], asked["operation"], asked["reason"]) == ("command-line", "audit.query", "query-asked")
    assert (answered["reason"], answered["fields"]["rows"]) == ("query-answered", 0)
    assert b"13912345678" not in b"".join(bodies)
    assert "李四".encode() not in b"".join(bodies)


def test_a_customer_is_asked_for_by_the_number_the_crm_has(installation: tuple[Path, str]) -> None:
    file, dsn = installation
    settings = read_settings(file)
    (tenant,) = settings.tenants
    migrate(dsn)

    async def looked_at() -> str:
        pool = await open_pool(dsn, max_size=1)
        try:
            async with open_people(settings, tenant, pool) as people:
                name = await people.name_of(tenant, "contact", "918273")
        finally:
            await pool.close()
        log = AuditLog(dsn)
        await log.start()
        await log.append(
            AuditEntry(
                at=datetime(2026, 11, 27, tzinfo=UTC), data_subject=name, entity="contact", fields={}, id="e1",
                kind="decision", operation="contact.read", record=name, tenant=tenant,
            )
        )  # fmt: skip
        await log.close()
        return name

    name = asyncio.run(looked_at())
    statement = "SELECT count(*) AS n FROM event WHERE data_subject = person('contact/918273')"
    code, said, told = run(file, statement, "--format", "csv")
    assert (code, said.splitlines()) == (0, ["n", "1"]), told
    with psycopg.connect(unwalled(dsn)) as connection:
        bodies = [bytes(row[0]) for row in connection.execute("SELECT body FROM audit_entry ORDER BY index").fetchall()]
    assert orjson.loads(bodies[-2])["fields"]["records"] == [f"contact.{name}"]
    assert b"918273" not in b"".join(bodies)


@pytest.mark.parametrize(
    ("person", "english", "chinese"),
    [
        ("contact/404", "The trail knows nobody by this number any more", "审计日志中已无人对应此编号"),
        ("deal/1", "Records of this kind are no people", "此类记录不是人员"),
    ],
)
def test_who_is_nobody_is_said_in_both_languages(
    installation: tuple[Path, str], person: str, english: str, chinese: str
) -> None:
    code, said, told = run(installation[0], f"SELECT index FROM event WHERE record = person('{person}')")
    assert (code, said) == (2, "")
    assert english in told
    assert chinese in told


def test_a_refusal_is_said_in_both_languages_with_the_word_and_its_place(installation: tuple[Path, str]) -> None:
    code, said, told = run(installation[0], "SELECT * FROM read_csv('/etc/passwd')")
    assert (code, said) == (2, "")
    assert "This function cannot be used here." in told
    assert "“read_csv”, line 1, character 15." in told
    assert "此处不能使用该函数。" in told
    assert "第 1 行第 15 个字符" in told


def test_more_rows_than_the_limit_are_said_to_be_there(installation: tuple[Path, str]) -> None:
    file, _ = installation
    code, _, told = run(
        file, "SELECT a.index FROM event a, event b, event c, event d, event e, event f", "--format", "csv"
    )
    assert code == 0
    assert "There are more rows than 1000" in told


def test_what_a_spreadsheet_would_run_is_made_harmless_and_numbers_stay_numbers() -> None:
    table = pa.table({"a": ["=1+1", "-5", "@x", "plain"], "b": [-1, 2, 3, 4], "c": [b"\x00\x01", b"ok", None, b""]})
    assert list(csv_lines(table))[1:] == ["'=1+1,-1,0001\r\n", "-5,2,ok\r\n", "'@x,3,\r\n", "plain,4,\r\n"]
    assert cells(table, 1, 1) == [["-5", "2", "ok"]]
