"""The commands of the archive, as an operator types them, on a trail of months ago."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from audit.checkpoint import Keeper
from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.note import ensure_signer
from gateway.cli import command_line
from gateway.database import open_pool
from tests.conftest import unwalled

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
COUNT = 40
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(dsn: str, tmp_path: Path) -> Path:
    """Settings with an archive, and a signed trail."""
    (tmp_path / "crmgate.toml").write_text(
        f'state = "state"\n[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "creme"\n'
        f'public_url = "https://crm.example.org"\n[database]\ndsn = "{dsn}"\n'
        f'[audit.archive]\nto = "file://{tmp_path}/archive"\n[audit.retention.brief]\ndays = 30\nkinds = ["brief"]\n'
    )
    asyncio.run(filled(dsn, tmp_path))
    return tmp_path


async def filled(dsn: str, folder: Path) -> None:
    log = AuditLog(dsn)
    await log.start()
    for number in range(COUNT):
        await log.append(
            AuditEntry(
                actor="u1", at=AT + timedelta(seconds=number), entity="activity", id=f"e{number}", kind="brief",
                fields={"shown": {"activity.title": {str(number): {"masked": 1}}}}, record=str(number), tenant="main",
            )
        )  # fmt: skip
    await log.close()
    pool = await open_pool(dsn, max_size=2)
    signer = ensure_signer(folder / "state" / "audit.key")
    keeper = Keeper(pool, signer, folder / "state" / "checkpoints", now=lambda: AT)
    (folder / "state" / "checkpoints").mkdir()
    await keeper.seal("main")
    await pool.close()


@pytest.fixture
def run(folder: Path) -> Run:
    def command(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(command_line(), ["audit", *words, "--config", str(folder / "crmgate.toml")])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return command


def operations(dsn: str) -> list[str]:
    with psycopg.connect(unwalled(dsn)) as connection:
        found = connection.execute("SELECT operation FROM audit_entry WHERE kind = 'console' ORDER BY index")
        return [row[0] for row in found]


def test_from_sealing_to_dropping_as_an_operator_does_it(
    run: Run, folder: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("seal")[0] == 0
    code, told = run("segments", "--verify", "--json")
    line = json.loads(told)
    assert (code, line["first"], line["last"], line["verified"]) == (0, 0, COUNT - 1, True)

    assert f"entries 0 to {COUNT - 1}" in run("prune")[1]
    code, told = run("hold", "set", "court order 17", "--entity", "activity", "--record", "7")
    name = told.split()[1]
    assert run("prune", "--yes") == (0, f"{COUNT} entries left the database, 0 the archive; proofs stay.\n")
    assert f"{COUNT} of them are in sealed segments only" in run("verify")[1]
    assert "court order 17  [entity activity, record 7]" in run("hold", "list")[1]
    assert f"held by {name}" in run("prune")[1]

    assert f"Not complete: {COUNT} entries" in run("who", "activity.7", "--since", "5y")[1]
    assert run("index", "--rebuild")[0] == 0
    code, told = run("who", "activity.7", "--since", "5y", "--json")
    answer = json.loads(told.splitlines()[-1])
    assert (answer["index"], answer["sealed"], answer["lost"], answer["entry"]["record"]) == (7, True, "", "7")
    listed = run("list", "--entity", "activity", "--json")[1].splitlines()
    assert [json.loads(line)["record"] for line in listed] == [str(one) for one in reversed(range(COUNT))]

    proof = folder / "7.tlog-proof"
    assert run("prove", "7", "--out", str(proof))[0] == 0
    assert run("restore", "7", "--to", str(folder / "back"))[0] == 0
    assert len((folder / "back" / "events.jsonl").read_text().splitlines()) == COUNT
    assert run("restore", "7", "--table")[0] == 0
    assert run("restore", "--forget")[1] == f"{COUNT} entries removed from audit_restored.\n"
    assert run("restore", "7", "--from-archive", "--to", str(folder / "again"))[0] == 0

    for who, said in (("wang", "somebody else"), ("li", "is lifted")):
        monkeypatch.setenv("LOGNAME", who)
        assert said in run("hold", "lift", name)[1]
    assert run("prune", "--yes") == (0, f"0 entries left the database, {COUNT} the archive; proofs stay.\n")
    assert "dropped" in run("segments")[1]
    assert f"Entries 0 to {COUNT - 1} / 0 至 {COUNT - 1} 号记录: the retention is over" in run("list")[1]
    assert '"sealed":true' not in run("who", "activity.7", "--since", "5y", "--json")[1]
    assert run("index")[0] == 0
    assert operations(dsn) == [
        "audit.seal", "audit.hold.set", "audit.prune", "audit.who", "audit.who", "audit.list", "audit.prove",
        "audit.restore", "audit.restore", "audit.restore",
        "audit.hold.lift", "audit.hold.lift", "audit.drop", "audit.list", "audit.who",
    ]  # fmt: skip


def test_what_cannot_be_done_is_one_sentence(run: Run, folder: Path) -> None:
    assert "Say one of" in run("restore", "7")[1]
    assert "No segment in the archive holds entry 7." in run("restore", "7", "--to", str(folder / "back"))[1]
    assert "needs a reason" in run("hold", "set", " ")[1]
    assert "no hold none" in run("hold", "lift", "none")[1]
    (folder / "archive").write_text("in the way")
    code, told = run("seal")
    assert (code, "The archive does not answer; nothing is lost" in told) == (1, True)
    settings = folder / "crmgate.toml"
    settings.write_text(settings.read_text().split("[audit.archive]")[0])
    assert "Nothing is sealed" in run("segments")[1]


def test_a_changed_file_of_the_archive_is_told(run: Run, folder: Path) -> None:
    run("seal")
    path = next((folder / "archive").rglob("*.parquet"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"?")
    code, told = run("segments", "--verify")
    assert (code, "The archive was changed" in told) == (1, True)
    code, told = run("prune", "--yes")
    assert (code, "The archive was changed" in told) == (1, True)


@pytest.mark.parametrize(("harm", "said"), [("change", "was changed"), ("remove", "is gone from the archive")])
def test_entries_of_a_harmed_file_are_told_and_the_index_stays(run: Run, folder: Path, harm: str, said: str) -> None:
    run("seal")
    run("index", "--rebuild")
    run("hold", "set", "court order 17")
    run("prune", "--yes")
    path = next((folder / "archive").rglob("event/*.parquet"))
    if harm == "remove":
        path.unlink()
    else:
        path.chmod(0o600)
        path.write_bytes(path.read_bytes() + b"?")
    told = run("who", "activity.7", "--since", "5y")[1]
    assert "1 of them cannot be read: the file" in told
    assert said in told
    assert said in run("list", "--entity", "activity")[1]
    code, told = run("index", "--rebuild")
    assert (code, "The archive was changed" in told) == (1, True)
    assert "1 of them cannot be read" in run("who", "activity.7", "--since", "5y")[1]
