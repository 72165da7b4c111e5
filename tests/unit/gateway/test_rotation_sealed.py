"""What is sealed outside the vault moves to new keys, nothing is written under old ones, and no column is forgotten."""

import ast
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
import pytest

from gateway.composition_durable import rotation_of
from gateway.database import Pool
from gateway.identity import crm_login, signing_key
from gateway.identity.sealing import SCOPE as IDENTITY
from gateway.identity.sealing import IdentitySealer
from gateway.protect import change
from gateway.protect.credential import Credential, Credentials
from gateway.protect.store import ProtectStore
from gateway.rotation_sealed import COLUMNS
from gateway.rotation_store import Place
from gateway.sealing import KeyringSealer, of_user
from gateway.settings import Settings
from gateway.settings_file import build_settings
from kms.beside import Beside
from kms.cell_store import CellRow, CellStore
from kms.digit_store import DigitStore
from kms.digits import DigitField, Digits
from kms.envelope import DEFAULT, NONCE_BYTES, key_id, open_, seal
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_epochs import LocalEpochs
from kms.marked_digits import Check
from kms.person_store import sqlite_store
from kms.persons import Persons
from kms.rotation import End, Rotation
from kms.rotation_store import NotRotatable
from kms.store import Store
from tests.unit.gateway.glue import SECRET

T, USERS = "main", 7
ROOT = Path(__file__).parents[3]
ACCESS, PROTECT, BORN, DIGITS = "gateway.access", "gateway.protect", ("contact", "birthday"), ("contact", "number")


@dataclass
class Site:
    """A keyring, everything sealed under it, and its rotation."""

    pool: Pool
    keyring: Keyring
    sealer: KeyringSealer
    credentials: Credentials
    beside: Beside
    identity: IdentitySealer
    rotation: Rotation

    async def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return list(await cursor.fetchall()) if cursor.description else []

    async def rotate(self, scope: str, most: int = 2) -> bytes:
        """Switch and move everything; the old key."""
        old = await self.rotation.current(T, scope, "seal")
        assert await self.rotation.switch(T, scope, "seal", old)
        await self.walk(scope, most)
        return old

    async def walk(self, scope: str, most: int = 2) -> tuple[int, int]:
        """How many were moved and how many do not open."""
        after: str | None = ""
        changed = damaged = 0
        while after is not None:
            page = await self.rotation.renew(T, scope, "seal", after, most)
            after, changed, damaged = page.after, changed + page.changed, damaged + page.damaged
        return changed, damaged


@pytest.fixture
async def site(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Site]:
    keyring = Keyring(LocalProvider(keyring_path, SECRET), Store(pool), clock=time.monotonic)
    settings: Settings = build_settings({"tenant": {T: {"upstream": "http://127.0.0.1:9"}}}, Path("/n/crmgate.toml"))
    keeper = LocalEpochs(tmp_path / "persons.keyring", SECRET)
    persons = Persons(sqlite_store(tmp_path / "persons.db"), lambda _: keeper, clock=time.monotonic)
    made = Site(
        pool,
        keyring,
        KeyringSealer(keyring, secrets.token_bytes, lambda _: DEFAULT),
        Credentials(ProtectStore(pool), keyring, secrets.token_bytes, lambda _: DEFAULT),
        Beside(CellStore(pool), keyring, lambda _: DEFAULT, persons=persons),
        IdentitySealer(keyring, secrets.token_bytes, lambda _: DEFAULT),
        rotation_of(settings, pool, keyring, persons),
    )
    await _fill(made)
    yield made
    await persons.close()
    await keyring.close()


async def _fill(site: Site) -> None:
    for number in range(USERS):
        sealed = await site.sealer.seal(T, b"secret%d" % number, b"app_user.totp_secret:u%d" % number)
        await site.sql(
            "INSERT INTO app_user (tenant, id, login, login_key, totp_secret, created_at)"
            " VALUES (%s, %s, %s, %s, %s, now())",
            *(T, f"u{number}", f"l{number}", f"l{number}", sealed),
        )
        await site.sql(
            "INSERT INTO app_invitation (tenant, token_hash, user_id, totp_secret, invited_by, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, 'x', now(), now())",
            *(T, bytes([200 - number]), f"u{number}", sealed),
        )
        await site.beside.keep(T, *BORN, date(1980, 1, 1 + number), record=f"r{number}", cell="")
    for number in range(USERS):
        blob = await site.identity.seal(T, crm_login.TABLE, f"u{number}", b"crm%d" % number)
        await site.sql(
            "INSERT INTO crm_login (tenant, holder, login, blob, set_by, set_at) VALUES (%s, %s, 'l', %s, 'x', now())",
            *(T, f"u{number}", blob),
        )
    await site.sql(
        "INSERT INTO crm_login (tenant, holder, login, set_by, set_at) VALUES (%s, 'named', 'l', 'x', now())", T
    )
    await site.sql(
        "INSERT INTO identity_key (tenant, id, algorithm, public, blob, made_at)"
        " VALUES (%s, 'k', 'ES256', '{}', %s, now())",
        *(T, await site.identity.seal(T, signing_key.TABLE, "k", b"private")),
    )
    await site.beside.keep(T, *BORN, date(1990, 1, 1), record=None, cell="waits")
    await site.credentials.keep(T, Credential("robot", "pass word"))
    key = await site.keyring.field_key(T, PROTECT, "seal")
    kept = seal(key, b'{"a":["b","c"]}', change.kept_place(T, "contact", "9"), os.urandom(NONCE_BYTES), pad_to=64)
    await site.sql("INSERT INTO protect_run (tenant, id, way, state, rate) VALUES (%s, 'p', 'interface', 'done', 0)", T)
    digest = await site.keyring.field_key(T, PROTECT, "equal")
    await site.sql(
        "INSERT INTO protect_record (tenant, run, step, entity, record, state, kept, fields)"
        " VALUES (%s, 'p', 0, 'contact', '9', 'placed', %s, %s)",
        *(T, kept, f'{{"a": {{"before": "{digest.id.hex()}:00", "after": "{digest.id.hex()}:11"}}}}'),
    )


async def _everything_opens(site: Site) -> None:
    site.keyring.forget()
    for table, column in (("app_user", "id"), ("app_invitation", "user_id")):
        rows = await site.sql(f"SELECT {column}, totp_secret FROM {table}")
        assert len(rows) == USERS
        for user, sealed in rows:
            context = f"app_user.totp_secret:{user}".encode()
            assert await site.sealer.open(T, bytes(sealed), context) == b"secret" + str(user)[1:].encode()  # type: ignore[call-overload]

    for holder, blob in await site.sql("SELECT holder, blob FROM crm_login WHERE blob IS NOT NULL"):
        opened = await site.identity.open(T, crm_login.TABLE, str(holder), bytes(blob))  # type: ignore[call-overload]
        assert opened == b"crm" + str(holder)[1:].encode()
    ((private,),) = await site.sql("SELECT blob FROM identity_key")
    assert await site.identity.open(T, signing_key.TABLE, "k", bytes(private)) == b"private"  # type: ignore[call-overload]

    async def used() -> None:
        return None

    assert (await site.credentials.open(T, used)).password == "pass word"
    dates = await site.beside.read(T, *BORN, [f"r{number}" for number in range(USERS)])
    assert dates == {f"r{number}": date(1980, 1, 1 + number) for number in range(USERS)}
    ((kept,),) = await site.sql("SELECT kept FROM protect_record")
    blob = bytes(kept)  # type: ignore[call-overload]
    keys = await site.keyring.by_id(T, {key_id(blob)})
    assert open_(keys, blob, change.kept_place(T, "contact", "9")) == b'{"a":["b","c"]}'


@pytest.mark.parametrize(
    ("scope", "count"),
    [(ACCESS, 2 * USERS), (PROTECT, 2), (IDENTITY, USERS + 1), ("beside/contact/birthday", USERS + 1)],
)
async def test_everything_sealed_moves_to_the_new_key_and_opens_as_before(site: Site, scope: str, count: int) -> None:
    assert site.rotation.end(scope, "seal") is End.RETIRED
    assert await site.rotation.total(T, scope, "seal") == count
    old = await site.rotation.current(T, scope, "seal")
    assert await site.rotation.left(T, scope, "seal", old) == count
    await site.rotation.switch(T, scope, "seal", old)
    await _everything_opens(site)
    assert await site.walk(scope) == (count, 0)
    assert await site.rotation.left(T, scope, "seal", old) == 0
    assert await site.walk(scope) == (0, 0)  # a page done twice changes nothing
    await site.rotation.retire(T, old)
    await _everything_opens(site)
    await site.beside.bind(T, "waits", "contact", "w")
    assert await site.beside.read(T, *BORN, ["w"]) == {"w": date(1990, 1, 1)}


async def test_other_fields_kept_beside_the_crm_are_under_keys_of_their_own(site: Site) -> None:
    await site.beside.keep(T, "contact", "married", date(2001, 2, 3), record="r1", cell="")
    await site.rotate("beside/contact/married")
    assert await site.beside.read(T, "contact", "married", ["r1"]) == {"r1": date(2001, 2, 3)}
    current = await site.rotation.current(T, "beside/contact/birthday", "seal")
    assert await site.rotation.left(T, "beside/contact/birthday", "seal", current) == USERS + 1


async def test_what_does_not_open_is_counted_and_the_old_key_stays_for_it(site: Site) -> None:
    await site.sql("UPDATE app_user SET totp_secret = set_byte(totp_secret, 30, get_byte(totp_secret, 30) # 1)"
                   " WHERE id = 'u3'")  # fmt: skip
    old = await site.rotation.current(T, ACCESS, "seal")
    await site.rotation.switch(T, ACCESS, "seal", old)
    assert await site.walk(ACCESS) == (2 * USERS - 1, 1)
    assert await site.rotation.left(T, ACCESS, "seal", old) == 1


async def test_nothing_is_written_under_a_replaced_key_whoever_writes(site: Site) -> None:
    """A process that has not heard of the change: every sealed column refuses it, and takes what is under the new."""
    for scope in (ACCESS, PROTECT, IDENTITY, "beside/contact/birthday"):
        stale = await site.keyring.field_key(T, scope, "seal")
        await site.rotate(scope)
        fresh = await site.keyring.field_key(T, scope, "seal")
        places = [one.place for one in COLUMNS if one.chosen(scope) is not None]
        for place in places or [Place("vault_beside", "blob", ())]:
            for key, refused in ((stale, True), (fresh, False)):
                blob = seal(key, b"x", of_user(T, "u"), os.urandom(NONCE_BYTES))
                statement = f"UPDATE {place.table} SET {place.column} = %s WHERE tenant = %s"
                if refused:
                    with pytest.raises(psycopg.errors.RaiseException):
                        await site.sql(statement, blob, T)
                else:
                    await site.sql(statement, blob, T)


async def test_the_change_of_a_key_waits_for_who_writes_under_the_old_one(site: Site) -> None:
    old = await site.rotation.current(T, ACCESS, "seal")
    sealed = await site.sealer.seal(T, b"late", b"app_user.totp_secret:u0")
    async with site.pool.connection() as writer:
        await writer.execute("UPDATE app_user SET totp_secret = %s WHERE id = 'u0'", (sealed,))
        async with site.pool.connection() as other:
            cursor = await other.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended('crmgate keys ' || %s, 0))", (T,)
            )
            assert await cursor.fetchone() == (False,)  # what the change of a key takes
    await site.rotation.switch(T, ACCESS, "seal", old)
    await site.walk(ACCESS)
    assert await site.rotation.left(T, ACCESS, "seal", old) == 0


async def test_keyed_digests_of_protected_fields_are_still_confirmed_and_counted(site: Site) -> None:
    old = await site.rotation.current(T, PROTECT, "equal")
    assert site.rotation.end(PROTECT, "equal") is End.VERIFY
    await site.rotation.switch(T, PROTECT, "equal", old)
    assert await site.rotation.left(T, PROTECT, "equal", old) == 1
    assert set(await site.keyring.by_id(T, {old})) == {old}
    assert (await site.keyring.field_key(T, PROTECT, "equal")).id != old
    assert await site.sql("SELECT state FROM kms_key WHERE id = %s", old) == [("verify",)]


async def test_digits_and_files_in_the_crm_are_counted_not_claimed(site: Site) -> None:
    """The old key stays live for them, and what is written afterwards is not among them."""
    digits, field = Digits(DigitStore(site.pool), site.keyring, lambda _: False), DigitField(*DIGITS, Check.LUHN)
    for number in ("73282932000074", "41816609600069"):
        await digits.seal(T, field, number)
    old = await site.rotation.current(T, "ff1/contact/number", "ff1")
    assert site.rotation.end("ff1/contact/number", "ff1") is End.STANDING
    await site.rotation.switch(T, "ff1/contact/number", "ff1", old)
    stands = await digits.seal(T, field, "35600000000048")
    assert await site.rotation.left(T, "ff1/contact/number", "ff1", old) == 2
    assert await digits.open(T, field, [stands]) == {stands: "35600000000048"}

    cells = CellStore(site.pool)
    await site.keyring.field_key(T, "file/document/content", "seal")
    await cells.note_cell(T, b"12345678", CellRow("document", "content", ""))
    old = await site.rotation.current(T, "file/document/content", "seal")
    await site.rotation.switch(T, "file/document/content", "seal", old)
    await cells.note_cell(T, b"87654321", CellRow("document", "content", ""))
    await cells.settle_cells(T, [b"12345678"], "document", "5")
    assert await site.rotation.left(T, "file/document/content", "seal", old) == 1
    assert await site.sql("SELECT state FROM kms_key WHERE id = %s", old) == [("live",)]
    # What an erasure has made unreadable needs no key any more.
    await site.sql("UPDATE vault_cell SET held = true, erased_at = now() WHERE cell = %s RETURNING 1", b"12345678")
    assert await site.rotation.left(T, "file/document/content", "seal", old) == 0


async def test_a_key_that_nobody_covers_stops_the_rotation_of_all_before_it_begins(site: Site) -> None:
    await site.keyring.field_key(T, "something.new", "seal")
    assert ("something.new", "seal") in await site.rotation.used(T)
    with pytest.raises(NotRotatable):
        site.rotation.end("something.new", "seal")


# -- nothing is forgotten ------------------------------------------------------------------------------------------

# kms.rotation and kms.beside_rotation move them
VAULT = {("vault", "blob"), ("vault_origin", "spelling"), ("vault_term", "alias"), ("vault_beside", "blob")}
NOT_SEALED = {
    "ids, hashes and terms of keys that are rotated": {
        ("kms_key", "id"), ("kms_key", "wrapped"), ("kms_key", "commitment"), ("kms_destruction", "key_ids"),
        ("vault", "equal_term"), ("vault", "equal_key"), ("vault", "seal_key"), ("vault_term", "term"),
        ("vault_term", "equal_key"), ("vault_index", "key"), ("vault_cell", "cell"), ("vault_beside", "seal_key"),
    },
    "what stands in a cell of the CRM, whose keys stay live": {("vault_cell", "blob")},
    "marks of digits in the CRM, whose keys stay live": {("vault_digits", "mark"), ("vault_digits", "ff1_key")},
    "under person keys, which the turn of their epoch wraps anew": {
        ("vault_holder", "id"), ("vault_wrap", "holder"), ("vault_wrap", "wrapped"), ("kms_shredding", "holders"),
        ("vault_cell_wrap", "cell"), ("vault_cell_wrap", "holder"), ("vault_cell_wrap", "wrapped"),
        ("vault_beside", "holder"), ("vault_beside", "wrapped"),
    },
    "digests without a field key, or that only confirm": {
        ("reveal_sitting", "token_hash"), ("app_elsewhere", "secret_hash"), ("app_logout_token", "token_hash"),
        ("audit_entry", "body"), ("audit_entry", "leaf"), ("audit_checkpoint", "frontier"),
        ("audit_segment", "frontier"), ("audit_restored", "body"), ("audit_restored", "leaf"),
        ("app_invitation", "token_hash"), ("app_sign_in", "token_hash"), ("app_session", "token_hash"),
        ("app_session", "previous_hash"),
        ("app_throttle", "key"), ("egress_delivery", "digest"), ("api_client", "token_hash"),
        ("oidc_code", "code_hash"), ("oidc_code", "token_hash"),
        ("app_recovery", "salt"), ("app_recovery_code", "code_hash"),
    },
    "what authenticators publish, and what they are asked": {
        ("app_passkey", "credential_id"), ("app_passkey", "public_key"),
        ("app_passkey_challenge", "bound_to"), ("app_passkey_challenge", "challenge"),
        ("app_device", "public_key"), ("app_device_challenge", "challenge"),
    },
}  # fmt: skip


async def test_every_sealed_column_of_the_database_is_rotated(pool: Pool) -> None:
    """A new column of bytes is either in COLUMNS (or moved by kms.rotation), or is said here to hold no envelope."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND (data_type = 'bytea' OR udt_name = '_bytea')"
        )
        found = {(str(table), str(column)) for table, column in await cursor.fetchall()}
        cursor = await connection.execute(
            "SELECT tgrelid::regclass::text, tgargs FROM pg_trigger WHERE NOT tgisinternal"
        )
        guarded = {(table, bytes(given).rstrip(b"\0").decode()) for table, given in await cursor.fetchall()}
    covered = {(one.place.table, one.place.column) for one in COLUMNS}
    told = set().union(*NOT_SEALED.values())
    assert found == covered | VAULT | told
    assert covered | {("vault_beside", "blob")} <= guarded


CALLS = {
    "kms/tokens.py": 2, "kms/kind_keys.py": 3, "kms/upgrade.py": 1,
    "kms/blind.py": 4, "kms/rotation.py": 1, "kms/beside.py": 2, "kms/beside_rotation.py": 1, "kms/cells.py": 1,
    "kms/digits.py": 2,
    "gateway/disclosure/sealing.py": 1, "gateway/identity/sealing.py": 1, "gateway/sealing.py": 1,
    "gateway/protect/credential.py": 1, "gateway/protect/change.py": 3, "gateway/files.py": 1,
    "gateway/composition_egress.py": 1, "gateway/rotation_sealed.py": 1,
}  # fmt: skip


def test_every_place_that_asks_for_a_field_key_is_known() -> None:
    """A new one needs a Mover in gateway.composition_durable and a line in the table of kms/README.md."""
    found: Counter[str] = Counter()
    for package in ("kms", "gateway", "privacy", "policies", "audit"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    found[str(file.relative_to(ROOT))] += node.func.attr in ("field_key", "field_keys")
    del found["kms/keyring.py"]
    assert {name: number for name, number in found.items() if number} == CALLS
