"""The key that signs checkpoints, as the settings say: in a file, or on the key server with its public half in a file.

The public half lies in audit.vkey beside the key file: the key in use, then the one that was in use before. So trails
are verified while the key server is away.
"""

import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from audit.note import (
    KEY_NAME,
    EarlierKey,
    KeyFileInvalid,
    NoteInvalid,
    Verifier,
    ensure_signer,
    origin_of,
    read_signer,
)
from audit.signing import CheckpointSigner, RemoteSigner, SigningUnavailable, read_handover
from gateway.key_config import KeyStore
from gateway.opening import open_transit
from gateway.settings import KeySigner, Settings
from gateway.toml_tree import SettingInvalid
from kms.provider import KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_signing import TransitSigning

CREATE = "run: crmgate audit key --create"


def public_path(settings: Settings) -> Path:
    """The file with the public half."""
    return settings.checkpoint_key_path.with_suffix(".vkey")


def verifier_of(settings: Settings) -> Verifier:
    """What checkpoints are verified with. Raises: KeyFileInvalid."""
    if settings.audit.checkpoint_signer is KeySigner.FILE:
        return read_signer(settings.checkpoint_key_path).verifier
    return read_public(public_path(settings), settings.checkpoint_folder, settings.tenants)


async def signer_of(stack: AsyncExitStack, settings: Settings) -> CheckpointSigner:
    """Who signs; the stack closes it. The key server is not asked yet. Raises: KeyFileInvalid, SettingInvalid."""
    if settings.audit.checkpoint_signer is KeySigner.FILE:
        return ensure_signer(settings.checkpoint_key_path)
    verifier = verifier_of(settings)
    provider = open_signing_provider(settings)
    stack.push_async_callback(provider.close)
    signing = TransitSigning(provider, settings.audit.checkpoint_key_name)

    async def ask(message: bytes) -> bytes:
        try:
            return await signing.sign(message, verifier.public)
        except KeysUnavailable as fault:
            raise SigningUnavailable(fault.problem) from None

    return RemoteSigner(verifier, ask)


def open_signing_provider(settings: Settings, token_file: Path | None = None) -> TransitProvider:
    """The key server; token_file: an operator's token. Raises: SettingInvalid."""
    if settings.keys.provider is KeyStore.LOCAL:
        raise SettingInvalid("audit.checkpoint_signer", "needs a key server: set keys.provider to openbao or vault")
    return open_transit(settings.keys, token_file)


def read_public(path: Path, folder: Path, tenants: Iterable[str]) -> Verifier:
    """The key in the file, and up to where the one before it counts in each log. Raises: KeyFileInvalid."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [Verifier.from_vkey(line)[0] for line in lines]
    except OSError:
        raise KeyFileInvalid(f"{path} cannot be read; {CREATE}") from None
    except (NoteInvalid, UnicodeError):
        raise KeyFileInvalid(f"{path} holds no public keys") from None
    if not 1 <= len(found) <= 2:
        raise KeyFileInvalid(f"{path} holds {len(found)} public keys instead of one, or two")
    if len(found) == 1:
        return found[0]
    new, old = found
    upto: dict[str, int] = {}
    for tenant in tenants:
        try:
            handed = read_handover(folder, tenant, new, old)
        except NoteInvalid as fault:
            raise KeyFileInvalid(f"the handover of {tenant} in {folder} does not hold: {fault}") from None
        if handed is not None:
            upto[origin_of(tenant)] = handed.size
    return replace(new, earlier=EarlierKey(old.public, upto))


async def create_key(settings: Settings, token_file: Path | None) -> tuple[Verifier, bool]:
    """Make the key on the server and write its public half; False when both were there.

    Raises: KeysUnavailable, KeyFileInvalid, OSError.
    """
    provider = open_signing_provider(settings, token_file)
    try:
        made = Verifier(await TransitSigning(provider, settings.audit.checkpoint_key_name).create())
    finally:
        await provider.close()
    path, own = public_path(settings), settings.checkpoint_key_path
    if path.exists():
        known = read_public(path, settings.checkpoint_folder, ())
        if known != made:
            raise KeyFileInvalid(f"{path} names another key than the server's; it was rotated or replaced there")
        return known, False
    keys = [made, *([read_signer(own).verifier] if own.is_file() else [])]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text("".join(f"{one.vkey(KEY_NAME)}\n" for one in keys), encoding="utf-8")
    draft.replace(path)
    return made, True
