"""`python -m tests.bench.kms`: what keys, suites, surrogates, digits and files cost, a field and a record.

CPU microseconds of this process, and the wall clock where a server works for it, medians over rounds. In every round
all rows are measured one after the other, and each ratio (of CPU) is taken inside its round against plain AES-256-GCM
of the same value with a prepared key: ratios count, microseconds belong to the machine, waiting to who else uses it.
"""

import argparse
import asyncio
import json
import os
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.database import EmbeddedPostgres, migrate, open_pool
from kms import cell, fpe
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.envelope import SUITES, Context, FieldKey, Sealing, open_, seal
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_epochs import LocalEpochs
from kms.original import open_value, seal_value
from kms.person_store import sqlite_store
from kms.persons import Persons
from kms.store import Store
from kms.stream import CHUNK_BYTES, StreamSealer
from kms.stream_flow import StoredFile, open_pieces, seal_pieces
from kms.suites.aes_gcm import AES_256_GCM
from kms.suites.sm4_gcm import SM4_GCM
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.real.bao import Bao, bao

TENANT = "bench"
PLACE = Context(TENANT, "bench", "contact", "mobile", "4711")
VALUE = b"13800138000"
RECORD = [VALUE, b"someone.else@example.com", b"11010519491231002X", "张伟".encode(), b"1976-02-29", bytes(90)]
"""Six fields as a contact has them; an address of 90 bytes last."""
FIELDS = len(RECORD)
MEGABYTE = 1024 * 1024
CALLS, SLOW_CALLS = 2000, 60
PLAIN, PLAIN_OPEN, RAW = "plain AES-256-GCM seal", "plain AES-256-GCM open", "plain AES-256-GCM on 64 KiB chunks"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: work is done `calls` times a round; values or bytes that one call handles; base: the row to compare."""

    name: str
    work: Callable[[], object]
    base: str
    calls: int = CALLS
    part: str = "field"
    size: int = 0


@dataclass(frozen=True, slots=True)
class Waited:
    """The same for work that waits for a server: wall clock."""

    name: str
    work: Callable[[], Awaitable[object]]
    base: str
    calls: int = SLOW_CALLS
    part: str = "field"


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of a row: CPU microseconds a call, the wall clock where it waits, MB/s where bytes count, CPU by base."""

    name: str
    part: str
    us: float
    waited: float
    per_second: float
    ratio: float


def main() -> int:
    """Measure and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--short", action="store_true", help="3 rounds, a quarter of the calls")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rounds, share = (3, 4) if options.short else (options.rounds, 1)
    with tempfile.TemporaryDirectory(prefix="crmgate-bench-kms-") as folder, bao() as server:
        Path(folder).chmod(0o755)  # the database server may run under an account of its own
        with EmbeddedPostgres(Path(folder) / "database") as postgres:
            migrate(postgres.dsn)
            found = asyncio.run(_measure(rounds, share, postgres.dsn, Path(folder), server))
    print_figures(Console(width=max(Console().width, 130)), found)
    if options.json is not None:
        options.json.write_text(
            json.dumps([[one.name, one.part, one.us, one.waited, one.ratio] for one in found], indent=1)
        )
    return 0


async def _measure(rounds: int, share: int, dsn: str, folder: Path, server: Bao) -> list[Figure]:
    pool = await open_pool(dsn, max_size=4)
    provider = LocalProvider.create(folder / "keyring", secrets.token_bytes(32))
    keyring = Keyring(provider, Store(pool), clock=time.monotonic)
    vault = SurrogateVault(pool, keyring)
    keeper = LocalEpochs(folder / "persons.keyring", secrets.token_bytes(32))
    persons = Persons(sqlite_store(folder / "persons.db"), lambda _: keeper, clock=time.monotonic)
    held = SurrogateVault(pool, keyring, persons=persons)
    cells = Cells(CellStore(pool), keyring, lambda _: Sealing())
    try:
        await vault.start(TENANT)
        rows: list[Row | Waited] = [*_envelope_rows(), *_file_rows()]
        rows += await _vault_rows(vault)
        rows += await _person_rows(vault, held, persons)
        rows += await _cell_rows(cells)
        rows += await _key_rows(keyring, server)
        seen = [
            {(row.name, row.part): await _once(row, max(1, row.calls // share)) for row in rows} for _ in range(rounds)
        ]
    finally:
        await vault.close()
        await held.close()
        await persons.close()
        await keyring.close()
        await pool.close()
    return [_figure(row, seen) for row in rows]


async def _once(row: Row | Waited, calls: int) -> tuple[float, float]:
    """Microseconds of one call: CPU and wall clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    if isinstance(row, Waited):
        for _ in range(calls):
            await row.work()
    else:
        for _ in range(calls):
            row.work()
    return (time.process_time() - cpu) / calls * 1e6, (time.perf_counter() - wall) / calls * 1e6


def _figure(row: Row | Waited, seen: list[dict[tuple[str, str], tuple[float, float]]]) -> Figure:
    us = median(one[row.name, row.part][0] for one in seen)
    waited = median(one[row.name, row.part][1] for one in seen) if isinstance(row, Waited) else 0.0
    size = row.size if isinstance(row, Row) else 0
    base = {RAW: "4 MiB", _ALONE: "page of 100"}.get(row.base, "field")
    ratio = median(one[row.name, row.part][0] / one[row.base, base][0] for one in seen)
    return Figure(row.name, row.part, us, waited, size / us if size else 0.0, ratio)


def _envelope_rows() -> Iterator[Row]:
    key = FieldKey(b"\x01\x02\x03\x04", secrets.token_bytes(32))
    keys, nonce = {key.id: key}, secrets.token_bytes(12)
    plain = AESGCM(key.secret)
    sealed = plain.encrypt(nonce, VALUE, b"header")
    yield Row(PLAIN, lambda: plain.encrypt(nonce, VALUE, b"header"), PLAIN)
    yield Row(PLAIN_OPEN, lambda: plain.decrypt(nonce, sealed, b"header"), PLAIN_OPEN)
    for suite in SUITES.values():
        for sealing in (Sealing(suite, legacy=True), Sealing(suite, committed=True, legacy=True)):
            name = f"G1 {suite.name}" + (", committed" if sealing.committed else "")
            blob = seal(key, VALUE, PLACE, nonce, pad_to=16, sealing=sealing)
            blobs = [seal(key, one, PLACE, nonce, pad_to=16, sealing=sealing) for one in RECORD]

            def seal_one(sealing: Sealing = sealing) -> object:
                return seal(key, VALUE, PLACE, os.urandom(12), pad_to=16, sealing=sealing)

            def open_record(blobs: list[bytes] = blobs) -> object:
                return [open_(keys, one, PLACE) for one in blobs]

            yield Row(f"{name} seal", seal_one, PLAIN)
            yield Row(f"{name} open", lambda blob=blob: open_(keys, blob, PLACE), PLAIN_OPEN)  # type: ignore[misc]
            if not sealing.committed:
                yield Row(f"{name} open", open_record, PLAIN_OPEN, CALLS // FIELDS, f"record of {FIELDS}")
    typed = seal_value(key, 42, PLACE, nonce, pad_to=16)
    text = cell.write(typed)
    yield Row("G1 aes-256-gcm open, integer", lambda: open_value(keys, typed, PLACE), PLAIN_OPEN)
    yield Row("cell text to envelope", lambda: cell.read(text), PLAIN_OPEN)
    digits = fpe.encrypt(key, "622202000000", PLACE)
    yield Row("FF1 seal, 12 digits", lambda: fpe.encrypt(key, "622202000000", PLACE), PLAIN)
    yield Row("FF1 open, 12 digits", lambda: fpe.decrypt(key, digits, PLACE), PLAIN_OPEN)


def _file_rows() -> Iterator[Row]:
    key = FieldKey(b"\x01\x02\x03\x04", secrets.token_bytes(32))
    keys, piece, count = {key.id: key}, secrets.token_bytes(CHUNK_BYTES), 64
    size = count * CHUNK_BYTES
    plain, nonce = AESGCM(key.secret), secrets.token_bytes(12)

    def drain(pieces: Iterator[bytes]) -> int:
        return sum(len(one) for one in pieces)

    def raw() -> None:
        for _ in range(count):
            plain.encrypt(nonce, piece, b"header")

    yield Row(RAW, raw, RAW, 6, "4 MiB", size)
    for suite in (AES_256_GCM, SM4_GCM):

        def sealer(suite: object = suite) -> StreamSealer:
            assert suite is AES_256_GCM or suite is SM4_GCM
            return StreamSealer(key, PLACE, secrets.token_bytes(32), suite=SM4_GCM if suite is SM4_GCM else AES_256_GCM)

        stored = list(seal_pieces(sealer(), [piece] * count))
        whole = b"".join(stored)
        calls = 6 if suite is AES_256_GCM else 2

        def seal_file(sealer: Callable[[], StreamSealer] = sealer) -> object:
            return drain(seal_pieces(sealer(), [piece] * count))

        def open_file(stored: list[bytes] = stored) -> object:
            return drain(open_pieces(keys, PLACE, stored))

        def read_range(whole: bytes = whole) -> object:
            file = StoredFile.open(keys, PLACE, len(whole), lambda start, size: whole[start : start + size])
            return drain(file.range(size // 2, size // 2 + 1024, lambda start, size: whole[start : start + size]))

        yield Row(f"stream {suite.name} seal", seal_file, RAW, calls, "4 MiB", size)
        yield Row(f"stream {suite.name} open", open_file, RAW, calls, "4 MiB", size)
        yield Row(f"stream {suite.name}, head, end and 1 KiB of it", read_range, PLAIN_OPEN, SLOW_CALLS, "range")


async def _vault_rows(vault: SurrogateVault) -> list[Row | Waited]:
    def value(number: int, kind: str = "email") -> NewValue:
        clear = f"someone{number}@example.com" if kind == "email" else f"张{number}"
        return NewValue(kind, clear, Origin("contact", kind, str(number)))

    known = await vault.tokenise(TENANT, [value(number) for number in range(300)], "c")
    fresh = iter(range(1000, 10**9))
    await vault.resolve(TENANT, known)

    async def resolve(count: int) -> None:
        vault._opened.drop_all()
        assert len(await vault.resolve(TENANT, known[:count])) == count

    async def tokenise() -> None:
        await vault.tokenise(TENANT, [value(next(fresh)) for _ in range(FIELDS)], "c")

    def cached(count: int) -> None:
        _, missing = vault.cached(TENANT, known[:count])
        if missing:
            raise AssertionError(missing)

    async def warm() -> None:
        await vault.resolve(TENANT, known)  # origins are believed for seconds only
        start = time.perf_counter()
        while time.perf_counter() - start < 0.0005:
            cached(FIELDS)

    return [
        Waited("surrogates, not cached (PostgreSQL and opening)", lambda: resolve(1), PLAIN_OPEN),
        Waited("surrogates, not cached", lambda: resolve(FIELDS), PLAIN_OPEN, part=f"record of {FIELDS}"),
        Waited("surrogates, not cached", lambda: resolve(300), PLAIN_OPEN, 20, f"page of 50 x {FIELDS}"),
        Waited("(warming the cache)", warm, PLAIN_OPEN, 1),
        Row("surrogate, cached", lambda: cached(1), PLAIN_OPEN),
        Row("surrogates, cached", lambda: cached(FIELDS), PLAIN_OPEN, part=f"record of {FIELDS}"),
        Row("surrogates, cached", lambda: cached(300), PLAIN_OPEN, 50, f"page of 50 x {FIELDS}"),
        Waited("new values to surrogates, durable", tokenise, PLAIN, part=f"record of {FIELDS}"),
    ]


_ALONE = "values of 100 records, not cached, field keys alone"


async def _person_rows(alone: SurrogateVault, held: SurrogateVault, persons: Persons) -> list[Row | Waited]:
    """Each value of another record: a person key each, against the same without person keys."""

    def values(prefix: str) -> list[NewValue]:
        return [
            NewValue("name", f"{prefix}{number}", Origin("contact", "name", f"{prefix}{number}"))
            for number in range(100)
        ]

    plain, kept = await alone.tokenise(TENANT, values("a"), "c"), await held.tokenise(TENANT, values("h"), "c")
    fresh = iter(range(10**6, 10**9))

    async def read(vault: SurrogateVault, surrogates: list[str], forget: bool) -> None:
        vault._opened.drop_all()
        if forget:
            persons._held.clear()
        assert len(await vault.resolve(TENANT, surrogates)) == 100

    async def write() -> None:
        some = [str(next(fresh)) for _ in range(FIELDS)]
        await held.tokenise(TENANT, [NewValue("name", one, Origin("contact", "name", some[0])) for one in some], "c")

    return [
        Waited(_ALONE, lambda: read(alone, plain, False), _ALONE, part="page of 100"),
        Waited("the same with person keys, none in memory", lambda: read(held, kept, True), _ALONE, part="page of 100"),
        Waited("the same with person keys in memory", lambda: read(held, kept, False), _ALONE, part="page of 100"),
        Waited("new values of a new person, durable in both stores", write, PLAIN, part=f"record of {FIELDS}"),
    ]


async def _cell_rows(cells: Cells) -> list[Row | Waited]:
    known = await cells.seal(TENANT, "contact", "note", [("x" * 40, "1")] * FIELDS)
    fresh = await cells.seal(TENANT, "contact", "note", [("x" * 40, None)] * FIELDS)
    await cells.bind(TENANT, "contact", "note", "1", fresh)

    async def open_cells(texts: list[str], forget: bool) -> None:
        if forget:
            cells._bound.clear()
        opened = await cells.open(TENANT, "contact", "note", [(text, "1") for text in texts])
        assert None not in opened

    record = f"record of {FIELDS}"
    return [
        Waited("cells of a known record, open", lambda: open_cells(known, False), PLAIN_OPEN, CALLS // 10, record),
        Waited("cells with an id, open, binding cached", lambda: open_cells(fresh, False), PLAIN_OPEN, 200, record),
        Waited("cells with an id, open, binding not cached", lambda: open_cells(fresh, True), PLAIN_OPEN, part=record),
    ]


async def _key_rows(keyring: Keyring, server: Bao) -> list[Row | Waited]:
    transit = server.client.secrets.transit
    transit.create_key(name="bench")
    wrapped = transit.encrypt_data(name="bench", plaintext="A" * 44)["data"]["ciphertext"]

    async def local() -> None:
        keyring.forget()
        await keyring.field_key(TENANT, "email", "seal")

    async def service() -> None:
        await asyncio.to_thread(transit.decrypt_data, name="bench", ciphertext=wrapped)

    return [
        Waited("field key, cached", lambda: keyring.field_key(TENANT, "email", "seal"), PLAIN_OPEN, CALLS, "key"),
        Waited("field key, local keyring (store and unwrap)", local, PLAIN_OPEN, part="key"),
        Waited("field key, one call to a real OpenBao", service, PLAIN_OPEN, part="key"),
    ]


def print_figures(console: Console, found: list[Figure]) -> None:
    """The cost table."""
    table = Table(title="What protecting a value costs", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("work")
    table.add_column("of a")
    for heading in ("CPU µs", "wall µs", "MB/s", "CPU x plain AES-256-GCM"):
        table.add_column(heading, justify="right")
    for one in found:
        if not one.name.startswith("("):
            speed = f"{one.per_second * 1e6 / MEGABYTE:,.0f}" if one.per_second else ""
            waited = f"{one.waited:,.0f}" if one.waited else ""
            table.add_row(one.name, one.part, f"{one.us:,.2f}", waited, speed, f"{one.ratio:,.2f}")
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
