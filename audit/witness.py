"""Witness cosignatures: somebody else confirms that he saw the log grow and never shrink (c2sp.org/tlog-witness).

The witness gets each checkpoint with a proof of growth from the last one that he cosigned. His answer is checked
(Ed25519 `cosignature/v1` with a time, c2sp.org/tlog-cosignature) and kept as a note with both signatures.
"""

import asyncio
import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.anchor import AnchorContradicts, AnchorFailed, Published
from audit.note import PUBLIC_BYTES, NoteInvalid, unbase64
from audit.post import Answer, PostFailed, post
from audit.tree import PROOF_LIMIT_HASHES

COSIGNATURE = b"\x04"  # signature type, C2SP signed-note
SIZE_TYPE = "text/x.tlog.size"
CLOCKS_APART_S = 300
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's name and public key."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256 over name, newline, type and key."""
        return sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:4]

    @classmethod
    def from_vkey(cls, text: str) -> "Cosigner":
        """The witness of a vkey of type 4. Raises: NoteInvalid."""
        name, _, rest = text.strip().partition("+")
        key_id, _, key = rest.partition("+")
        raw = unbase64(key, 1 + PUBLIC_BYTES)
        cosigner = cls(name, raw[1:])
        if raw[:1] != COSIGNATURE or not name or cosigner.key_id.hex() != key_id:
            raise NoteInvalid("not a witness's key (NAME+ID+KEY of type 4), or damaged")
        return cosigner

    def check(self, line: str, text: str) -> int | None:
        """Time of a cosignature over a note's text; None when the line is of another key. Raises: NoteInvalid."""
        found = _LINE.fullmatch(line)
        if found is None:
            raise NoteInvalid("not a signature line")
        raw = unbase64(found[2])
        if found[1] != self.name or raw[:4] != self.key_id:
            return None
        at, signature = int.from_bytes(raw[4:12], "big"), raw[12:]
        try:
            message = f"cosignature/v1\ntime {at}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise NoteInvalid("the cosignature does not fit the checkpoint") from None
        return at


class WitnessAnchor:
    """Asks one witness; keeps the cosigned note in FOLDER/TENANT@WITNESS.cosigned."""

    outside = True

    def __init__(
        self, cosigner: Cosigner, url: str, folder: Path, *, every_s: float, now: Callable[[], datetime]
    ) -> None:
        self._cosigner = cosigner
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._folder = folder
        self._now = now
        self._seen: dict[str, int] = {}
        self.every_s = every_s

    @property
    def name(self) -> str:
        """The witness."""
        return f"witness {self._cosigner.name}"

    async def keep(self, published: Published) -> None:
        """Have it cosigned; a witness who remembers another size than we is asked once more from there."""
        answer = await self._ask(published, self._seen.get(published.tenant, 0))
        if answer.status == 409 and answer.content_type == SIZE_TYPE:
            size = _SIZE.fullmatch(answer.body)
            if size is None:
                raise AnchorFailed("it answers nonsense")
            answer = await self._ask(published, int(size[1]))
        if answer.status in (409, 422):
            raise AnchorContradicts(f"it does not find this log the continuation of what it has seen ({answer.status})")
        if answer.status != 200:
            raise AnchorFailed(_REFUSED.get(answer.status, f"it answers {answer.status}"))
        line = self._cosigned(answer.body, published)
        await asyncio.to_thread(self._write, published, line)
        self._seen[published.tenant] = published.checkpoint.size

    async def _ask(self, published: Published, old: int) -> Answer:
        proof = await published.grow(old)
        if len(proof) > PROOF_LIMIT_HASHES:
            raise AnchorFailed("the proof of growth is too long")
        lines = [f"old {old}", *(base64.b64encode(step).decode() for step in proof), "", published.note]
        try:
            return await post(self._url, "\n".join(lines).encode(), "text/plain; charset=utf-8")
        except PostFailed as fault:
            raise AnchorFailed(str(fault)) from None

    def _cosigned(self, body: bytes, published: Published) -> str:
        text, now = published.checkpoint.text(), int(self._now().timestamp())
        try:
            for line in body.decode().removesuffix("\n").split("\n"):
                at = self._cosigner.check(line, text)
                if at is None:
                    continue
                if abs(at - now) > CLOCKS_APART_S:
                    raise AnchorFailed("its clock and ours are more than five minutes apart")
                return line
        except (NoteInvalid, UnicodeError) as fault:
            raise AnchorFailed(f"its answer does not hold: {fault}") from None
        raise AnchorFailed("its answer has no signature of the key we know")

    def _write(self, published: Published, line: str) -> None:
        path = cosigned_path(self._folder, published.tenant, self._cosigner.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
        draft.write_text(f"{published.note}{line}\n", encoding="utf-8")
        draft.replace(path)


_REFUSED = {403: "it does not know our key (403)", 404: "it does not know this log (404)"}


def cosigned_path(folder: Path, tenant: str, witness: str) -> Path:
    """The file of the newest cosigned note."""
    return folder / f"{quote(tenant, safe='')}@{quote(witness, safe='')}.cosigned"
