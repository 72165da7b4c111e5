"""Checkpoints under object lock, against moto's server: a simulator of S3 in a process of its own, not S3 itself."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from audit.anchor import Anchors
from audit.anchor_s3 import Bucket, CredentialsInvalid, S3Anchor, read_credentials
from audit.checkpoint import Keeper
from audit.log import AuditLog
from audit.note import origin_of
from audit.s3_client import Credentials
from tests.real.s3 import KEY_ID, S3, SECRET, s3
from tests.unit.audit.conftest import SIGNER

ORIGIN = origin_of("demo")
YEARS = timedelta(days=1827)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(store: S3, request: pytest.FixtureRequest) -> str:
    name = f"b-{abs(hash(request.node.name)) % 10**9}"
    store.make_bucket(name)
    return name


def now() -> datetime:
    return datetime.now(UTC)


def anchors_of(pool: Any, store: S3, bucket: str, *, file: Path | None = None, address: str = "") -> Anchors:
    place = Bucket(bucket, "trail", file or store.credentials_file, YEARS, address or store.address)
    anchor = S3Anchor(place, SIGNER.verifier, every_s=0, now=now)
    return Anchors(pool, SIGNER.verifier, [anchor], now=now, interval_s=0.05)


async def round_of(anchors: Anchors) -> tuple[str, int, bool]:
    await anchors.round()
    [state] = anchors.states("demo")
    return state.fault, state.size, state.contradicts


def keys_of(store: S3, bucket: str) -> list[str]:
    return [one["Key"] for one in store.client.list_objects_v2(Bucket=bucket).get("Contents", [])]


async def grow(log: AuditLog, keeper: Keeper, make: Any, size: int) -> None:
    while await log.append(make()) < size - 1:
        pass
    await keeper.seal("demo")


async def test_checkpoints_lie_under_compliance_retention_and_cannot_be_removed(
    pool: Any, filled: AuditLog, keeper: Keeper, log: AuditLog, make: Any, store: S3, bucket: str
) -> None:
    anchors = anchors_of(pool, store, bucket)
    assert await round_of(anchors) == ("", 18, False)
    await grow(log, keeper, make, 25)
    assert await round_of(anchors) == ("", 25, False)
    keys = keys_of(store, bucket)
    assert keys == [f"trail/demo/{size:019d}.checkpoint" for size in (18, 25)]
    held = store.client.get_object(Bucket=bucket, Key=keys[1])
    with held["Body"] as body:
        assert SIGNER.verifier.open_checkpoint(body.read().decode(), ORIGIN).size == 25
    assert held["ObjectLockMode"] == "COMPLIANCE"
    assert abs(held["ObjectLockRetainUntilDate"] - (now() + YEARS)) < timedelta(hours=1)
    with pytest.raises(ClientError, match="AccessDenied"):
        store.client.delete_object(Bucket=bucket, Key=keys[1], VersionId=held["VersionId"])


async def test_after_a_restart_nothing_is_put_twice(pool: Any, filled: AuditLog, store: S3, bucket: str) -> None:
    for _ in range(2):
        assert await round_of(anchors_of(pool, store, bucket)) == ("", 18, False)
    assert len(store.client.list_object_versions(Bucket=bucket)["Versions"]) == 1


async def test_a_bucket_without_lock_is_refused_and_gets_nothing(pool: Any, filled: AuditLog, store: S3) -> None:
    store.make_bucket("open-bucket", locked=False)
    fault, size, _ = await round_of(anchors_of(pool, store, "open-bucket"))
    assert "no object lock" in fault
    assert size == 0
    assert keys_of(store, "open-bucket") == []


async def test_a_log_that_was_cut_off_is_convicted_though_the_checkpoint_was_marked_as_deleted(
    pool: Any, filled: AuditLog, tamper: Any, store: S3, bucket: str
) -> None:
    await round_of(anchors_of(pool, store, bucket))
    [key] = keys_of(store, bucket)
    store.client.delete_object(Bucket=bucket, Key=key)
    assert keys_of(store, bucket) == [], "a delete marker hides it"
    await tamper("DELETE FROM audit_checkpoint WHERE size > 12")
    assert await round_of(anchors_of(pool, store, bucket)) == ("it has seen 18 entries, the log has 12", 0, True)


async def test_what_was_put_on_top_does_not_hide_the_first_version(
    pool: Any, filled: AuditLog, tamper: Any, store: S3, bucket: str
) -> None:
    await round_of(anchors_of(pool, store, bucket))
    [key] = keys_of(store, bucket)
    store.client.put_object(Bucket=bucket, Key=key, Body=b"nonsense")
    assert await round_of(anchors_of(pool, store, bucket)) == ("", 18, False)


async def test_what_is_not_ours_there_is_an_alarm(pool: Any, filled: AuditLog, store: S3, bucket: str) -> None:
    store.client.put_object(Bucket=bucket, Key=f"trail/demo/{99:019d}.checkpoint", Body=b"nonsense")
    store.client.put_object(Bucket=bucket, Key="trail/demo/readme.txt", Body=b"nonsense")
    assert await round_of(anchors_of(pool, store, bucket)) == ("the checkpoint kept at 99 is not ours", 0, True)


async def test_what_cannot_be_reached_or_is_not_there_is_said_without_a_secret(
    pool: Any, filled: AuditLog, store: S3, bucket: str, tmp_path: Path
) -> None:
    assert await round_of(anchors_of(pool, store, "not-there")) == ("there is no such bucket", 0, False)
    fault, _, contradicts = await round_of(anchors_of(pool, store, bucket, address="http://127.0.0.1:1"))
    assert (fault, contradicts) == ("it cannot be reached (EndpointConnectionError)", False)
    assert SECRET not in fault
    fault, _, _ = await round_of(anchors_of(pool, store, bucket, file=tmp_path / "none"))
    assert "cannot be read" in fault


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime(2099, 1, 1, tzinfo=UTC)},
        {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
async def test_a_service_that_takes_a_checkpoint_and_does_not_hold_it_has_none(
    pool: Any, filled: AuditLog, store: S3, bucket: str, held: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = S3Anchor._open

    def lying(self: S3Anchor) -> Any:
        client: Any = opened(self)
        client.head_object = lambda **_: held
        return client

    monkeypatch.setattr(S3Anchor, "_open", lying)
    fault, size, _ = await round_of(anchors_of(pool, store, bucket))
    assert (fault, size) == ("it took the checkpoint but does not hold it under compliance retention", 0)


async def test_nonsense_is_a_fault_and_no_anchor(pool: Any, filled: AuditLog, store: S3) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<nonsense")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fault, size, contradicts = await round_of(anchors_of(pool, store, "any", address=f"http://127.0.0.1:{port}"))
    assert fault
    assert (size, contradicts) == (0, False)


def test_the_access_key_is_read_from_the_file_alone(tmp_path: Path, store: S3) -> None:
    assert read_credentials(store.credentials_file) == Credentials(KEY_ID, SECRET)
    assert SECRET not in repr(read_credentials(store.credentials_file))
    for text in ("", "[default]\naws_access_key_id = a\n", f"{KEY_ID} {SECRET}", "[other]\nx = 1\n"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(CredentialsInvalid) as found:
            read_credentials(tmp_path / "bad")
        assert SECRET not in str(found.value)
