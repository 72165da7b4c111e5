"""The steps of a rotation: what ends it, what stops it, what the audit trail holds, what the command line says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.log import AuditUnavailable
from gateway.accounts import utc_now
from gateway.cli import command_line
from gateway.cli_rotation import old_key
from gateway.first_steps import Start, write_files
from gateway.job import Job, Json, Slice, State, Wanted
from gateway.rotation import MOST_PASSES, FieldKeyWork, ValuesLeft
from kms.rotation import End, Renewed

OLD = b"\x01\x02\x03\x04"


class Vault:
    """A rotation over `size` entries of which `stuck` never leave the old key."""

    def __init__(self, size: int = 450, stuck: int = 0) -> None:
        self.size, self.stuck = size, stuck
        self.switched = self.pages = self.retired = 0

    async def switch(self, tenant: str, scope: str, purpose: str, old: bytes) -> bool:
        self.switched += 1
        return self.switched == 1

    def end(self, scope: str, purpose: str) -> End:
        return {"token": End.VERIFY, "ff1": End.STANDING}.get(purpose, End.RETIRED)

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        return self.size

    async def renew(self, tenant: str, kind: str, purpose: str, after: str, most: int) -> Renewed:
        self.pages += 1
        at = int(after or 0)
        seen = min(most, self.size - at)
        return Renewed(str(at + seen) if at + seen < self.size else None, seen, seen, 0, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        return self.stuck

    async def retire(self, tenant: str, key: bytes) -> None:
        self.retired += 1


class Trail:
    """Keeps what is recorded, or fails."""

    def __init__(self, broken: bool = False) -> None:
        self.entries: list[tuple[str, str, Mapping[str, Json]]] = []
        self.broken = broken

    async def record(self, tenant: str, operation: str, target: str, more: Mapping[str, Json]) -> None:
        if self.broken:
            raise AuditUnavailable("away")
        self.entries.append((operation, target, more))


def job(purpose: str = "seal", rate: float | None = None) -> Job:
    arguments: dict[str, Json] = {"scope": "email", "purpose": purpose, "old": OLD.hex()}
    now = utc_now()
    return Job(
        "j", "rotate", "t", arguments, None, State.RUNNING, Wanted.RUN, 1, "", 0, 0, rate, 0.0, now, now, None
    )  # fmt: skip


def work(vault: Vault, trail: Trail, step_s: float = 0.0) -> FieldKeyWork:
    """The work, with a clock that moves by this much each time it is read."""
    seconds = [0.0]

    def clock() -> float:
        seconds[0] += step_s
        return seconds[0]

    return FieldKeyWork(vault, trail.record, clock)  # type: ignore[arg-type]


async def step(doing: FieldKeyWork, one: Job) -> tuple[Job, Slice]:
    """One slice and the job as it stands afterwards."""
    made = await doing.slice(one)
    return replace(one, cursor=made.cursor, done=made.done, total=made.total), made


async def test_it_switches_walks_counts_and_retires() -> None:
    vault, trail = Vault(), Trail()
    one, made = await step(work(vault, trail), job())
    assert (vault.switched, made.total) == (1, 450)
    while not made.finished:
        one, made = await step(work(vault, trail), one)
    assert (vault.retired, one.done, one.total) == (1, 450, 450)
    assert [entry[0] for entry in trail.entries] == ["keys.rotate.begin", "keys.rotate.end"]
    assert trail.entries[-1] == ("keys.rotate.end", "email.seal", {"change": "01020304:retired", "count": 450})


async def test_a_slice_takes_a_second_or_what_the_rate_allows() -> None:
    vault = Vault(10_000)
    one, _ = await step(work(vault, Trail()), job())
    one, made = await step(work(vault, Trail(), step_s=0.6), one)
    assert (made.done, vault.pages) == (400, 2)
    _, made = await step(work(vault, Trail()), replace(one, rate=30.0))
    assert made.done - one.done == 30


async def test_values_that_stay_under_the_old_key_stop_it_and_the_old_key_stays_live() -> None:
    vault, trail = Vault(10, stuck=1), Trail()
    doing, one = work(vault, trail), job()
    for _ in range(2 * MOST_PASSES):
        one, _ = await step(doing, one)
    with pytest.raises(ValuesLeft) as stopped:
        await step(doing, one)
    assert stopped.value.permanent
    assert (vault.retired, vault.pages) == (0, MOST_PASSES)
    assert [entry[0] for entry in trail.entries] == ["keys.rotate.begin"]
    vault.stuck = 0  # repaired; the administrator resumes, which is another run
    one, made = await step(doing, replace(one, run=2))
    assert made.finished
    assert vault.retired == 1


async def test_the_key_of_checks_inside_surrogates_is_kept_for_ever() -> None:
    vault, trail = Vault(), Trail()
    _, made = await step(work(vault, trail), replace(job("token"), arguments=job("token").arguments))
    assert made.finished
    assert (vault.switched, vault.pages, vault.retired) == (1, 0, 0)
    assert trail.entries[-1][2]["change"] == "01020304:verify"


async def test_what_stands_in_the_crm_is_counted_and_never_said_to_be_gone() -> None:
    vault, trail = Vault(stuck=7), Trail()
    _, made = await step(work(vault, trail), job("ff1"))
    assert made.finished
    assert (vault.switched, vault.pages, vault.retired) == (1, 0, 0)
    assert isinstance(made.cursor, dict)
    assert (made.cursor["end"], made.cursor["left"]) == ("standing", 7)
    assert trail.entries[-1][2] == {"change": "01020304:standing", "count": 0, "omitted": {"left": 7}}


async def test_without_the_audit_trail_nothing_begins_and_nothing_ends() -> None:
    vault = Vault(5)
    with pytest.raises(AuditUnavailable):
        await work(vault, Trail(broken=True)).slice(job())
    assert vault.switched == 0
    one, _ = await step(work(vault, Trail()), job())
    one, _ = await step(work(vault, Trail()), one)
    with pytest.raises(AuditUnavailable):
        await work(vault, Trail(broken=True)).slice(one)


@pytest.mark.parametrize(
    ("cursor", "told"),
    [
        (None, ""),
        ({"phase": "walk"}, ""),
        ({"end": "retired", "left": 0}, "0 left under the old key"),
        ({"end": "verify", "left": -1}, "the old key goes on confirming what was made under it"),
        ({"end": "standing", "left": 3}, "the old key stays live for 3 known of what stands in the CRM under it"),
        ({"end": "standing", "left": 0}, "the old key stays live for 0 known of what stands in the CRM under it"),
    ],
)
def test_what_became_of_the_old_key_is_told(cursor: Json, told: str) -> None:
    assert old_key(replace(job(), cursor=cursor)) == told


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "crmgate.toml"
    write_files(file, Start("http://127.0.0.1:9", "generic", "https://crm.localhost:8443", "https://c.localhost:8444"))
    return file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scope", "email"], "--scope and --purpose belong together"),
        (["--purpose", "seal"], "--scope and --purpose belong together"),
        (["--tenant-key", "--scope", "email", "--purpose", "seal"], "--tenant-key rotates the key above"),
        (["--close-old"], "--close-old belongs to --tenant-key"),
        (["--rate", "0"], "0.1"),
    ],
)
def test_a_command_that_makes_no_sense_is_told_so(settings: Path, words: list[str], said: str) -> None:
    result: Any = CliRunner().invoke(command_line(), ["keys", "rotate", *words, "--config", str(settings)])
    assert result.exit_code == 2
    assert said in result.output
