"""What every archive of segments does: a folder, and S3 with object lock.

S3 is moto's server, a simulator in a process of its own: it keeps versions, retention and holds as S3 documents them.
No real S3 is asked.
"""

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.archive import ArchiveRefused, ArchiveUnavailable, SegmentBroken
from audit.cold.folder import FolderArchive
from audit.cold.s3 import S3Archive
from audit.cold.store import ArchiveStore
from audit.s3_client import Credentials, Server, open_client

NAME = "main/event/000-009.parquet"
DATA = b"entries" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
BUCKET = "trail"
Open = Callable[..., ArchiveStore]


def now() -> datetime:
    return datetime.now(UTC)


def later() -> datetime:
    return now() + timedelta(days=1830)


def client(port: int, read_s: float = 60) -> Any:
    server = Server(f"http://127.0.0.1:{port}", "us-east-1", None, connect_s=60, read_s=read_s, attempts=1)
    return open_client(server, Credentials("archive", "archive-secret"))


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """Port of the simulator."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)) as run:
        try:
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/"):
                        break
                except urllib.error.URLError:
                    assert run.poll() is None
                    time.sleep(0.1)
            yield port
        finally:
            run.terminate()


@pytest.fixture
def s3(server: int) -> Iterator[Any]:
    """A client with a fresh locked bucket."""
    request = urllib.request.Request(f"http://127.0.0.1:{server}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request):
        pass
    opened = client(server)
    opened.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    yield opened
    opened.close()


@pytest.fixture(params=["folder", "s3"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same archive again and again; clock: the time as the archive sees it."""

    def opened(clock: Callable[[], datetime] = now) -> ArchiveStore:
        if request.param == "folder":
            return FolderArchive(tmp_path / "archive", clock)
        return S3Archive(request.getfixturevalue("s3"), BUCKET, "gate/", clock)

    return opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_what_is_put_comes_back(stored: Open, source: Path, tmp_path: Path) -> None:
    one = stored()
    one.check()
    version = one.put(NAME, source, SHA, later())
    one.fetch(NAME, version, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == DATA
    local = one.local(NAME)
    assert local is None or local.read_bytes() == DATA


def test_the_same_again_changes_nothing_and_other_bytes_are_refused(stored: Open, source: Path, tmp_path: Path) -> None:
    one = stored()
    version = one.put(NAME, source, SHA, later())
    assert one.put(NAME, source, SHA, later()) == version
    other = tmp_path / "other"
    other.write_bytes(b"others")
    with pytest.raises(ArchiveRefused, match="other bytes"):
        one.put(NAME, other, hashlib.sha256(b"others").hexdigest(), later())
    one.fetch(NAME, version, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == DATA


def test_names_are_listed_by_prefix_in_order(stored: Open, source: Path) -> None:
    one = stored()
    for name in ("main/b", "main/a", "other/a"):
        one.put(name, source, SHA, later())
    assert one.names("main/") == ["main/a", "main/b"]
    assert one.names("none/") == []


def test_nothing_is_removed_before_its_time(stored: Open, source: Path) -> None:
    one = stored()
    version = one.put(NAME, source, SHA, later())
    with pytest.raises(ArchiveRefused, match="kept longer"):
        one.remove(NAME, version)
    assert one.names("main/") == [NAME]


def test_nothing_held_is_removed(stored: Open, source: Path) -> None:
    one = stored()
    version = one.put(NAME, source, SHA, now() + timedelta(days=2))
    one.hold(NAME, version, True)
    in_years = stored(lambda: later() + timedelta(days=9999))
    with pytest.raises(ArchiveRefused, match="held"):
        in_years.remove(NAME, version)
    one.hold(NAME, version, False)


def test_what_is_gone_is_told(stored: Open, tmp_path: Path) -> None:
    with pytest.raises((SegmentBroken, ArchiveUnavailable)):
        stored().fetch(NAME, "", tmp_path / "back")
    stored().remove(NAME, "")


def test_a_folder_lets_go_what_is_over(source: Path, tmp_path: Path) -> None:
    clock = [now()]
    one = FolderArchive(tmp_path / "archive", lambda: clock[0])
    one.put(NAME, source, SHA, later())
    clock[0] = later() + timedelta(days=1)
    one.remove(NAME, "")
    assert one.names("") == []


@pytest.mark.parametrize("name", ["../outside", "main/../../outside", "/etc/passwd", "main/.hidden"])
def test_no_name_leads_out_of_a_folder(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveRefused, match="out of the archive"):
        FolderArchive(tmp_path / "archive", now).put(name, source, SHA, later())


def test_a_full_or_missing_folder_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file in the way")
    one = FolderArchive(tmp_path / "archive", now)
    for act in (one.check, lambda: one.put(NAME, source, SHA, later())):
        with pytest.raises(ArchiveUnavailable):
            act()


def test_s3_keeps_a_version_under_what_is_put_on_top(s3: Any, source: Path, tmp_path: Path) -> None:
    one = S3Archive(s3, BUCKET, "", now)
    version = one.put(NAME, source, SHA, later())
    s3.put_object(Bucket=BUCKET, Key=NAME, Body=b"forged")
    s3.delete_object(Bucket=BUCKET, Key=NAME)
    one.fetch(NAME, version, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == DATA


def test_s3_itself_refuses_to_remove_what_is_locked(s3: Any, source: Path) -> None:
    version = S3Archive(s3, BUCKET, "", now).put(NAME, source, SHA, later())
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=BUCKET, Key=NAME, VersionId=version)
    kept = s3.head_object(Bucket=BUCKET, Key=NAME, VersionId=version)
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert kept["ObjectLockRetainUntilDate"] > now() + timedelta(days=1829)


def test_a_bucket_without_object_lock_is_refused(s3: Any, source: Path) -> None:
    s3.create_bucket(Bucket="plain")
    one = S3Archive(s3, "plain", "", now)
    with pytest.raises(ArchiveRefused, match="no object lock"):
        one.check()
    with pytest.raises((ArchiveRefused, ArchiveUnavailable)):
        one.put(NAME, source, SHA, later())


def test_a_bucket_that_is_not_there_is_refused(s3: Any) -> None:
    with pytest.raises(ArchiveRefused, match="NoSuchBucket"):
        S3Archive(s3, "nothing-here", "", now).check()


def test_a_server_that_is_away_or_silent_is_told_without_its_address(source: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        opened = client(port, read_s=0.3)
        with pytest.raises(ArchiveUnavailable) as silent:
            S3Archive(opened, BUCKET, "", now).put(NAME, source, SHA, later())
    with pytest.raises(ArchiveUnavailable) as away:
        S3Archive(opened, BUCKET, "", now).check()
    opened.close()
    for told in (silent, away):
        assert "127.0.0.1" not in str(told.value)
