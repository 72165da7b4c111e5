"""Proofs from the stored log, and the proof file: every entry and every growth proved, everything else refused."""

import base64
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from audit import store
from audit.checkpoint import Keeper
from audit.log import AuditLog
from audit.note import NoteInvalid, Signer, origin_of
from audit.proof import EntryNotSigned, EntryProof, StoredLogBroken, prove_entry, prove_growth
from audit.tree import ProofInvalid, leaf_hash, verify_consistency
from gateway.cli_audit import app
from tests.conftest import unwalled

SIGNER = Signer(bytes(range(32)))
VERIFIER, ORIGIN = SIGNER.verifier, origin_of("demo")


@pytest.fixture
async def long(log: AuditLog, keeper: Keeper, make: Any) -> list[int]:
    """Seventy entries, signed at irregular sizes; the sizes."""
    sizes = [1, 2, 3, 7, 8, 21, 32, 33, 47, 64, 70]
    for size in sizes:
        while (await log.append(make())) < size - 1:
            pass
        await keeper.seal("demo")
    return sizes


async def connect(dsn: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(unwalled(dsn))


async def test_every_entry_is_proved_from_the_store(dsn: str, long: list[int]) -> None:
    async with await connect(dsn) as db:
        for index in range(70):
            proof = await prove_entry(db, "demo", index, VERIFIER)
            again = EntryProof.from_text(proof.text())
            assert again == proof
            assert again.check(VERIFIER, ORIGIN).size == 70


async def test_growth_between_any_two_checkpoints_is_proved_from_the_store(dsn: str, long: list[int]) -> None:
    async with await connect(dsn) as db:
        signed = [VERIFIER.open_checkpoint(one.note, ORIGIN) async for one in store.checkpoints(db, "demo")]
        assert [one.size for one in signed] == long
        for place, new in enumerate(signed):
            for old in signed[: place + 1]:
                proof = await prove_growth(db, "demo", old, new)
                verify_consistency(old.size, old.root, new.size, new.root, proof)


async def test_an_entry_that_is_not_signed_yet_is_not_proved(dsn: str, filled: AuditLog) -> None:
    async with await connect(dsn) as db:
        for index in (18, 19, 20, -1):
            with pytest.raises(EntryNotSigned):
                await prove_entry(db, "demo", index, VERIFIER)
        with pytest.raises(EntryNotSigned):
            await prove_entry(db, "other", 0, VERIFIER)


@pytest.mark.parametrize(
    ("change", "index"),
    [
        ("UPDATE audit_entry SET body = 'x' WHERE index = 3", 3),
        ("UPDATE audit_entry SET leaf = sha256('x') WHERE index = 17", 16),
        ("DELETE FROM audit_entry WHERE index = 3", 3),
        ("DELETE FROM audit_entry WHERE index = 17", 16),
        ("UPDATE audit_checkpoint SET frontier = decode(repeat('00', 64), 'hex') WHERE size = 12", 15),
        ("UPDATE audit_checkpoint SET frontier = '' WHERE size = 12", 15),
        ("UPDATE audit_checkpoint SET note = replace(note, '18', '19') WHERE size = 18", 3),
    ],
)
async def test_no_proof_comes_from_a_changed_log(
    dsn: str, filled: AuditLog, tamper: Any, change: str, index: int
) -> None:
    await tamper(change)
    async with await connect(dsn) as db:
        with pytest.raises(StoredLogBroken):
            await prove_entry(db, "demo", index, VERIFIER)


async def test_no_growth_is_proved_over_a_changed_log(dsn: str, filled: AuditLog, tamper: Any) -> None:
    async with await connect(dsn) as db:
        signed = [VERIFIER.open_checkpoint(one.note, ORIGIN) async for one in store.checkpoints(db, "demo")]
    await tamper(
        "UPDATE audit_checkpoint SET frontier = decode(repeat('00', 64), 'hex') WHERE size IN (5, 12, 18)",
    )
    async with await connect(dsn) as db:
        with pytest.raises(StoredLogBroken):
            await prove_growth(db, "demo", signed[0], signed[2])
        with pytest.raises(StoredLogBroken):
            await prove_growth(db, "demo", signed[2], signed[0])


@pytest.fixture
async def proof(dsn: str, filled: AuditLog) -> EntryProof:
    async with await connect(dsn) as db:
        return await prove_entry(db, "demo", 7, VERIFIER)


def test_every_changed_byte_of_a_proof_file_is_refused_or_means_the_same(proof: EntryProof) -> None:
    text = proof.text()
    rng = random.Random(7)
    for place in range(len(text)):
        other = rng.choice([letter for letter in "A5z+\n —" if letter != text[place]])
        changed = text[:place] + other + text[place + 1 :]
        try:
            read = EntryProof.from_text(changed)
            read.check(VERIFIER, ORIGIN)
        except (ProofInvalid, NoteInvalid):
            continue
        # The last letter of base64 has bits that carry nothing.
        assert (read.index, read.body, read.path) == (proof.index, proof.body, proof.path), place


def test_a_proof_is_refused_for_another_place_path_key_or_log(proof: EntryProof) -> None:
    other = leaf_hash(b"other")
    wrong = [
        EntryProof(proof.index + 1, proof.body, proof.path, proof.note),
        EntryProof(proof.index, proof.body + b" ", proof.path, proof.note),
        EntryProof(proof.index, proof.body, proof.path[:-1], proof.note),
        EntryProof(proof.index, proof.body, (*proof.path, other), proof.note),
        *(
            EntryProof(proof.index, proof.body, (*proof.path[:at], other, *proof.path[at + 1 :]), proof.note)
            for at in range(len(proof.path))
        ),
    ]
    for case in wrong:
        with pytest.raises(ProofInvalid):
            case.check(VERIFIER, ORIGIN)
    with pytest.raises(NoteInvalid):
        proof.check(Signer(bytes(32)).verifier, ORIGIN)
    with pytest.raises(NoteInvalid):
        proof.check(VERIFIER, origin_of("other"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\nindex 1\n\n",
        "c2sp.org/tlog-proof@v2\nextra QQ==\nindex 1\n\nx",
        "c2sp.org/tlog-proof@v1\nextra QQ==\nindex 01\n\nx",
        "c2sp.org/tlog-proof@v1\nextra ?\nindex 1\n\nx",
        "c2sp.org/tlog-proof@v1\nextra QQ==\nindex 1\nQQ==\n\nx",
        "c2sp.org/tlog-proof@v1\nextra QQ==\nindex 1\n" + f"{base64.b64encode(bytes(32)).decode()}\n" * 64 + "\nx",
        "x" * 2_000_001,
    ],
)
def test_what_is_no_proof_file_is_refused(text: str) -> None:
    with pytest.raises(ProofInvalid):
        EntryProof.from_text(text)


def test_the_file_is_that_of_the_specification(proof: EntryProof) -> None:
    """c2sp.org/tlog-proof: header, extra, index, hashes, an empty line, the checkpoint verbatim."""
    lines = proof.text().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert base64.b64decode(lines[1].removeprefix("extra ")) == proof.body
    assert lines[2] == "index 7"
    assert lines[3 + len(proof.path)] == ""
    assert proof.text().endswith("\n\n" + proof.note)


def test_a_proof_is_checked_offline_with_the_public_key_alone(proof: EntryProof, tmp_path: Path) -> None:
    file, key = tmp_path / "seven.tlog-proof", tmp_path / "audit.vkey"
    file.write_text(proof.text(), encoding="utf-8")
    key.write_text(VERIFIER.vkey(ORIGIN) + "\n")
    for given in (VERIFIER.vkey(ORIGIN), str(key)):
        done = CliRunner().invoke(app, ["check-proof", str(file), "--key", given])
        assert done.exit_code == 0, done.output
        assert "entry 7 of crmgate-audit/demo" in done.output
        assert '"operation": "contact.read"' in done.output
    other = Signer(bytes(32)).verifier.vkey(ORIGIN)
    assert CliRunner().invoke(app, ["check-proof", str(file), "--key", other]).exit_code == 1
    file.write_text(proof.text().replace("index 7", "index 6"), encoding="utf-8")
    assert CliRunner().invoke(app, ["check-proof", str(file), "--key", str(key)]).exit_code == 1
    file.write_bytes(b"\xff\xfe")
    assert CliRunner().invoke(app, ["check-proof", str(file), "--key", str(key)]).exit_code == 1
    for bad in ("", "a+b+c", str(tmp_path / "none")):
        assert CliRunner().invoke(app, ["check-proof", str(file), "--key", bad]).exit_code == 2
