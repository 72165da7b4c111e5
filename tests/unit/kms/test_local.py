"""The local keyring file: what is refused, and in which words."""

from pathlib import Path

import orjson
import pytest

from kms.local import LocalProvider
from kms.provider import KeyringLocked

SECRET = b"correct horse battery staple"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("keyring") / "keyring"
    LocalProvider.create(path, SECRET)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, made: bytes) -> Path:
    file = tmp_path / "keyring"
    file.touch(mode=0o600)
    file.write_bytes(made)
    return file


async def problem(path: Path, secret: bytes = SECRET) -> str:
    with pytest.raises(KeyringLocked) as caught:
        await LocalProvider(path, secret).check()
    assert caught.value.permanent
    assert str(path) in str(caught.value)
    assert secret.decode() not in str(caught.value)
    return caught.value.problem


async def test_a_new_keyring_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    await LocalProvider.create(path, SECRET).check()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        LocalProvider.create(path, SECRET)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 12"):
        LocalProvider.create(tmp_path / "keyring", b"short")
    assert not (tmp_path / "keyring").exists()


async def test_the_newline_of_a_credential_file_does_not_count(path: Path) -> None:
    await LocalProvider(path, SECRET + b"\n").check()


async def test_each_fault_has_a_problem_of_its_own(path: Path, tmp_path: Path) -> None:
    assert await problem(tmp_path / "none") == "keyring-missing"
    assert await problem(tmp_path) == "keyring-unreadable" or (tmp_path.stat().st_mode & 0o077)
    assert await problem(path, b"another passphrase") == "keyring-wrong-secret"
    path.chmod(0o640)
    assert await problem(path) == "keyring-readable-by-others"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"root": 5}', b'"x"', b"x" * 100_000])
async def test_what_is_no_keyring_is_said_so(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert await problem(path) == "keyring-damaged"


@pytest.mark.parametrize("part", ["salt", "nonce", "root", "format", "iterations", "memory_kib", "lanes"])
async def test_a_changed_part_never_opens(path: Path, part: str) -> None:
    text = orjson.loads(path.read_bytes())
    text[part] = (
        text[part] + 1 if isinstance(text[part], int) else ("B" if text[part][0] != "B" else "C") + text[part][1:]
    )
    path.write_bytes(orjson.dumps(text))
    assert await problem(path) in ("keyring-wrong-secret", "keyring-damaged")


async def test_a_hostile_cost_is_refused_before_it_is_paid(path: Path) -> None:
    text = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(text | {"memory_kib": 2**31}))
    assert await problem(path) == "keyring-damaged"


async def test_taking_the_file_away_locks_and_bringing_it_back_unlocks(path: Path) -> None:
    provider = LocalProvider(path, SECRET)
    wrapped = await provider.wrap("acme", bytes(32), b"c")
    moved = path.rename(path.with_name("elsewhere"))
    with pytest.raises(KeyringLocked):
        await provider.unwrap("acme", wrapped, b"c")
    moved.rename(path)
    assert await provider.unwrap("acme", wrapped, b"c") == bytes(32)


async def test_every_changed_byte_of_a_wrapped_key_is_refused(path: Path) -> None:
    provider = LocalProvider(path, SECRET)
    wrapped = await provider.wrap("acme", bytes(32), b"c")
    for place in range(len(wrapped)):
        with pytest.raises(KeyringLocked):
            await provider.unwrap("acme", wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :], b"c")
