"""Evidence packs: what is in them is proved offline by the program inside, and nothing that was changed is."""

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from audit import pack_check, store
from audit.checkpoint import Keeper
from audit.event_row import EVENT
from audit.log import AuditLog
from audit.note import EarlierKey, Signer, Verifier, origin_of
from audit.pack import write_pack
from audit.pack_choice import Packed, PackRefused, Policy, Wanted
from audit.pack_facts import Anchored, Range
from audit.pack_range import outside_ranges
from audit.proof import StoredLogBroken
from audit.signing import RemoteSigner, handover_path
from audit.store import Filters
from audit.tree import leaf_hash, node_hash, root
from tests.conftest import unwalled
from tests.unit.audit.conftest import AT

SIGNER = Signer(bytes(range(32)))
KEY = SIGNER.verifier.vkey(origin_of("demo"))
Files = dict[str, bytes]


@pytest.fixture
async def forty(log: AuditLog, keeper: Keeper, make: Any) -> None:
    """Forty entries signed at several sizes, two more unsigned; every third is about record lead-7."""
    made = 0
    for size in (3, 10, 17, 32, 40, 42):
        while made < size:
            await log.append(make(record="lead-7" if made % 3 == 0 else str(made), policy="v1" if made < 20 else "v2"))
            made += 1
        if size != 42:
            await keeper.seal("demo")


async def packed(
    dsn: str, filters: Filters, *policies: Policy, limit: int = 1000, verifier: Verifier = SIGNER.verifier, **more: Any
) -> tuple[Packed, bytes]:
    target = io.BytesIO()
    wanted = Wanted(filters, AT, policies, limit, **more)
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db, db.transaction():
        await store.snapshot(db)
        made = await write_pack(db, "demo", verifier, wanted, target)
    return made, target.getvalue()


def files_of(pack: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(pack)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(files: Files, *, honest: bool = True) -> bytes:
    """A zip of these files; honest: with a manifest that fits, as whoever forges one writes it."""
    manifest = json.loads(files["manifest.json"])
    if honest:
        manifest["files"] = {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"
        }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        for name, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            opened.writestr(name, content)
    return target.getvalue()


def verdict(pack: bytes, key: str = KEY) -> list[str]:
    return pack_check.check(io.BytesIO(pack), key)  # type: ignore[arg-type]


async def test_the_program_inside_proves_the_pack_on_a_machine_without_crmgate(
    dsn: str, forty: None, tmp_path: Path
) -> None:
    _, pack = await packed(dsn, Filters(record="lead-7"))
    (tmp_path / "pack.zip").write_bytes(pack)
    (tmp_path / "verify.py").write_bytes(files_of(pack)["verify.py"])
    command = [sys.executable, "-I", "verify.py", "pack.zip", "--key", KEY]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVED")
    assert "entries in the pack: 14, numbers 0 to 39" in done.stdout


def test_the_program_is_one_file_of_less_than_300_lines_and_imports_nothing_of_ours() -> None:
    source = Path(pack_check.__file__).read_text()
    assert source.count("\n") < 300
    assert "import audit" not in source
    assert "from audit" not in source


async def test_what_is_in_a_pack_is_what_was_asked_for(dsn: str, forty: None) -> None:
    made, pack = await packed(dsn, Filters(record="lead-7"))
    found = files_of(pack)
    assert (made.entries, made.first, made.last, made.waiting) == (14, 0, 39, 0)
    assert all(json.loads(line)["record"] == "lead-7" for line in found["events.jsonl"].splitlines())
    rows = list(csv.DictReader(io.StringIO(found["events.csv"].decode("utf-8-sig"))))
    assert [int(row["index"]) for row in rows] == list(range(0, 40, 3))
    assert found["key"].decode().strip() == KEY


async def test_entries_that_are_not_signed_yet_are_counted_and_left_out(dsn: str, forty: None) -> None:
    made, pack = await packed(dsn, Filters(since=AT + timedelta(seconds=38)))
    assert (made.entries, made.waiting) == (2, 2)
    assert "2 newer matching entries" in files_of(pack)["README.txt"].decode()


async def test_growth_is_proved_from_the_newest_checkpoint_before_the_first_entry(dsn: str, forty: None) -> None:
    _, pack = await packed(dsn, Filters(since=AT + timedelta(seconds=20)))
    assert any("grown from the checkpoint at 17 entries" in line for line in verdict(pack))
    assert any(line.startswith("consecutive") for line in verdict(pack))
    _, whole = await packed(dsn, Filters())
    assert "earlier" not in files_of(whole)


async def test_the_policies_that_entries_name_are_in_the_pack(dsn: str, forty: None) -> None:
    policies = [Policy("v1", None, "p, one"), Policy("v2", AT, "p, two"), Policy("v3", AT, "p, three")]
    _, pack = await packed(dsn, Filters(until=AT + timedelta(seconds=10)), *policies)
    found = files_of(pack)
    assert [name for name in found if name.startswith("policies/")] == ["policies/v1.csv"]
    assert json.loads(found["manifest.json"])["policies"] == {"v1": ""}


async def test_no_login_is_a_formula_in_the_table(dsn: str, log: AuditLog, keeper: Keeper, make: Any) -> None:
    await log.append(make(actor_login='=HYPERLINK("http://x")'))
    await keeper.seal("demo")
    _, pack = await packed(dsn, Filters())
    (row,) = csv.DictReader(io.StringIO(files_of(pack)["events.csv"].decode("utf-8-sig")))
    assert row["actor_login"].startswith("'=")
    assert verdict(pack)


@pytest.mark.parametrize("login", ["a\r\nb", "\r", 'a "b", c', "'=1", "\t@x", "王芳", "\u2028", "a\\", ""])
async def test_the_table_is_held_against_the_entries_whatever_a_login_holds(
    login: str, dsn: str, log: AuditLog, keeper: Keeper, make: Any
) -> None:
    await log.append(make(actor_login=login))
    await keeper.seal("demo")
    _, pack = await packed(dsn, Filters())
    assert verdict(pack)


async def test_what_is_not_proved_is_named(dsn: str, forty: None) -> None:
    _, pack = await packed(dsn, Filters(), Policy("v1", AT, "p, one"))
    (line,) = [line for line in verdict(pack) if line.startswith("not proved")]
    assert set(line.partition(": ")[2].split(", ")) == {
        "README.txt",
        "event.parquet",
        "policies/v1.csv",
        "sight.parquet",
        "summary.pdf",
    }


@pytest.mark.parametrize(
    ("filters", "limit"), [(Filters(record="none"), 100), (Filters(since=AT + timedelta(days=1)), 100), (Filters(), 10)]
)
async def test_what_cannot_be_packed_is_told(dsn: str, forty: None, filters: Filters, limit: int) -> None:
    with pytest.raises(PackRefused):
        await packed(dsn, filters, limit=limit)


async def test_nothing_signed_yet_is_told(dsn: str, log: AuditLog, make: Any) -> None:
    await log.append(make())
    with pytest.raises(PackRefused, match="signed"):
        await packed(dsn, Filters())


async def test_a_trail_that_was_changed_is_not_packed(dsn: str, forty: None, tamper: Any) -> None:
    await tamper("UPDATE audit_entry SET body = (SELECT body FROM audit_entry WHERE index = 3) WHERE index = 6")
    with pytest.raises(StoredLogBroken):
        await packed(dsn, Filters(record="lead-7"))


async def test_the_parquet_tables_hold_the_proved_entries_and_what_was_shown_of_whom(dsn: str, forty: None) -> None:
    _, pack = await packed(dsn, Filters(record="lead-7"))
    files = files_of(pack)
    event = pq.read_table(io.BytesIO(files["event.parquet"]))
    assert event.schema == EVENT
    assert event.column("index").to_pylist() == list(range(0, 40, 3))
    assert [one + b"\n" for one in event.column("body").to_pylist()] == files["events.jsonl"].splitlines(keepends=True)
    sight = pq.read_table(io.BytesIO(files["sight.parquet"])).to_pylist()
    assert {(one["field"], one["form"]) for one in sight} == {("phone", "masked")}
    assert len(sight) == 14


async def test_of_a_complete_pack_the_others_are_counted_and_their_hashes_proved(dsn: str, forty: None) -> None:
    asked = Filters(record="lead-7", since=AT + timedelta(seconds=5), until=AT + timedelta(seconds=33))
    made, pack = await packed(dsn, asked, complete=True)
    assert (made.range, made.entries) == (Range(5, 33), 9)
    lines = verdict(pack)
    assert "9 selected of 28 in the range 5 to 32, the other 19 withheld, their hashes proved" in lines
    assert any("each, when asked for" in line for line in lines)
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db:
        body = await store.body(db, "demo", 7)
    assert body is not None
    assert files_of(pack)["range.bin"][2 * 32 : 3 * 32] == leaf_hash(body), (
        "a withheld one that is asked for later fits"
    )
    assert body not in files_of(pack)["events.jsonl"]
    _, whole = await packed(dsn, Filters(record="lead-7"), complete=True)
    assert any(
        line.startswith("14 selected of 40 in the range 0 to 39, the other 26 withheld") for line in verdict(whole)
    )


def range_shorter(files: Files) -> Files:
    return files | {"range.bin": files["range.bin"][:-32]}


def range_one_out(files: Files) -> Files:
    return files | {"range.bin": files["range.bin"][:64] + files["range.bin"][96:]}


def range_exchanged(files: Files) -> Files:
    return files | {"range.bin": files["range.bin"][:32] + bytes(32) + files["range.bin"][64:]}


def range_moved(files: Files) -> Files:
    told = json.loads(files["range.json"])
    return files | {"range.json": json.dumps({**told, "first": told["first"] + 1}).encode()}


def range_with_more_beside(files: Files) -> Files:
    told = json.loads(files["range.json"])
    return files | {"range.json": json.dumps({**told, "outside": [*told["outside"], told["outside"][0]]}).encode()}


def range_with_less_beside(files: Files) -> Files:
    told = json.loads(files["range.json"])
    return files | {"range.json": json.dumps({**told, "outside": told["outside"][:-1]}).encode()}


@pytest.mark.parametrize(
    "forge",
    [
        range_shorter, range_one_out, range_exchanged, range_moved, range_with_more_beside, range_with_less_beside,
    ],
)  # fmt: skip
async def test_a_range_that_hides_or_exchanges_an_entry_is_not_proved(
    dsn: str, forty: None, forge: Callable[[Files], Files]
) -> None:
    asked = Filters(record="lead-7", since=AT + timedelta(seconds=5), until=AT + timedelta(seconds=33))
    _, pack = await packed(dsn, asked, complete=True)
    assert verdict(zipped(files_of(pack)))
    with pytest.raises(pack_check.Broken):
        verdict(zipped(forge(files_of(pack))))


@given(data=st.data())
def test_every_range_of_every_log_is_proved_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    first = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(first + 1, size))
    outside = [root(leaves[low:high]) for low, high in outside_ranges(first, end, size)]
    pack_check.check_range(b"".join(leaves[first:end]), first, size, outside, root(leaves))
    wrong = data.draw(st.integers(first, end - 1))
    changed = [*leaves[:wrong], bytes(32), *leaves[wrong + 1 :]]
    with pytest.raises(pack_check.Broken):
        pack_check.check_range(b"".join(changed[first:end]), first, size, outside, root(leaves))
    if end - first > 1:
        with pytest.raises(pack_check.Broken):
            pack_check.check_range(b"".join(leaves[first : end - 1]), first, size, outside, root(leaves))


async def test_a_trail_whose_withheld_entries_were_changed_gives_no_complete_pack(
    dsn: str, forty: None, tamper: Any
) -> None:
    await tamper("UPDATE audit_entry SET leaf = (SELECT leaf FROM audit_entry WHERE index = 3) WHERE index = 37")
    with pytest.raises(StoredLogBroken):
        await packed(dsn, Filters(record="lead-7", until=AT + timedelta(seconds=40)), complete=True)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["14, numbers 0 to 39", "of 40 entries in the range 0 to 39, 14 are shown and 26 withheld"]),
        ("zh", ["审计日志证据包摘要", "编号 0 至 39 共 40 条记录", "王芳"]),
    ],
)
async def test_the_summary_says_what_the_pack_holds_and_proves_in_words_that_can_be_read_out(
    dsn: str, forty: None, language: str, words: list[str]
) -> None:
    asked = Filters(record="lead-7")
    anchors = (Anchored("folder", 40, {"folder-40.checkpoint": b"note"}), Anchored("witness.example/w1", 12))
    more: dict[str, Any] = {"complete": True, "language": language, "made_by": "王芳", "anchors": anchors}
    _, pack = await packed(dsn, asked, Policy("v1", AT, "p, one"), **more)
    files = files_of(pack)
    text = " ".join(
        "".join(page.extract_text() + " " for page in PdfReader(io.BytesIO(files["summary.pdf"])).pages).split()
    )
    for word in [*words, SIGNER.verifier.vkey(origin_of("demo"))[:40], "witness.example/w1", "masked"]:
        assert word.lower() in text.lower()
    assert files["anchors/folder-40.checkpoint"] == b"note"
    assert verdict(pack)
    _, again = await packed(dsn, asked, Policy("v1", AT, "p, one"), **more)
    assert files_of(again)["summary.pdf"] == files["summary.pdf"]


@pytest.fixture
async def changed_key(dsn: str, pool: Any, forty: None, tmp_path: Path) -> tuple[bytes, str]:
    """A pack of entries 20 to 41, after another key took over at 40; and that key."""
    other = Signer(bytes(range(64, 96)))
    verifier = Verifier(other.verifier.public, EarlierKey(SIGNER.verifier.public))

    async def ask(message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(other.seed).sign(message)

    await Keeper(pool, RemoteSigner(verifier, ask), tmp_path, now=lambda: AT, before=lambda: SIGNER).seal("demo")
    handover = handover_path(tmp_path, "demo").read_text()
    asked = Filters(since=AT + timedelta(seconds=20))
    _, pack = await packed(dsn, asked, verifier=verifier, handover=handover)
    return pack, other.verifier.vkey(origin_of("demo"))


async def test_after_a_change_of_keys_a_pack_is_proved_with_either_and_its_earlier_checkpoint_too(
    changed_key: tuple[bytes, str],
) -> None:
    pack, new = changed_key
    for key in (KEY, new):
        lines = verdict(pack, key)
        assert "another key signed up to 40 entries; both keys signed the change" in lines
        assert any("grown from the checkpoint at 17 entries" in line for line in lines)
    with pytest.raises(pack_check.Broken, match="another key than"):
        verdict(pack, Signer(bytes(32)).verifier.vkey(origin_of("demo")))


async def test_a_change_of_keys_that_one_of_them_did_not_sign_is_not_proved(changed_key: tuple[bytes, str]) -> None:
    pack, new = changed_key
    files = files_of(pack)
    thief = Signer(bytes(32))
    text = files["handover"].decode().rpartition("\n\n")[0] + "\n"
    origin = origin_of("demo")
    by_thief = thief.sign(text, origin)
    forged = [
        {"handover": by_thief.encode(), "key-before": thief.verifier.vkey(origin).encode()},
        {"handover": SIGNER.sign(text, origin).encode()},
        {"key-before": thief.verifier.vkey(origin).encode()},
    ]
    for change in forged:
        with pytest.raises(pack_check.Broken):
            verdict(zipped(files | change), KEY)
    with pytest.raises(pack_check.Broken):
        verdict(zipped({name: raw for name, raw in files.items() if name not in ("handover", "key-before")}), new)


async def test_who_has_only_a_signed_checkpoint_makes_no_pack_that_its_key_proves(
    changed_key: tuple[bytes, str],
) -> None:
    """Everybody can put a signature beside another: a handover counts because the old key names the new one."""
    pack, _ = changed_key
    files = files_of(pack)
    forger, origin = Signer(bytes(32)), origin_of("demo")
    invented = b'{"invented":"entry"}'
    leaf = leaf_hash(invented)
    path = [leaf]  # of 64 entries that are all alike
    for _ in range(6):
        path.append(node_hash(path[-1], path[-1]))
    checkpoint = f"{origin}\n64\n{base64.b64encode(path.pop()).decode()}\n"
    for signed in (files["earlier"].decode(), files["handover"].decode()):  # both are signed by the old key
        text = signed.rpartition("\n\n")[0] + "\n"
        forged = {
            "checkpoint": forger.sign(checkpoint, origin).encode(),
            "events.csv": b"index,leaf\n0," + leaf.hex().encode() + b"\n",
            "events.jsonl": invented + b"\n",
            "handover": (signed + forger.sign(text, origin).rpartition("\n\n")[2]).encode(),
            "key": forger.verifier.vkey(origin).encode(),
            "key-before": KEY.encode(),
            "manifest.json": files["manifest.json"],
            "proofs.jsonl": json.dumps({"index": 0, "path": [base64.b64encode(one).decode() for one in path]}).encode()
            + b"\n",
        }
        with pytest.raises(pack_check.Broken, match="change of keys"):
            verdict(zipped(forged), KEY)


async def test_before_the_new_key_has_signed_no_pack_is_made(dsn: str, forty: None) -> None:
    verifier = Verifier(Signer(bytes(32)).verifier.public, EarlierKey(SIGNER.verifier.public))
    with pytest.raises(PackRefused, match="new key"):
        await packed(dsn, Filters(), verifier=verifier)


def entry_changed(files: Files) -> Files:
    return files | {"events.jsonl": files["events.jsonl"].replace(b'"status":200', b'"status":403', 1)}


def entry_removed(files: Files) -> Files:
    """From entries and proofs, but not from the table."""
    return files | {name: files[name].split(b"\n", 1)[1] for name in ("events.jsonl", "proofs.jsonl")}


def entry_twice(files: Files) -> Files:
    def twice(text: bytes) -> bytes:
        return text.split(b"\n", 1)[0] + b"\n" + text

    return files | {name: twice(files[name]) for name in ("events.jsonl", "proofs.jsonl")}


def entry_moved(files: Files) -> Files:
    lines = [json.loads(line) for line in files["proofs.jsonl"].splitlines()]
    lines[0]["index"] += 1
    return files | {"proofs.jsonl": "".join(json.dumps(one) + "\n" for one in lines).encode()}


def entry_invented(files: Files) -> Files:
    body = files["events.jsonl"].split(b"\n", 1)[0].replace(b'"id":"e', b'"id":"x')
    return files | {"events.jsonl": body + b"\n" + files["events.jsonl"].split(b"\n", 1)[1]}


def table_changed(files: Files) -> Files:
    return files | {"events.csv": b"\r\n".join(files["events.csv"].split(b"\r\n")[:-2]) + b"\r\n"}


def cell_changed(files: Files) -> Files:
    return files | {"events.csv": files["events.csv"].replace(b",u1,", b",u2,", 1)}


def column_added(files: Files) -> Files:
    head, *rows = files["events.csv"].split(b"\r\n")[:-1]
    lines = [b"actor," + head, *(b"u2," + row for row in rows)]
    return files | {"events.csv": b"".join(line + b"\r\n" for line in lines)}


def size_changed(files: Files) -> Files:
    return files | {"checkpoint": files["checkpoint"].replace(b"\n40\n", b"\n41\n")}


def signed_by_another(files: Files) -> Files:
    other = Signer(bytes(32))
    text = files["checkpoint"].decode().rpartition("\n\n")[0] + "\n"
    return files | {"checkpoint": other.sign(text, origin_of("demo")).encode()}


def with_another_key(files: Files) -> Files:
    other = Signer(bytes(32))
    return signed_by_another(files) | {"key": other.verifier.vkey(origin_of("demo")).encode()}


def earlier_changed(files: Files) -> Files:
    return files | {"earlier": files["checkpoint"]}


def growth_changed(files: Files) -> Files:
    return files | {"growth.json": json.dumps(json.loads(files["growth.json"])[:-1]).encode()}


def another_format(files: Files) -> Files:
    return files | {"manifest.json": files["manifest.json"].replace(pack_check.FORMAT.encode(), b"other/1")}


@pytest.mark.parametrize(
    "forge",
    [
        entry_changed, entry_removed, entry_twice, entry_moved, entry_invented, table_changed, cell_changed,
        column_added, size_changed, signed_by_another, with_another_key, earlier_changed, growth_changed,
        another_format,
    ],
)  # fmt: skip
async def test_a_forged_pack_is_not_proved(dsn: str, forty: None, forge: Callable[[Files], Files]) -> None:
    _, pack = await packed(dsn, Filters(since=AT + timedelta(seconds=20)))
    files = files_of(pack)
    assert verdict(zipped(files))
    forged = forge(files)
    assert forged != files
    with pytest.raises(pack_check.Broken):
        verdict(zipped(forged))
    with pytest.raises(pack_check.Broken):
        verdict(zipped(forged, honest=False))


async def test_without_the_auditors_key_the_pack_says_that_it_proves_less(dsn: str, forty: None) -> None:
    _, pack = await packed(dsn, Filters())
    assert any(line.startswith("WARNING") for line in verdict(pack, ""))
    assert verdict(zipped(with_another_key(files_of(pack))), "")  # which is why a key has to be given


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_changed_byte_of_entries_proofs_or_checkpoint_is_proved(
    data: st.DataObject, dsn: str, forty: None
) -> None:
    _, pack = await packed(dsn, Filters(since=AT + timedelta(seconds=20)))
    files = files_of(pack)
    name = data.draw(st.sampled_from(["events.jsonl", "checkpoint", "earlier"]))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda one: one != files[name][place]))
    changed = files[name][:place] + bytes([value]) + files[name][place + 1 :]
    with pytest.raises((pack_check.Broken, ValueError)):
        verdict(zipped(files | {name: changed}))


async def test_a_pack_of_chosen_entries_holds_those_and_says_what_was_asked(dsn: str, forty: None) -> None:
    told: list[int] = []
    wanted = Wanted(Filters(), AT, chosen=[2, 7, 41], asked={"field": "phone"}, tell=told.append)
    target = io.BytesIO()
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db, db.transaction():
        await store.snapshot(db)
        made = await write_pack(db, "demo", SIGNER.verifier, wanted, target)
    assert (made.entries, made.first, made.last, made.waiting) == (2, 2, 7, 1)
    assert told == [1, 2]
    files = files_of(target.getvalue())
    assert json.loads(files["manifest.json"])["filters"] == {"field": "phone"}
    assert any("entries in the pack: 2" in line for line in verdict(target.getvalue()))
    assert any("not proved" in line or "selection" in line for line in verdict(target.getvalue()))


async def test_a_chosen_entry_that_is_gone_is_no_pack(dsn: str, forty: None) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db, db.transaction():
        with pytest.raises(StoredLogBroken):
            await write_pack(db, "demo", SIGNER.verifier, Wanted(Filters(), AT, chosen=[2, 777]), io.BytesIO())
