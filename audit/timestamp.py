"""Time-stamps of an authority over checkpoints (RFC 3161): the log had this root at that time, says somebody else."""

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

from cryptography.x509 import Certificate
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from audit.anchor import AnchorFailed, Published
from audit.post import PostFailed, post

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


class TimestampAnchor:
    """Asks one authority; keeps FOLDER/TENANT/SIZE.checkpoint and SIZE.tsr, a reply that `openssl ts -verify` takes."""

    outside = True

    def __init__(self, url: str, roots: list[Certificate], folder: Path, *, every_s: float) -> None:
        self._url = url
        self._roots = roots
        self._folder = folder
        self.every_s = every_s

    @property
    def name(self) -> str:
        """Without its address: the health page shows none."""
        return "time-stamp"

    async def keep(self, published: Published) -> None:
        """Have the note stamped and check the reply: signature, chain, nonce, imprint."""
        note = published.note.encode()
        asked = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).build()
        try:
            answer = await post(self._url, asked.as_bytes(), QUERY)
        except PostFailed as fault:
            raise AnchorFailed(str(fault)) from None
        if answer.status != 200 or answer.content_type != REPLY:
            raise AnchorFailed(f"it answers {answer.status} {answer.content_type}")
        try:
            reply = decode_timestamp_response(answer.body)
            builder = VerifierBuilder.from_request(asked)
            for root in self._roots:
                builder = builder.add_root_certificate(root)
            builder.build().verify_message(reply, note)
        except (VerificationError, ValueError) as fault:
            raise AnchorFailed(f"its reply does not hold ({fault})") from None
        await asyncio.to_thread(self._write, published, answer.body)

    def _write(self, published: Published, reply: bytes) -> None:
        folder = self._folder / quote(published.tenant, safe="")
        folder.mkdir(parents=True, exist_ok=True)
        size = published.checkpoint.size
        for name, data in ((f"{size}.checkpoint", published.note.encode()), (f"{size}.tsr", reply)):
            draft = folder / f"{name}.{os.getpid()}.draft"
            draft.write_bytes(data)
            draft.replace(folder / name)
