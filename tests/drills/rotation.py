"""`make rotation-drill`: `crmgate keys rotate` on a filled vault, killed with SIGKILL at random points.

Each kill is one of the real command while it works; the next command goes on. Before the first key changed, at the
first kill past half of the work and at the end every value is looked for by its clear text and by an end of it, after
every other kill some of them. At the end every value opens to the same text, triggers in the database have counted how
often each was sealed and termed anew and how often the terms of its parts moved (once for each rotation), and nothing
is under the old keys. The search uses a vault of its own that lives all the time, as the server's does.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console

from gateway.database import EmbeddedPostgres, migrate, open_pool
from gateway.demo.people import make_people
from gateway.first_steps import Start, write_files
from gateway.opening import embedded_folder, open_keys
from gateway.person_keys import open_persons
from gateway.settings import Settings
from gateway.settings_file import read_settings
from kms.keyring import Keyring
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.conftest import unwalled
from tests.real.bao import Bao, bao

SEED = 20261126
TENANT = "main"
FULL, SHORT = (10_000, 20), (300, 3)
WAIT_S = 600.0
SAMPLE, AT_ONCE = 300, 8
_TRIGGER = """
CREATE TABLE drill_touched (surrogate text PRIMARY KEY, sealed int NOT NULL DEFAULT 0, termed int NOT NULL DEFAULT 0);
CREATE FUNCTION drill_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO drill_touched AS t VALUES (NEW.surrogate,
        (NEW.blob IS DISTINCT FROM OLD.blob)::int, (NEW.equal_term IS DISTINCT FROM OLD.equal_term)::int)
    ON CONFLICT (surrogate) DO UPDATE SET sealed = t.sealed + excluded.sealed, termed = t.termed + excluded.termed;
    RETURN NULL;
END $$;
CREATE TRIGGER drill_note AFTER UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION drill_note();
CREATE TABLE drill_moved (surrogate text, purpose text, moved int NOT NULL, PRIMARY KEY (surrogate, purpose));
CREATE FUNCTION drill_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO drill_moved AS m VALUES (OLD.surrogate, OLD.purpose, 1)
    ON CONFLICT (surrogate, purpose) DO UPDATE SET moved = m.moved + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER drill_move AFTER DELETE ON vault_index FOR EACH ROW EXECUTE FUNCTION drill_move();
"""
PURPOSES = ("seal", "equal", "prefix", "suffix", "part")


@dataclass
class Outcome:
    """What was seen; `wrong` is empty when all is well."""

    values: int = 0
    kills: list[int] = field(default_factory=list)
    """Share of the work done at each kill, in percent."""
    searched: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Place:
    """An installation in a folder of its own, its database running."""

    folder: Path
    settings: Settings
    dsn: str

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement."""
        with psycopg.connect(unwalled(self.dsn)) as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def said(self) -> str:
        """The last that a command said."""
        return (self.folder / "command.log").read_text(errors="replace")[-1500:]

    def command(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start `crmgate`."""
        with (self.folder / "command.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", *words], cwd=self.folder, stdout=log, stderr=log
            )


@contextmanager
def place(edit: Callable[[str], str] = lambda text: text) -> Iterator[Place]:
    """A fresh installation; edit: changes the text of its settings."""
    folder = Path(tempfile.mkdtemp(prefix="crmgate-rotation-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    file = folder / "crmgate.toml"
    write_files(
        file, Start("http://127.0.0.1:9", "generic", "https://crm.localhost:8443", "https://console.localhost:8444")
    )
    file.write_text(edit(file.read_text()))
    settings = read_settings(file)
    server = EmbeddedPostgres(embedded_folder(settings), {"fsync": "off"})
    try:
        dsn = server.start()
        migrate(dsn)
        yield Place(folder, settings, dsn)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def values_of(rng: random.Random, count: int) -> list[NewValue]:
    """Synthetic values of every kind, each at a record of its own."""
    made: dict[tuple[str, str], NewValue] = {}
    for number, person in enumerate(make_people(rng, count // 4)):
        for kind, clear in (
            ("email", person.email),
            ("phone", person.phone),
            ("id_card", person.id_card),
            ("name", person.full_name),
            ("address", person.address),
        ):
            if clear and len(made) < count:
                key = clear.casefold() if kind not in ("name", "address") else f"{clear}{number}"
                made.setdefault((kind, key), NewValue(kind, clear, Origin("contact", kind, str(number))))
    return list(made.values())


def with_openbao(bao: Bao, folder: Path) -> Callable[[str], str]:
    """Settings with an OpenBao server instead of the local keyring."""
    token = folder / "token"
    token.write_text(str(bao.client.token))
    lines = f'provider = "openbao"\naddress = "{bao.address}"\ntoken_file = "{token}"\n'
    return lambda text: text.replace("[keys]\n", f"[keys]\n{lines}", 1)


async def drill(count: int, kills: int, seed: int = SEED, edit: Callable[[str], str] = lambda text: text) -> Outcome:
    """Fill, rotate all field keys with so many kills, then the tenant key, and look."""
    rng = random.Random(seed)
    outcome = Outcome()
    with place(edit) as where:
        pool = await open_pool(where.dsn, max_size=4)
        keyring = Keyring(open_keys(where.settings), Store(pool), clock=time.monotonic)
        persons = open_persons(where.settings)
        vault = SurrogateVault(pool, keyring, persons=persons)
        try:
            await vault.start(TENANT)
            values = values_of(rng, count)
            surrogates: list[str] = []
            for at in range(0, len(values), 500):
                surrogates += await vault.tokenise(TENANT, values[at : at + 500], "c")
            outcome.values = len(values)
            pairs = list(zip(values, surrogates, strict=True))
            where.sql(_TRIGGER)
            old = where.sql("SELECT id FROM kms_key WHERE purpose = ANY(%s)", list(PURPOSES))
            await _look(vault, pairs, outcome)
            started = time.monotonic()
            await _rotate(where, vault, rng, pairs, kills, outcome)
            outcome.seconds = time.monotonic() - started
            await _look(vault, pairs, outcome)
            await _opened(vault, values, surrogates, outcome)
            await _turn(where, outcome)
            keyring.forget()  # so that every field key is unwrapped anew, by the tenant key of now
            await _opened(vault, values, surrogates, outcome)
            _prove(where, [bytes(row[0]) for row in old], len(values), outcome)  # type: ignore[arg-type]
        finally:
            await vault.close()
            await persons.close()
            await keyring.close()
            await pool.close()
    return outcome


async def _rotate(
    where: Place,
    vault: SurrogateVault,
    rng: random.Random,
    pairs: Sequence[tuple[NewValue, str]],
    kills: int,
    outcome: Outcome,
) -> None:
    """Start the command, kill it at each point, start it again; the last one comes to the end."""
    whole = len(PURPOSES) * len(pairs)
    points = sorted(rng.uniform(0.02, 0.98) for _ in range(kills))
    rate = str(max(100, len(pairs) // 8))
    process = where.command("keys", "rotate", "--rate", rate)
    for point in points:
        until = time.monotonic() + WAIT_S
        while _done(where) < point * whole and process.poll() is None and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if time.monotonic() >= until:
            outcome.wrong.append(f"stands still at {_done(where)} of {whole}")
        await asyncio.sleep(rng.uniform(0, 0.03))
        if process.poll() is not None:
            outcome.wrong.append(f"the command ended with {process.returncode} before it was killed: {where.said()}")
            return
        process.send_signal(signal.SIGKILL)
        process.wait()
        outcome.kills.append(round(100 * _done(where) / whole))
        half = outcome.kills[-1] >= 50 and not any(share >= 50 for share in outcome.kills[:-1])
        await _look(vault, pairs if half else rng.sample(pairs, min(SAMPLE, len(pairs))), outcome)
        process = where.command("keys", "rotation", "resume")
    code = await asyncio.to_thread(process.wait, WAIT_S)
    if code:
        outcome.wrong.append(f"the last command ended with {code}: {where.said()}")


async def _turn(where: Place, outcome: Outcome) -> None:
    """Rotate the tenant key above them as well, killed once right after the start of its work."""
    process = where.command("keys", "rotate", "--tenant-key")
    until = time.monotonic() + WAIT_S
    begun = "SELECT count(*) FROM job WHERE kind = 'rewrap' AND cursor <> 'null'"
    while not where.sql(begun)[0][0] and process.poll() is None and time.monotonic() < until:
        await asyncio.sleep(0.002)
    process.kill()
    process.wait()
    code = await asyncio.to_thread(where.command("keys", "rotation", "resume").wait, WAIT_S)
    if code:
        outcome.wrong.append(f"the rotation of the tenant key ended with {code}: {where.said()}")


def _done(where: Place) -> int:
    """Entries that all jobs together have looked at."""
    return int(str(where.sql("SELECT coalesce(sum(done), 0) FROM job WHERE kind = 'rotate'")[0][0]))


async def _look(vault: SurrogateVault, pairs: Sequence[tuple[NewValue, str]], outcome: Outcome) -> None:
    """Search values by their clear text and by their end: the surrogate is among what is found, alone if it must be."""

    async def one(value: NewValue, surrogate: str) -> None:
        found = await vault.find(TENANT, value.kind, value.clear)
        outcome.searched += 1
        shared = value.kind in ("name", "address")
        if surrogate not in found or (not shared and len(found) != 1):
            outcome.wrong.append(f"search for a {value.kind} found {len(found)}, kills so far: {outcome.kills}")
        if surrogate not in {one.surrogate for one in await vault.search(TENANT, value.kind, "suffix", value.clear)}:
            outcome.wrong.append(f"search for the end of a {value.kind} misses it, kills so far: {outcome.kills}")

    for at in range(0, len(pairs), AT_ONCE):
        await asyncio.gather(*(one(*pair) for pair in pairs[at : at + AT_ONCE]))


async def _opened(vault: SurrogateVault, values: list[NewValue], surrogates: list[str], outcome: Outcome) -> None:
    """Every surrogate opens to its text, read from the database anew."""
    vault._opened.drop_all()
    opened = await vault.resolve(TENANT, surrogates)
    lost = sum(
        surrogate not in opened or opened[surrogate].clear != value.clear
        for value, surrogate in zip(values, surrogates, strict=True)
    )
    if lost:
        outcome.wrong.append(f"{lost} values are lost or changed")


def _prove(where: Place, old: list[bytes], count: int, outcome: Outcome) -> None:
    """What the database says in the end."""
    under = where.sql(
        "SELECT (SELECT count(*) FROM vault WHERE seal_key = ANY(%s) OR equal_key = ANY(%s)"
        " OR substring(blob FROM 2 FOR 4) = ANY(%s)) + (SELECT count(*) FROM vault_term WHERE equal_key = ANY(%s))"
        " + (SELECT count(*) FROM vault_origin WHERE substring(spelling FROM 2 FOR 4) = ANY(%s))"
        " + (SELECT count(*) FROM vault_index WHERE key = ANY(%s))",
        *[old] * 6,
    )
    if under[0][0] != 0:
        outcome.wrong.append(f"{under[0][0]} still under an old key")
    once = where.sql("SELECT count(*) FROM drill_touched WHERE sealed = 1 AND termed = 1")[0][0]
    touched = where.sql("SELECT count(*) FROM drill_touched")[0][0]
    if (once, touched) != (count, count):
        outcome.wrong.append(f"{once} of {touched} touched and {count} stored values were renewed exactly once")
    moved, once = where.sql("SELECT count(*), count(*) FILTER (WHERE moved = 1) FROM drill_moved")[0]
    if (moved, once) != (3 * count, 3 * count):
        outcome.wrong.append(f"terms of {moved} parts of {count} values moved, {once} exactly once")
    states = dict(where.sql("SELECT state, count(*) FROM job GROUP BY state"))
    if set(states) != {"done"}:
        outcome.wrong.append(f"jobs: {states}")
    kept = where.sql("SELECT count(*) FROM kms_key WHERE id = ANY(%s) AND state <> 'retired'", old)[0][0]
    if kept != 0:
        outcome.wrong.append(f"{kept} of {len(old)} old keys are not retired")
    if (
        where.sql(
            "SELECT count(*) FROM kms_key WHERE substring(wrapped FROM 1 FOR 9) = 'vault:v1:'"
            " OR substring(wrapped FROM 1 FOR 1) = '\\x01'"
        )[0][0]
        != 0
    ):
        outcome.wrong.append("field keys are still wrapped under the first version of the tenant key")
    for operation in ("keys.rotate.begin", "keys.rotate.end"):
        noted = where.sql(
            "SELECT count(DISTINCT convert_from(body, 'utf8')::jsonb->'fields'->>'target') FROM"
            " audit_entry WHERE convert_from(body, 'utf8')::jsonb->>'operation' = %s",
            operation,
        )[0][0]
        if noted != where.sql("SELECT count(*) FROM job")[0][0]:
            outcome.wrong.append(f"{noted} entries {operation} in the audit trail")


def main() -> int:
    """Run it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="make rotation-drill", description=__doc__)
    parser.add_argument("--values", type=int, default=FULL[0])
    parser.add_argument("--kills", type=int, default=FULL[1])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--openbao", action="store_true", help="keys in a real OpenBao server, not in a local file")
    given = parser.parse_args()
    console = Console(highlight=False, width=120)
    if given.openbao:
        with bao() as server, tempfile.TemporaryDirectory() as folder:
            edit = with_openbao(server, Path(folder))
            outcome = asyncio.run(drill(given.values, given.kills, given.seed, edit))
    else:
        outcome = asyncio.run(drill(given.values, given.kills, given.seed))
    console.print(f"values {outcome.values}, kills at % of the work: {', '.join(map(str, outcome.kills))}")
    console.print(f"searches by clear value {outcome.searched}, seconds {outcome.seconds:.0f}")
    for line in outcome.wrong[:20]:
        console.print(line, style="red", markup=False)
    console.print(f"{len(outcome.wrong)} wrong", style="bold red" if outcome.wrong else "bold green")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
