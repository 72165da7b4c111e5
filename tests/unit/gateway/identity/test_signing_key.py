"""Signing keys: made once, renewed, published as long as something signed with them may be good."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from gateway.identity.config import Algorithm
from gateway.identity.signing_key import SigningKeys, generate, read_key
from gateway.identity.store import KeyRow
from gateway.toml_tree import SettingInvalid
from kms.envelope import EnvelopeInvalid
from kms.provider import KeysUnavailable
from tests.unit.gateway.glue import NOW


class Rows:
    """Stands for store and sealer; whole: whether what is sealed opens."""

    def __init__(self) -> None:
        self.rows: list[KeyRow] = []
        self.whole = True

    async def keys(self, _tenant: str, algorithm: str) -> list[KeyRow]:
        return sorted((one for one in self.rows if one.algorithm == algorithm), key=lambda one: one.made_at)[::-1]

    async def add_key(self, tenant: str, key: KeyRow, newest: str) -> bool:
        rows = await self.keys(tenant, key.algorithm)
        if (rows[0].id if rows else "") != newest:
            return False
        self.rows.append(key)
        return True

    async def drop_keys(self, _tenant: str, ids: Sequence[str]) -> None:
        self.rows = [one for one in self.rows if one.id not in ids]

    async def seal(self, _tenant: str, _table: str, _row: str, clear: bytes) -> bytes:
        return clear[::-1]

    async def open(self, _tenant: str, _table: str, _row: str, blob: bytes) -> bytes:
        if not self.whole:
            raise EnvelopeInvalid
        return blob[::-1]


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def keys_of(rows: Rows, clock: Clock, algorithm: Algorithm = Algorithm.ES256) -> SigningKeys:
    given: Any = rows
    return SigningKeys("main", algorithm, given, given, clock, secrets.token_bytes, 90, timedelta(minutes=5))


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_what_is_signed_is_verified_with_what_is_published(algorithm: Algorithm) -> None:
    rows = Rows()
    keys = keys_of(rows, Clock(), algorithm)
    signed = (await keys.current()).sign({"sub": "wang"})
    published = await keys.published()
    assert not any(set(one) & {"d", "p", "q"} for one in published["keys"])
    told = jwt.decode(signed, KeySet.import_key_set(published), algorithms=[algorithm])  # type: ignore[arg-type]
    assert told.claims == {"sub": "wang"}
    assert told.header["kid"] == published["keys"][0]["kid"]
    other = KeySet.import_key_set(await keys_of(Rows(), Clock(), algorithm).published())  # type: ignore[arg-type]
    with pytest.raises(JoseError):
        jwt.decode(signed, other, algorithms=[algorithm])


async def test_a_key_is_renewed_and_the_old_one_verifies_for_a_while() -> None:
    rows, clock = Rows(), Clock()
    keys = keys_of(rows, clock)
    first = (await keys.current()).id
    clock.now += timedelta(days=89)
    assert (await keys.current()).id == first
    clock.now += timedelta(days=2)
    second = (await keys.current()).id
    assert second != first
    assert [one["kid"] for one in (await keys.published())["keys"]] == [second, first]
    clock.now += timedelta(days=91)
    third = (await keys.current()).id
    assert [one["kid"] for one in (await keys.published())["keys"]] == [third, second]


async def test_two_processes_use_one_key() -> None:
    rows = Rows()
    one, other = keys_of(rows, Clock()), keys_of(rows, Clock())
    assert (await one.current()).id == (await other.current()).id


async def test_a_key_that_does_not_open_is_a_fault_and_not_replaced() -> None:
    rows = Rows()
    await keys_of(rows, Clock()).current()
    rows.whole = False
    with pytest.raises(KeysUnavailable):
        await keys_of(rows, Clock()).current()
    assert len(rows.rows) == 1


def test_a_key_file_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    made = generate(Algorithm.ES256, secrets.token_bytes).key
    assert isinstance(made, ECKey)
    file.write_bytes(made.as_pem(private=True))
    assert read_key(file, Algorithm.ES256, "x").public["kid"] == made.thumbprint()
    for text in (made.as_pem(private=False), b"nonsense", b""):
        file.write_bytes(text)
        with pytest.raises(SettingInvalid):
            read_key(file, Algorithm.ES256, "x")
    file.write_bytes(made.as_pem(private=True))
    with pytest.raises(SettingInvalid):
        read_key(file, Algorithm.RS256, "x")
    with pytest.raises(SettingInvalid):
        read_key(tmp_path / "none.pem", Algorithm.ES256, "x")
