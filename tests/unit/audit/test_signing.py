"""Checkpoints signed by a key elsewhere, and the change from the key in a file to it: on record, provable, bounded."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import store
from audit.checkpoint import Keeper
from audit.log import AuditLog, AuditUnavailable
from audit.note import Checkpoint, EarlierKey, KeyFileInvalid, NoteInvalid, Signer, Verifier, origin_of
from audit.signing import (
    HandedOver,
    RemoteSigner,
    SigningUnavailable,
    hand_over,
    handover_path,
    handover_text,
    read_handover,
)
from audit.verify import LogTampered, verify
from tests.conftest import unwalled
from tests.unit.audit.conftest import AT, SIGNER

NEW = Signer(bytes(range(64, 96)))
OLD = SIGNER.verifier
ORIGIN = origin_of("demo")


class Server:
    """A key server as far as the keeper sees it."""

    def __init__(self, seed: bytes = NEW.seed) -> None:
        self.seed, self.away, self.asked = seed, False, 0

    async def sign(self, message: bytes) -> bytes:
        self.asked += 1
        if self.away:
            raise SigningUnavailable("vault-unreachable")
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


def taking_over() -> Verifier:
    return Verifier(NEW.verifier.public, EarlierKey(OLD.public))


def keeper_of(pool: Any, folder: Path, server: Server, told: Any = None, verifier: Verifier | None = None) -> Keeper:
    signer = RemoteSigner(verifier or taking_over(), server.sign)
    return Keeper(pool, signer, folder, now=lambda: AT, interval_s=0.05, before=lambda: SIGNER, handed_over=told)


async def test_the_last_checkpoint_of_the_old_key_is_signed_by_the_new_one_too_and_the_log_goes_on(
    pool: Any, dsn: str, filled: AuditLog, tmp_path: Path
) -> None:
    told: list[HandedOver] = []

    async def tell(done: HandedOver) -> None:
        told.append(done)

    verifier = taking_over()
    keeper = keeper_of(pool, tmp_path, Server(), tell, verifier)
    sealed = await keeper.seal("demo")
    assert sealed is not None
    assert (sealed.size, [one.size for one in told]) == (20, [18])
    assert (told[0].old, told[0].new) == (OLD.key_id(ORIGIN).hex(), NEW.verifier.key_id(ORIGIN).hex())
    note = handover_path(tmp_path, "demo").read_text()
    assert OLD.open_checkpoint(note, ORIGIN) == NEW.verifier.open_checkpoint(note, ORIGIN)
    found = await verify(dsn, "demo", verifier, tmp_path)
    assert (found.entries, found.checkpoints) == (20, 4)
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", NEW.verifier, tmp_path)
    await keeper.seal("demo")
    assert len(told) == 1
    handed = read_handover(tmp_path, "demo", NEW.verifier, OLD)
    assert handed is not None
    assert handed.size == 18


async def test_what_the_old_key_signs_after_the_change_does_not_count(
    pool: Any, filled: AuditLog, tmp_path: Path
) -> None:
    verifier = taking_over()
    forged = SIGNER.sign(f"{ORIGIN}\n19\n{'A' * 43}=\n", ORIGIN)
    assert verifier.open_checkpoint(forged, ORIGIN).size == 19, "before the change it is the key in force"
    await keeper_of(pool, tmp_path, Server(), verifier=verifier).seal("demo")
    with pytest.raises(NoteInvalid, match="after it was replaced"):
        verifier.open_checkpoint(forged, ORIGIN)
    assert verifier.open_checkpoint(SIGNER.sign(f"{ORIGIN}\n18\n{'A' * 43}=\n", ORIGIN), ORIGIN).size == 18


async def test_a_change_that_cannot_be_put_on_record_does_not_happen(
    pool: Any, filled: AuditLog, tmp_path: Path
) -> None:
    async def fails(_: HandedOver) -> None:
        raise AuditUnavailable

    keeper = keeper_of(pool, tmp_path, Server(), fails)
    with pytest.raises(AuditUnavailable):
        await keeper.seal("demo")
    assert not handover_path(tmp_path, "demo").exists()
    async with pool.of("demo") as db:
        latest = await store.latest_checkpoint(db, "demo")
    assert latest is not None
    assert latest.size == 18


async def test_while_the_key_server_is_away_checkpoints_wait_and_the_log_goes_on(
    pool: Any, filled: AuditLog, make: Any, tmp_path: Path
) -> None:
    server = Server()
    server.away = True
    keeper = keeper_of(pool, tmp_path, server)
    await keeper._round()
    assert (keeper.waiting, keeper.fault) == ("vault-unreachable", "")
    assert await filled.append(make()) == 20
    server.away = False
    await keeper._round()
    assert (keeper.waiting, keeper.fault) == ("", "")
    async with pool.of("demo") as db:
        latest = await store.latest_checkpoint(db, "demo")
    assert latest is not None
    assert latest.size == 21


async def test_what_another_key_signed_is_never_stored(pool: Any, filled: AuditLog, tmp_path: Path) -> None:
    keeper = keeper_of(pool, tmp_path, Server(bytes(32)))
    with pytest.raises(SigningUnavailable, match="does not fit"):
        await keeper.seal("demo")
    assert not handover_path(tmp_path, "demo").exists()


async def test_a_log_without_an_old_checkpoint_begins_with_the_new_key(
    pool: Any, log: AuditLog, make: Any, tmp_path: Path
) -> None:
    await log.append(make())
    verifier = taking_over()
    assert await keeper_of(pool, tmp_path, Server(), verifier=verifier).seal("demo") is not None
    with pytest.raises(NoteInvalid):
        verifier.open_checkpoint(SIGNER.sign(f"{ORIGIN}\n1\n{'A' * 43}=\n", ORIGIN), ORIGIN)


@pytest.mark.parametrize("old", range(6))
async def test_a_lost_handover_is_made_again_at_the_same_place(
    pool: Any, log: AuditLog, make: Any, tmp_path: Path, old: int
) -> None:
    for number in range(1, 7):
        await log.append(make())
        signer = SIGNER if number <= old else RemoteSigner(taking_over(), Server().sign)
        await Keeper(pool, signer, tmp_path, now=lambda: AT, before=lambda: SIGNER).seal("demo")
    async with pool.of("demo") as db:
        found = await hand_over(db, "demo", RemoteSigner(taking_over(), Server().sign), lambda: SIGNER)
    assert (found.size if found else 0) == old


def both(text: str, *signers: Signer) -> str:
    notes = [one.sign(text, ORIGIN) for one in signers]
    return notes[0] + "".join(note.rpartition("\n\n")[2] for note in notes[1:])


def test_a_handover_counts_when_both_keys_signed_that_one_follows_the_other(tmp_path: Path) -> None:
    assert read_handover(tmp_path, "demo", NEW.verifier, OLD) is None
    checkpoint = Checkpoint(ORIGIN, 18, bytes(32))
    text = handover_text(checkpoint, NEW.verifier)
    handover_path(tmp_path, "demo").write_text(both(text, SIGNER, NEW))
    assert read_handover(tmp_path, "demo", NEW.verifier, OLD) == checkpoint
    thief = Signer(bytes(32))
    notes = {
        "the old key alone": SIGNER.sign(text, ORIGIN),
        "the new key alone": NEW.sign(text, ORIGIN),
        "anybody's signature on a checkpoint": both(checkpoint.text(), SIGNER, NEW),
        "another key named": both(handover_text(checkpoint, thief.verifier), SIGNER, NEW),
        "a line more": both(text + "more\n", SIGNER, NEW),
        "nonsense": "nonsense",
    }
    for name, note in notes.items():
        handover_path(tmp_path, "demo").write_text(note)
        with pytest.raises(NoteInvalid):
            print(name, read_handover(tmp_path, "demo", NEW.verifier, OLD))


def missing() -> Signer:
    raise KeyFileInvalid("audit.key is missing")


@pytest.mark.parametrize(("before", "told"), [(missing, "audit.key is missing"), (lambda: NEW, "another one")])
async def test_without_the_old_key_the_new_one_waits_and_says_so(
    before: Any, told: str, pool: Any, filled: AuditLog, tmp_path: Path
) -> None:
    signer = RemoteSigner(taking_over(), Server().sign)
    keeper = Keeper(pool, signer, tmp_path, now=lambda: AT, before=before)
    await keeper._round()
    assert told in keeper.waiting
    assert not handover_path(tmp_path, "demo").exists()
    async with pool.of("demo") as db:
        latest = await store.latest_checkpoint(db, "demo")
    assert latest is not None
    assert latest.size == 18


async def test_rows_of_the_old_time_that_the_new_key_never_saw_are_still_convicted(
    pool: Any, dsn: str, filled: AuditLog, tmp_path: Path, tamper: Any
) -> None:
    verifier = taking_over()
    await keeper_of(pool, tmp_path, Server(), verifier=verifier).seal("demo")
    await tamper("UPDATE audit_entry SET body = (SELECT body FROM audit_entry WHERE index = 3) WHERE index = 6")
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", verifier, tmp_path)
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db:
        assert await store.size(db, "demo") == 20
