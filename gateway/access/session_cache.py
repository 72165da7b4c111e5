"""What one process believes of sessions and CRM tokens, and the look that confirms it.

A request of an active session asks nobody: the process believes what it read for at most `ttl` (1 s). A look, one
statement for all sessions in use, confirms them several times within that; whatever it does not find is gone. Where the
look fails or hangs, belief runs out and every session is looked up by its own request, which fails closed. While the
connection for notices is lost (`blind`), nothing is believed at all.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.access.session_store import SessionRow, SessionStore
from gateway.exchange import Principal

CACHE_LIMIT = 20_000


@dataclass(slots=True)
class Held:
    """One session as last read. seen_at: latest activity known here; touched_at: latest written down.

    until: when its device has to prove itself anew, None where it has not.
    """

    row: SessionRow
    principal: Principal
    read_at: datetime
    seen_at: datetime
    touched_at: datetime
    until: datetime | None = None


class SessionCache:
    """Sessions by the digest of their token; CRM tokens that may be used in a session, until when."""

    def __init__(self) -> None:
        self.held: OrderedDict[bytes, Held] = OrderedDict()
        self.crm_tokens: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self.used: set[bytes] = set()
        self.used_tokens: set[tuple[str, str]] = set()
        self.blind = False
        # Counts invalidations, so that a row read before one arrived is not kept after it.
        self.generation = 0

    def keep(self, token_hash: bytes, held: Held, generation: int) -> None:
        """Believe a row, unless something was forgotten since it was asked for."""
        if self.blind or generation != self.generation:
            return
        self.held[token_hash] = held
        self.held.move_to_end(token_hash)
        while len(self.held) > CACHE_LIMIT:
            self.held.popitem(last=False)

    def keep_crm_token(self, token_hash: str, session_id: str, until: datetime, generation: int) -> None:
        """Believe that a CRM token may be used in a session."""
        if self.blind or generation != self.generation:
            return
        self.crm_tokens[(token_hash, session_id)] = until
        while len(self.crm_tokens) > CACHE_LIMIT:
            self.crm_tokens.popitem(last=False)

    def forget(self, payload: str) -> None:
        """Drop what is believed about a session id or user id; "" drops everything."""
        self.generation += 1
        gone = [key for key, held in self.held.items() if payload in ("", held.row.id, held.row.user_id)]
        for key in gone:
            del self.held[key]
        # A token may be kept under another session of the same person than the one that ended.
        self.crm_tokens.clear()

    async def confirm(
        self, store: SessionStore, now: datetime, ttl_end: datetime, more: Iterable[str]
    ) -> Mapping[str, SessionRow]:
        """One look at every session used since the last one, and at those of `more`; the rows that are live, by id.

        now: when the look begins; ttl_end: until when a CRM token it confirms is believed. Raises StoreUnavailable.
        """
        used = [(key, held) for key in self.used if (held := self.held.get(key)) is not None]
        tokens = [pair for pair in self.used_tokens if pair in self.crm_tokens]
        self.used.clear()
        self.used_tokens.clear()
        ids = {held.row.id for _, held in used} | set(more)
        if not ids and not tokens:
            return {}
        generation = self.generation
        found = await store.by_ids(sorted(ids), now) if ids else {}
        for key, held in used:
            if self.held.get(key) is held:
                self._renew(key, held, now, found)
        await self._confirm_tokens(store, tokens, now, ttl_end, generation)
        return {name: row for name, (_, row) in found.items()}

    def _renew(self, key: bytes, held: Held, now: datetime, found: Mapping[str, tuple[bytes, SessionRow]]) -> None:
        token_hash, row = found.get(held.row.id, (b"", held.row))
        if token_hash != key or row.locked_at is not None or row.rights != held.row.rights:
            self.forget(held.row.id)  # read anew by the next request
            return
        held.row, held.read_at, held.seen_at = row, now, max(held.seen_at, row.seen_at)

    async def _confirm_tokens(
        self,
        store: SessionStore,
        tokens: Sequence[tuple[str, str]],
        now: datetime,
        ttl_end: datetime,
        generation: int,
    ) -> None:
        if not tokens:
            return
        live = await store.live_crm_tokens(tokens, now)
        if generation != self.generation:
            return
        for pair in tokens:
            if pair not in self.crm_tokens:
                continue
            if pair in live:
                self.crm_tokens[pair] = ttl_end
            else:
                del self.crm_tokens[pair]
