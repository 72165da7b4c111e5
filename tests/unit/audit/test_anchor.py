"""Checkpoints outside the database: a folder, a real witness, a real authority; what fails stops nothing."""

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_pem_x509_certificate

from audit import timestamp
from audit.anchor import AnchorContradicts, AnchorFailed, Anchors, Contradiction, Published
from audit.anchor_folder import FolderAnchor, kept_sizes
from audit.checkpoint import Keeper
from audit.log import AuditLog
from audit.note import NoteInvalid, Signer, origin_of
from audit.post import Answer
from audit.timestamp import TimestampAnchor
from audit.witness import Cosigner, WitnessAnchor, cosigned_path
from tests.real.certificates import Authority
from tests.real.tsa import authority
from tests.real.witness import vkey, witness
from tests.unit.audit.conftest import AT, SIGNER

SEED = bytes(range(32, 64))
ORIGIN = origin_of("demo")


class Clock:
    def __init__(self, at: Any = AT) -> None:
        self.at = at

    def __call__(self) -> Any:
        return self.at


def real_now() -> Any:
    return datetime.now(UTC)


def anchors_of(pool: Any, *anchors: Any, now: Any = None, limit_s: float = 20) -> Anchors:
    return Anchors(pool, SIGNER.verifier, anchors, now=now or Clock(), interval_s=0.05, limit_s=limit_s)


async def grow(log: AuditLog, keeper: Keeper, make: Any, size: int) -> None:
    while await log.append(make()) < size - 1:
        pass
    await keeper.seal("demo")


class Plain:
    """An anchor for what it is told to do."""

    outside = True

    def __init__(self, name: str, deed: Any = None, every_s: float = 0) -> None:
        self.name, self.deed, self.every_s = name, deed, every_s
        self.kept: list[int] = []

    async def keep(self, published: Published) -> None:
        if self.deed is not None:
            await self.deed()
        self.kept.append(published.checkpoint.size)


async def test_what_fails_hangs_or_lies_says_so_and_holds_nobody_up(pool: Any, filled: AuditLog) -> None:
    def fails(fault: Exception) -> Any:
        async def deed() -> None:
            raise fault

        return deed

    good = Plain("good")
    anchors = anchors_of(
        pool,
        Plain("down", fails(AnchorFailed("it cannot be reached"))),
        Plain("liar", fails(AnchorContradicts("it has seen 99 entries"))),
        Plain("broken", fails(RuntimeError("secret"))),
        Plain("hangs", asyncio.Event().wait),
        good,
        limit_s=0.1,
    )
    await anchors.round()
    states = {state.name: state for state in anchors.states("demo")}
    assert {name: state.fault for name, state in states.items()} == {
        "down": "it cannot be reached",
        "liar": "it has seen 99 entries",
        "broken": "RuntimeError",
        "hangs": "no answer within 0.1 s",
        "good": "",
    }
    assert [name for name, state in states.items() if state.contradicts] == ["liar"]
    assert (states["good"].size, states["good"].at, states["down"].at) == (18, AT, None)
    assert anchors.published("demo") == 18


async def test_each_gets_the_newest_when_it_is_due_and_not_twice(
    pool: Any, filled: AuditLog, keeper: Keeper, log: AuditLog, make: Any
) -> None:
    often, daily, clock = Plain("often"), Plain("daily", every_s=86_400), Clock()
    anchors = anchors_of(pool, often, daily, now=clock)
    await anchors.round()
    await anchors.round()
    await grow(log, keeper, make, 25)
    await anchors.round()
    assert (often.kept, daily.kept) == ([18, 25], [18])
    clock.at += timedelta(days=1)
    await anchors.round()
    assert (often.kept, daily.kept) == ([18, 25], [18, 25])


async def test_nothing_that_is_not_ours_goes_out(pool: Any, filled: AuditLog, tamper: Any) -> None:
    await tamper("UPDATE audit_checkpoint SET note = replace(note, '18', '19') WHERE size = 18")
    anchor = Plain("a")
    await anchors_of(pool, anchor).round()
    assert anchor.kept == []


async def test_it_runs_by_itself(pool: Any, filled: AuditLog) -> None:
    anchor = Plain("a")
    anchors = anchors_of(pool, anchor)
    await anchors.start()
    async with asyncio.timeout(60):
        while not anchor.kept:
            await asyncio.sleep(0.01)
    await anchors.close()


def folder_anchor(folder: Path, newest: int = 1000) -> FolderAnchor:
    return FolderAnchor(folder, SIGNER.verifier, every_s=0, outside=False, newest=newest)


async def test_a_folder_keeps_the_newest_and_one_a_day(
    pool: Any, log: AuditLog, keeper: Keeper, make: Any, tmp_path: Path
) -> None:
    anchors = anchors_of(pool, folder_anchor(tmp_path / "kept", newest=3))
    for size in range(1, 9):
        await grow(log, keeper, make, size)
        await anchors.round()
    assert [state.fault for state in anchors.states("demo")] == [""]
    sizes = kept_sizes(tmp_path / "kept" / "demo")
    assert sizes[-3:] == [6, 7, 8]
    assert 1 <= len(sizes[:-3]) <= 2, "one of today; two at midnight"
    for size in sizes:
        note = (tmp_path / "kept" / "demo" / f"{size}.checkpoint").read_text(encoding="utf-8")
        assert SIGNER.verifier.open_checkpoint(note, ORIGIN).size == size


async def test_a_folder_finds_a_log_that_was_cut_off_or_rewritten(
    pool: Any, filled: AuditLog, tamper: Any, tmp_path: Path
) -> None:
    await anchors_of(pool, folder_anchor(tmp_path)).round()
    await tamper("DELETE FROM audit_checkpoint WHERE size > 12", "DELETE FROM audit_entry WHERE index > 12")
    anchors = anchors_of(pool, folder_anchor(tmp_path))
    await anchors.round()
    [state] = anchors.states("demo")
    assert state.contradicts
    assert "18" in state.fault
    (tmp_path / "demo" / "18.checkpoint").write_text("x")
    anchors = anchors_of(pool, folder_anchor(tmp_path))
    await anchors.round()
    assert [state.contradicts for state in anchors.states("demo")] == [True]


@pytest.fixture
def witnessed() -> Iterator[str]:
    with witness(SEED, SIGNER.verifier.vkey(ORIGIN)) as url:
        yield url


def witness_anchor(url: str, folder: Path, key: str = "") -> WitnessAnchor:
    return WitnessAnchor(Cosigner.from_vkey(key or vkey(SEED)), url, folder, every_s=0, now=real_now)


async def test_a_real_witness_cosigns_a_log_that_grows(
    pool: Any, filled: AuditLog, keeper: Keeper, log: AuditLog, make: Any, tmp_path: Path, witnessed: str
) -> None:
    anchor = witness_anchor(witnessed, tmp_path / "w")
    anchors = anchors_of(pool, anchor)
    for size in (18, 21, 40, 64, 65):
        if size > 18:
            await grow(log, keeper, make, size)
        await anchors.round()
        [state] = anchors.states("demo")
        assert (state.fault, state.size) == ("", size)
        note = cosigned_path(tmp_path / "w", "demo", "witness.example/w1").read_text(encoding="utf-8")
        checkpoint = SIGNER.verifier.open_checkpoint(note, ORIGIN)
        assert checkpoint.size == size, "both signatures are in one note"
        assert Cosigner.from_vkey(vkey(SEED)).check(note.splitlines()[-1], checkpoint.text())
    # After a restart the witness is asked from nothing and says where he is.
    await grow(log, keeper, make, 70)
    anchors = anchors_of(pool, witness_anchor(witnessed, tmp_path / "w"))
    await anchors.round()
    assert [(state.fault, state.size) for state in anchors.states("demo")] == [("", 70)]


async def test_a_witness_convicts_a_log_that_was_cut_off(
    pool: Any, filled: AuditLog, keeper: Keeper, tamper: Any, tmp_path: Path, witnessed: str
) -> None:
    await anchors_of(pool, witness_anchor(witnessed, tmp_path)).round()
    await tamper("DELETE FROM audit_checkpoint WHERE size > 12")
    anchors = anchors_of(pool, witness_anchor(witnessed, tmp_path))
    await anchors.round()
    [state] = anchors.states("demo")
    assert (state.contradicts, state.fault) == (True, "it has seen 18 entries, the log has 12")


async def test_a_witness_that_does_not_know_us_or_signs_with_another_key_is_not_believed(
    pool: Any, filled: AuditLog, tmp_path: Path, witnessed: str
) -> None:
    anchors = anchors_of(pool, witness_anchor(witnessed, tmp_path, vkey(bytes(32))))
    await anchors.round()
    assert [state.fault for state in anchors.states("demo")] == ["its answer has no signature of the key we know"]
    with witness(SEED, Signer(bytes(32)).verifier.vkey(ORIGIN)) as other:
        anchors = anchors_of(pool, witness_anchor(other, tmp_path))
        await anchors.round()
        assert [state.fault for state in anchors.states("demo")] == ["it does not know our key (403)"]
    with witness(SEED, SIGNER.verifier.vkey(origin_of("other"))) as other:
        anchors = anchors_of(pool, witness_anchor(other, tmp_path))
        await anchors.round()
        assert [state.fault for state in anchors.states("demo")] == ["it does not know this log (404)"]
    assert not list(tmp_path.glob("*.cosigned"))
    anchors = anchors_of(pool, witness_anchor(other, tmp_path))
    await anchors.round()
    assert [state.fault.startswith("it cannot be reached") for state in anchors.states("demo")] == [True]


def test_a_forged_cosignature_is_refused() -> None:
    """c2sp.org/tlog-cosignature: time and text are signed."""
    cosigner, text, at = Cosigner.from_vkey(vkey(SEED)), "log\n1\nAAAA\n", 1_679_315_147
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(f"cosignature/v1\ntime {at}\n{text}".encode())

    def line(key_id: bytes, time: int, mark: bytes) -> str:
        return f"— {cosigner.name} {base64.b64encode(key_id + time.to_bytes(8, 'big') + mark).decode()}"

    assert cosigner.check(line(cosigner.key_id, at, signature), text) == at
    assert cosigner.check(line(bytes(4), at, signature), text) is None
    for bad, over in (
        (line(cosigner.key_id, at + 1, signature), text),
        (line(cosigner.key_id, at, signature), text.replace("1", "2")),
        (line(cosigner.key_id, at, signature[:-1]), text),
        ("nonsense", text),
    ):
        with pytest.raises(NoteInvalid):
            cosigner.check(bad, over)


@pytest.mark.parametrize("text", ["", "a+b", SIGNER.verifier.vkey("log"), vkey(SEED).replace("w1", "w2")])
def test_what_is_no_witness_key_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Cosigner.from_vkey(text)


async def test_a_real_authority_stamps_checkpoints_that_openssl_verifies(
    pool: Any, filled: AuditLog, tmp_path: Path
) -> None:
    with authority(tmp_path / "tsa") as url:
        root = load_pem_x509_certificate((tmp_path / "tsa/ca.pem").read_bytes())
        anchors = anchors_of(pool, TimestampAnchor(url, [root], tmp_path / "stamps", every_s=0))
        await anchors.round()
        assert [(state.fault, state.size) for state in anchors.states("demo")] == [("", 18)]
        note, reply = tmp_path / "stamps/demo/18.checkpoint", tmp_path / "stamps/demo/18.tsr"
        assert SIGNER.verifier.open_checkpoint(note.read_text(encoding="utf-8"), ORIGIN).size == 18
        words = ["openssl", "ts", "-verify", "-data", note, "-in", reply, "-CAfile", tmp_path / "tsa/ca.pem"]
        assert subprocess.run(words, capture_output=True, timeout=60).returncode == 0
        with authority(tmp_path / "thief") as forged:
            anchors = anchors_of(pool, TimestampAnchor(forged, [root], tmp_path / "no", every_s=0))
            await anchors.round()
            assert ["its reply does not hold" in state.fault for state in anchors.states("demo")] == [True]
    assert not (tmp_path / "no").exists()
    anchors = anchors_of(pool, TimestampAnchor(url, [root], tmp_path / "no", every_s=0))
    await anchors.round()
    assert ["it cannot be reached" in state.fault for state in anchors.states("demo")] == [True]


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"\x30\x05\x30\x03\x02\x01\x02"])
async def test_nonsense_of_an_authority_is_refused(
    pool: Any, filled: AuditLog, tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: Any, **__: Any) -> Answer:
        return Answer(200, "application/timestamp-reply", raw)

    monkeypatch.setattr(timestamp, "post", answer)
    root = load_pem_x509_certificate(Authority(tmp_path).ca.read_bytes())
    anchors = anchors_of(pool, TimestampAnchor("http://127.0.0.1:1/", [root], tmp_path / "no", every_s=0))
    await anchors.round()
    assert [state.fault != "" for state in anchors.states("demo")] == [True]
    assert not (tmp_path / "no").exists()


async def test_a_contradiction_is_told_once_until_the_anchor_takes_one_again(
    pool: Any, filled: AuditLog, keeper: Keeper, log: AuditLog, make: Any
) -> None:
    faults: list[Exception] = []
    told: list[Contradiction] = []

    async def deed() -> None:
        if faults:
            raise faults[0]

    async def tell(found: Contradiction) -> None:
        told.append(found)

    anchors = Anchors(pool, SIGNER.verifier, [Plain("a", deed)], now=Clock(), interval_s=0.05, told=tell, limit_s=20)
    for size, fault in (
        (21, AnchorContradicts("it has seen 99")),
        (22, AnchorContradicts("it has seen 99, the log has 22")),
        (23, AnchorFailed("away")),
        (24, AnchorContradicts("it has seen 99")),
        (25, None),
        (26, AnchorContradicts("again")),
    ):
        faults[:] = [fault] if fault else []
        await grow(log, keeper, make, size)
        await anchors.round()
    assert told == [Contradiction("demo", "a", 21), Contradiction("demo", "a", 26)]
