"""The signed log over HTTP, read-only, for auditors' tools (C2SP tlog-tiles): /trail/TENANT/checkpoint and /tile/….

In front of the console, on its listener, for the networks that a setting names and nobody else. Whoever reads is put on
record once an hour, before the first answer; when that fails, nothing is answered.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable
from audit.tile_site import CHECKPOINT, TileSite
from gateway.access.tokens import new_id
from gateway.collaborators import Application, Receive, Scope, Send
from gateway.network import Allowlist

PREFIX = "/trail/"
OPERATION, REASON = "audit.tiles", "tiles-read"
CHECKPOINT_S = 5
AGAIN = timedelta(hours=1)
READERS_LIMIT = 10_000
_TEXT, _BYTES = b"text/plain; charset=utf-8", b"application/octet-stream"


class TrailSite:
    """Serves the files of a `TileSite`."""

    def __init__(
        self,
        site: TileSite,
        audit: AuditLog,
        tenants: Collection[str],
        allowed: Allowlist,
        clock: Callable[[], datetime],
    ) -> None:
        self._site, self._audit, self._tenants, self._allowed, self._clock = site, audit, tenants, allowed, clock
        self._read: dict[tuple[str, str], datetime] = {}

    def before(self, console: Application) -> Application:
        """The console with the log in front of it."""

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].startswith(PREFIX):
                await self._answer(scope, send)
                return
            await console(scope, receive, send)

        return handle

    async def _answer(self, scope: Scope, send: Send) -> None:
        client = scope["client"][0]
        if not self._allowed.permits(client):
            await _send(scope, send, 403, b"Not for this address; see [audit] tiles_networks.\n", _TEXT)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _send(scope, send, 405, b"Read only.\n", _TEXT, [(b"allow", b"GET, HEAD")])
            return
        tenant, _, path = scope["path"].removeprefix(PREFIX).partition("/")
        tenant = unquote(tenant)
        file = self._site.file_of(tenant, path) if tenant in self._tenants else None
        raw = await asyncio.to_thread(_content, file) if file is not None else None
        if raw is None:
            await _send(scope, send, 404, b"There is no such tile.\n", _TEXT)
            return
        try:
            await self._note(tenant, client)
        except AuditUnavailable:
            await _send(scope, send, 503, b"The trail cannot be written, so it is not read either.\n", _TEXT)
            return
        # A tile of a width never changes; the checkpoint does, every few seconds.
        kept = f"max-age={CHECKPOINT_S}" if path == CHECKPOINT else "max-age=31536000, immutable"
        kind = _TEXT if path == CHECKPOINT else _BYTES
        await _send(scope, send, 200, raw, kind, [(b"cache-control", f"private, {kept}".encode())])

    async def _note(self, tenant: str, client: str) -> None:
        now = self._clock()
        last = self._read.get((tenant, client))
        if last is not None and now - last < AGAIN:
            return
        await self._audit.append(
            AuditEntry(
                at=now,
                client=client,
                entity="audit",
                fields={"detail": "entries" if self._site.entries else "hashes"},
                id=new_id("a", secrets.token_bytes),
                kind="console",
                operation=OPERATION,
                reason=REASON,
                status=200,
                tenant=tenant,
            )
        )
        if len(self._read) >= READERS_LIMIT:
            self._read.clear()
        self._read[tenant, client] = now


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


async def _send(
    scope: Scope, send: Send, status: int, raw: bytes, kind: bytes, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    fields = [
        (b"content-type", kind),
        (b"content-length", str(len(raw)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *(more or [(b"cache-control", b"no-store")]),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else raw})
