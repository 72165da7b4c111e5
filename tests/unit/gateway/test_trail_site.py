"""The signed log over HTTP, read by a client of its own that knows RFC 6962 and C2SP and nothing of crmgate."""

import base64
import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit import store
from audit.checkpoint import Keeper
from audit.log import AuditLog, AuditUnavailable
from audit.tile_site import TileSite
from gateway.network import Allowlist
from gateway.trail_site import AGAIN, TrailSite
from tests.unit.audit.conftest import AT, SIGNER
from tests.unit.audit.conftest import keeper as keeper
from tests.unit.audit.conftest import log as log
from tests.unit.audit.conftest import make as make
from tests.unit.audit.conftest import tamper as tamper

AUDITOR, STRANGER = "10.1.2.3", "192.0.2.9"
NETWORKS = (ipaddress.ip_network("10.0.0.0/8"),)


class Trail:
    """Takes what is put on record, or is away."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.away = False

    async def append(self, entry: Any) -> int:
        if self.away:
            raise AuditUnavailable
        self.entries.append(entry)
        return 0


@dataclass(frozen=True)
class Answer:
    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


class Place:
    """A site over a real log, and clients that come from some address."""

    def __init__(self, pool: Any, folder: Path, *, entries: bool = False) -> None:
        self.site = TileSite(pool, SIGNER.verifier, folder, interval_s=0.05, entries=entries)
        self.folder, self.trail, self.at = folder, Trail(), AT
        audit: Any = self.trail
        self.app = TrailSite(self.site, audit, ("demo",), Allowlist(NETWORKS), lambda: self.at).before(self._console)

    @staticmethod
    async def _console(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"console"})

    async def ask(self, path: str, client: str = AUDITOR, method: str = "GET") -> Answer:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Any = {"type": "http", "method": method, "path": unquote(path), "client": (client, 1), "headers": []}
        await self.app(scope, receive, send)
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(one["body"] for one in sent[1:]))


class Client:
    """An auditor's own tool: checkpoint and tiles in, proofs out; c2sp.org/tlog-tiles, RFC 6962 section 2.1."""

    def __init__(self, place: Place, public: bytes) -> None:
        self.place, self.public = place, public
        self.tiles: dict[str, bytes] = {}

    async def checkpoint(self) -> tuple[int, bytes]:
        note = (await self.place.ask("/trail/demo/checkpoint")).text
        text, _, signature = note.partition("\n\n")
        raw = base64.b64decode(signature.split()[2])
        Ed25519PublicKey.from_public_bytes(self.public).verify(raw[4:], f"{text}\n".encode())
        lines = text.split("\n")
        return int(lines[1]), base64.b64decode(lines[2])

    async def tile(self, level: int, index: int, size: int) -> bytes:
        width = min(256, (size >> 8 * level) - index * 256)
        path = f"tile/{level}/{index:03d}" + (f".p/{width}" if width < 256 else "")
        if path not in self.tiles:
            answer = await self.place.ask(f"/trail/demo/{path}")
            assert answer.status_code == 200, path
            assert len(answer.content) == 32 * width
            self.tiles[path] = answer.content
        return self.tiles[path]

    async def tree(self, low: int, high: int, size: int) -> bytes:
        """Root over entries `low` to before `high`."""
        width = high - low
        if width & (width - 1) == 0:
            level = (width.bit_length() - 1) // 8
            if width == 256**level:
                index = low >> 8 * level
                tile = await self.tile(level, index // 256, size)
                return tile[(index % 256) * 32 : (index % 256 + 1) * 32]
        middle = low + (1 << ((width - 1).bit_length() - 1))
        left, right = await self.tree(low, middle, size), await self.tree(middle, high, size)
        return hashlib.sha256(b"\x01" + left + right).digest()

    async def path(self, index: int, low: int, high: int, size: int) -> list[tuple[str, bytes]]:
        if high - low == 1:
            return []
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        if index < middle:
            return [*await self.path(index, low, middle, size), ("right", await self.tree(middle, high, size))]
        return [*await self.path(index, middle, high, size), ("left", await self.tree(low, middle, size))]

    async def includes(self, body: bytes, index: int, size: int, root: bytes) -> bool:
        found = hashlib.sha256(b"\x00" + body).digest()
        for side, step in await self.path(index, 0, size, size):
            found = hashlib.sha256(b"\x01" + (found + step if side == "right" else step + found)).digest()
        return found == root


@pytest.fixture
async def grown(pool: Any, log: AuditLog, keeper: Keeper, make: Any) -> Callable[[int], Any]:
    made = 0

    async def grow(size: int) -> None:
        nonlocal made
        entries = [make() for _ in range(size - made)]
        for entry in entries:
            await log.append(entry)
        made = size
        await keeper.seal("demo")

    return grow


async def test_an_independent_client_proves_inclusion_and_growth(
    pool: Any, grown: Callable[[int], Any], tmp_path: Path
) -> None:
    place = Place(pool, tmp_path / "tiles")
    client = Client(place, SIGNER.verifier.public)
    await grown(250)
    await place.site.round()
    old_size, old_root = await client.checkpoint()
    assert old_size == 250
    await grown(530)
    await place.site.round()
    size, root = await client.checkpoint()
    assert size == 530
    assert await client.tree(0, size, size) == root
    assert await client.tree(0, old_size, size) == old_root, "the old log is the beginning of the new one"
    async with pool.of("demo") as db:
        bodies = await store.bodies(db, "demo", 0, size)
    for index in (0, 255, 256, 511, 512, 529):
        assert await client.includes(bodies[index], index, size, root)
        assert not await client.includes(bodies[index] + b" ", index, size, root)
    assert not (tmp_path / "tiles/demo/tile/0/000.p").exists(), "a full tile takes the place of partial ones"


async def test_it_says_how_long_an_answer_is_good_and_that_the_log_was_read(
    pool: Any, grown: Callable[[int], Any], tmp_path: Path
) -> None:
    place = Place(pool, tmp_path / "tiles")
    await grown(260)
    await place.site.round()
    tile, checkpoint = await place.ask("/trail/demo/tile/0/000"), await place.ask("/trail/demo/checkpoint")
    assert tile.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert checkpoint.headers["cache-control"] == "private, max-age=5"
    head = await place.ask("/trail/demo/tile/0/000", method="HEAD")
    assert (head.content, head.headers["content-length"]) == (b"", "8192")
    [entry] = place.trail.entries
    assert (entry.operation, entry.reason, entry.client, entry.tenant) == ("audit.tiles", "tiles-read", AUDITOR, "demo")
    place.at += AGAIN + timedelta(seconds=1)
    await place.ask("/trail/demo/checkpoint")
    assert len(place.trail.entries) == 2


async def test_nobody_else_reads_it_and_nothing_else_is_read(
    pool: Any, grown: Callable[[int], Any], tmp_path: Path
) -> None:
    place = Place(pool, tmp_path / "tiles")
    await grown(3)
    await place.site.round()
    (tmp_path / "tiles/secret").write_text("x")
    assert (await place.ask("/trail/demo/checkpoint", STRANGER)).status_code == 403
    assert (await place.ask("/trail/demo/checkpoint", method="POST")).status_code == 405
    for path in (
        "other/checkpoint", "demo/secret", "demo/../secret", "demo/%2e%2e/secret", "..%2fsecret", "demo/tile/0/001",
        "demo/tile/9/000", "demo/tile/entries/000.p/3", "demo", "", "demo/tile/0/000.p/3/x", "demo/checkpoint/",
    ):  # fmt: skip
        assert (await place.ask(f"/trail/{path}")).status_code == 404, path
    assert place.trail.entries == []
    assert (await place.ask("/health")).text == "console"


async def test_entries_are_served_by_setting_only(pool: Any, grown: Callable[[int], Any], tmp_path: Path) -> None:
    place = Place(pool, tmp_path / "tiles", entries=True)
    await grown(3)
    await place.site.round()
    answer = await place.ask("/trail/demo/tile/entries/000.p/3")
    length = int.from_bytes(answer.content[:2], "big")
    tile = (await place.ask("/trail/demo/tile/0/000.p/3")).content
    assert hashlib.sha256(b"\x00" + answer.content[2 : 2 + length]).digest() == tile[:32]


async def test_where_reading_cannot_be_put_on_record_nothing_is_read(
    pool: Any, grown: Callable[[int], Any], tmp_path: Path
) -> None:
    place = Place(pool, tmp_path / "tiles")
    await grown(3)
    await place.site.round()
    place.trail.away = True
    assert (await place.ask("/trail/demo/checkpoint")).status_code == 503
    place.trail.away = False
    assert (await place.ask("/trail/demo/checkpoint")).status_code == 200


async def test_a_log_that_was_changed_is_not_shown_and_the_older_state_stays(
    pool: Any, grown: Callable[[int], Any], keeper: Keeper, log: AuditLog, make: Any, tamper: Any, tmp_path: Path
) -> None:
    place = Place(pool, tmp_path / "tiles")
    await grown(3)
    await place.site.round()
    await grown(5)
    await tamper("UPDATE audit_entry SET body = (SELECT body FROM audit_entry WHERE index = 0) WHERE index = 4")
    await place.site.round()
    assert "demo" in place.site.faults
    assert (await place.ask("/trail/demo/checkpoint")).text.split("\n")[1] == "3"
    assert (await place.ask("/trail/demo/tile/0/000.p/3")).status_code == 200


async def test_it_keeps_itself_fresh(pool: Any, grown: Callable[[int], Any], tmp_path: Path) -> None:
    place = Place(pool, tmp_path / "tiles")
    await place.site.start()
    await grown(3)
    while (await place.ask("/trail/demo/checkpoint")).status_code != 200:
        pass
    await place.site.close()
