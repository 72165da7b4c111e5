"""The signing key as the settings say: a file, or a real OpenBao; public halves are read while that is away."""

import tomllib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from audit.note import KEY_NAME, Checkpoint, KeyFileInvalid, Signer, ensure_signer, origin_of
from audit.signing import SigningUnavailable, handover_path, handover_text
from gateway.checkpoint_key import create_key, public_path, read_public, signer_of, verifier_of
from gateway.settings import Settings
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid
from kms.provider import KeyringLocked
from tests.real.bao import Bao, bao

PLAIN = '[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "creme"\npublic_url = "https://crm.example.org"\n'
ORIGIN = origin_of("main")
NEW, OLD = Signer(bytes(range(32, 64))), Signer(bytes(range(32)))


@pytest.fixture(scope="module")
def server() -> Iterator[Bao]:
    with bao() as running:
        yield running


def settings_of(tmp_path: Path, address: str = "", signer: str = "key-server") -> Settings:
    text = f'{PLAIN}[audit]\ncheckpoint_signer = "{signer}"\n'
    if address:
        text += f'[keys]\nprovider = "openbao"\naddress = "{address}"\ntoken_file = "token"\ntimeout_s = 60\n'
    return build_settings(tomllib.loads(text), tmp_path / "crmgate.toml")


async def test_a_key_made_on_the_server_signs_what_its_public_half_verifies(server: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(server.client.token)
    settings = settings_of(tmp_path, server.address)
    old = ensure_signer(settings.checkpoint_key_path).verifier
    made, fresh = await create_key(settings, None)
    assert fresh
    assert await create_key(settings, None) == (made, False), "again is the same"
    assert public_path(settings).read_text() == f"{made.vkey(KEY_NAME)}\n{old.vkey(KEY_NAME)}\n"
    async with AsyncExitStack() as stack:
        signer = await signer_of(stack, settings)
        note = await signer.sign_note(f"{ORIGIN}\n1\n{'A' * 43}=\n", ORIGIN)
        assert made.open_checkpoint(note, ORIGIN).size == 1
        assert verifier_of(settings).earlier is not None
        server.client.secrets.transit.rotate_key("audit-checkpoint")
        assert made.open(await signer.sign_note("text\n", ORIGIN), ORIGIN) == "text\n"
    with pytest.raises(KeyFileInvalid, match="rotated or replaced"):
        await create_key(settings, None)


async def test_while_the_server_is_away_trails_are_verified_and_only_signing_waits(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    settings = settings_of(tmp_path, "http://127.0.0.1:1")
    public_path(settings).parent.mkdir(parents=True, exist_ok=True)
    public_path(settings).write_text(NEW.verifier.vkey(KEY_NAME) + "\n")
    assert verifier_of(settings).open_checkpoint(NEW.sign(f"{ORIGIN}\n1\n{'A' * 43}=\n", ORIGIN), ORIGIN).size == 1
    async with AsyncExitStack() as stack:
        signer = await signer_of(stack, settings)
        with pytest.raises(SigningUnavailable, match="vault-unreachable"):
            await signer.sign_note("text\n", ORIGIN)


async def test_a_key_in_a_file_is_what_it_was(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, signer="file")
    async with AsyncExitStack() as stack:
        signer = await signer_of(stack, settings)
    assert isinstance(signer, Signer)
    assert verifier_of(settings) == signer.verifier


async def test_without_a_key_server_or_a_public_half_the_start_says_what_to_do(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(KeyFileInvalid, match="crmgate audit key --create"):
        verifier_of(settings)
    with pytest.raises(SettingInvalid, match="checkpoint_signer"):
        await create_key(settings, None)


async def test_a_server_without_the_key_is_told_apart(server: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(server.client.token)
    text = (
        f'{PLAIN}[audit]\ncheckpoint_key_name = "taken"\n[keys]\nprovider = "openbao"\naddress = "{server.address}"\n'
    )
    settings = build_settings(tomllib.loads(f'{text}token_file = "token"\ntimeout_s = 60\n'), tmp_path / "crmgate.toml")
    server.client.secrets.transit.create_key("taken", key_type="aes256-gcm96")
    with pytest.raises(KeyringLocked):
        await create_key(settings, None)


def test_how_far_the_key_before_counts_is_read_from_what_both_signed(tmp_path: Path) -> None:
    path = tmp_path / "audit.vkey"
    path.write_text("".join(f"{one.verifier.vkey(KEY_NAME)}\n" for one in (NEW, OLD)))
    text = handover_text(Checkpoint(ORIGIN, 18, bytes(32)), NEW.verifier)
    handover_path(tmp_path, "main").write_text(OLD.sign(text, ORIGIN) + NEW.sign(text, ORIGIN).rpartition("\n\n")[2])
    found = read_public(path, tmp_path, ["main", "other"])
    assert found.earlier is not None
    assert found.earlier.upto == {ORIGIN: 18}
    handover_path(tmp_path, "main").write_text(OLD.sign(text, ORIGIN))
    with pytest.raises(KeyFileInvalid, match="handover of main"):
        read_public(path, tmp_path, ["main"])


@pytest.mark.parametrize("text", ["", "nonsense\n", "a+b+c\n" * 3, (NEW.verifier.vkey(KEY_NAME) + "\n") * 3])
def test_a_file_that_holds_no_public_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.vkey").write_text(text)
    with pytest.raises(KeyFileInvalid):
        read_public(tmp_path / "audit.vkey", tmp_path, [])
