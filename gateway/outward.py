"""The way out: learn from the answer, open its container, render it for the principal, and its header fields with it.

What nobody can look into is refused to roles without full rights, unless it is a picture; a spreadsheet in an old
binary format is converted, never patched.
"""

import re
from urllib.parse import quote, unquote

from gateway import attached, batch_answer, facts, graphql_answer, opaque
from gateway.binding import TAUGHT, Binding
from gateway.body import media
from gateway.body.csv_rows import outline_of
from gateway.body.enclosed import find_enclosed
from gateway.body.fault import BodyFault
from gateway.body.layer import splice
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.multipart_http import is_batch
from gateway.body.page import open_page
from gateway.collaborators import Fields
from gateway.derived import derive
from gateway.disclosure.marker import Marker
from gateway.echo import named_again, typed_again, widened_again
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.graphql import GraphqlBatch
from gateway.installation import Installation
from gateway.placed import Placed
from gateway.refusal import ANSWER_NOT_RENDERABLE, Refusal
from gateway.reveal import Reveal
from gateway.table_stream import TableStream
from gateway.unprotected import Unprotected
from policies.opaque import Opaque
from policies.profile import Action, Operation, Profile

# Formats nobody can look into, which may hold what the CRM knows in clear.
CLOSED = frozenset({Media.OPAQUE, Media.ZIP, Media.MULTIPART})
OK = 200
JSON_STARTS = frozenset(b"{[")  # without a byte order mark JSON is in UTF-8 (RFC 8259, section 8.1)
# Addresses (Location, Link, Refresh) keep their surrogates: they work as they are, and a clear value in an address
# would stay behind in histories and logs.
RENDERED_FIELDS = frozenset({"content-disposition", "x-message", "warning"})
_SUFFIX = re.compile(r"\.xls(?=[\"';\s]|$)", re.IGNORECASE)
_FILE_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\"\\/;<>|:*?%]")
_FILE_NAME = re.compile(r"""(;\s*filename\s*=\s*)(?:"([^"]*)"|([^\s;"]+))""", re.IGNORECASE)


class Outward:
    """Renders answers of one gateway; all methods take the exchange."""

    def __init__(
        self,
        reveal: Reveal,
        binding: Binding,
        limits: Limits,
        placed: Placed | None = None,
        unprotected: Unprotected | None = None,
        files: Files | None = None,
        marker: Marker | None = None,
    ) -> None:
        self._marker = marker
        self._reveal = reveal
        self._unprotected = unprotected
        self._binding = binding
        self._limits = limits
        self._placed = placed
        self._files = files

    async def render_answer(
        self, exchange: Exchange, installation: Installation, status: int, fields: Fields, body: bytes
    ) -> tuple[Fields, bytes]:
        """Header fields and body for this principal; raises Refusal, KeysUnavailable, StoreUnavailable, BodyFault."""
        installation.learn(exchange.head.path, status, body)
        profile = installation.current
        asked = exchange.batch if isinstance(exchange.batch, GraphqlBatch) else None
        if asked is not None:
            await graphql_answer.learn(self._binding, asked, profile, status, body)
        elif exchange.batch is not None:
            declared = dict(fields).get("content-type", "")
            if exchange.batch.rule.kind != "json" and is_batch(declared) and body:

                async def show(part: Exchange, code: int, its: Fields, data: bytes) -> tuple[Fields, bytes]:
                    return await self.render_answer(part, installation, code, its, data)

                return await batch_answer.render(exchange.batch, exchange, declared, fields, body, show)
            await batch_answer.learn(self._binding, exchange.batch, profile, status, fields, body)
        elif exchange.operation is not None and _teaches(exchange.operation, profile):
            await self._binding.learn(exchange, profile, status, fields, body)
        exchange.body = b""
        named = dict(fields)
        content_type, disposition = named.get("content-type", ""), named.get("content-disposition", "")
        kind = media.sniff(content_type, disposition, body) if body else Media.OPAQUE
        if asked is not None and body:
            body = graphql_answer.silenced(exchange, kind, body)
        if exchange.decision is not None and exchange.decision.view.criteria:
            facts.learn(exchange, profile, kind, media.charset_of(content_type, kind, body), body)
        if self._unprotected is not None and body:
            charset = media.charset_of(content_type, kind, body)
            self._unprotected.look(exchange, profile, kind, body, charset)
        if not RENDERED_FIELDS.isdisjoint(named):
            fields = await self._render_fields(exchange, fields)
        if not body:
            return fields, body
        if opaque.hides(exchange, kind, status):
            return opaque.instead(exchange, fields)
        if kind in CLOSED:
            self._require_openable(exchange, kind)
        if (
            exchange.echoes
            and kind is Media.HTML
            and exchange.decision is not None
            and exchange.decision.view.sees_everything
        ):
            body = typed_again(body, exchange.echoes)
        if exchange.narrowed and kind is Media.HTML:
            body = widened_again(body, exchange.narrowed, exchange.restored)
        if self._placed is not None and profile.shown_rules:
            charset = media.charset_of(content_type, kind, body)
            body = await self._placed.render(exchange, profile, kind, charset, body)
        if kind is Media.JSON:
            if b"base64" in body and (b'"base64"' in body or b";base64," in body):
                body = await self._render_enclosed(exchange, body, profile.mask_char)
            if exchange.echoes and exchange.operation is not None and "echo" in exchange.operation.extra:
                body = named_again(body, exchange.operation.extra["echo"], exchange.echoes)
            if body[0] in JSON_STARTS:
                shown = await self._reveal.render_json(exchange, body, profile.mask_char)
                return fields, derive(shown, profile.derived) if profile.derived and asked is None else shown
        try:
            page = open_page(kind, body, media.charset_of(content_type, kind, body), self._limits)
        except BodyFault:
            if kind is not Media.ZIP:
                raise
            return fields, body  # for somebody who sees everything: what the CRM keeps
        marker = self._marker if kind is Media.HTML else None
        if marker is not None and marker.wants(exchange, status):
            exchange.masked = []
        rendered, _ = await self._reveal.render_page(exchange, page, profile.mask_char)
        if marker is not None and exchange.masked:
            charset = media.charset_of(content_type, kind, body)
            fields, rendered = await marker.mark(exchange, fields, rendered, charset)
        if page.media_type is not None:
            fields = _converted(fields, page.media_type, page.file_suffix or "xlsx")
        return fields, rendered

    async def open_table(
        self, exchange: Exchange, profile: Profile, fields: Fields, head: bytes
    ) -> tuple[Fields, TableStream] | None:
        """Header fields, and what renders a table that begins like this; None where it has to be rendered whole.

        Raises KeysUnavailable, StoreUnavailable, BodyUnreadable.
        """
        operation, named = exchange.operation, dict(fields)
        content_type = named.get("content-type", "")
        if operation is None or media.sniff(content_type, named.get("content-disposition", ""), head) is not Media.CSV:
            return None
        if _teaches(operation, profile) or exchange.batch is not None:
            return None
        if exchange.typed or exchange.own_words or exchange.retyped:
            return None
        exchange.facts = {}
        if facts.tells_in_tables(exchange, profile):
            return None
        charset = media.charset_of(content_type, Media.CSV, head)
        outline = outline_of(head, charset)
        if outline is None:
            return None
        if self._unprotected is not None and self._unprotected.declares(exchange, profile, outline.labels):
            return None
        placed = self._placed if profile.shown_rules else None
        if placed is not None and not placed.finds(profile, operation, outline.labels):
            placed = None
        if not RENDERED_FIELDS.isdisjoint(named):
            fields = await self._render_fields(exchange, fields)
        return fields, TableStream(exchange, profile, outline, charset, self._reveal, placed)

    async def _render_enclosed(self, exchange: Exchange, body: bytes, mask_char: str) -> bytes:
        """A JSON answer with the files in its strings rendered as if they were downloaded by themselves."""
        edits = []
        for spot in find_enclosed(body):
            clear = await attached.opened(self._files, exchange, spot.data)
            if clear is not None:  # for somebody who may see whatever a file can hold
                edits.append(spot.edit(clear))
                continue
            kind = media.sniff(spot.content_type, None, spot.data)
            if opaque.hides(exchange, kind, OK):
                edits.append(spot.edit(b""))
                continue
            self._require_openable(exchange, kind)
            if kind in CLOSED or kind is Media.IMAGE:
                continue
            page = open_page(kind, spot.data, media.charset_of(spot.content_type, kind, spot.data), self._limits)
            rendered, _ = await self._reveal.render_page(exchange, page, mask_char)
            if rendered != spot.data:
                edits.append(spot.edit(rendered))
        return splice(body, edits) if edits else body

    def _require_openable(self, exchange: Exchange, kind: Media) -> None:
        decision, operation = exchange.decision, exchange.operation
        if kind not in CLOSED or decision is None or decision.view.sees_everything:
            return
        if operation is not None and (operation.action is Action.ASSET or operation.opaque.answers is Opaque.PASS):
            return
        raise Refusal(ANSWER_NOT_RENDERABLE)

    async def _render_fields(self, exchange: Exchange, fields: Fields) -> Fields:
        out: Fields = []
        for name, value in fields:
            if name in RENDERED_FIELDS:
                disposition = name == "content-disposition"
                rendered = await self._reveal.render_text(exchange, value, _file_name if disposition else _percent)
                value = _both_names(rendered) if disposition and rendered != value else rendered
            out.append((name, value))
        return out


def _teaches(operation: Operation, profile: Profile) -> bool:
    """Whether something is learnt from the answer: new records, owners, sign-ins."""
    return operation.action in TAUGHT or operation.id in profile.sign_in


def _file_name(text: str) -> str:
    """A shown text inside a file name: no path and quote signs, other than ASCII percent-encoded (RFC 8187)."""
    return quote(_FILE_UNSAFE.sub("_", text), safe="!#$&+-.^_`|~@")


def _both_names(disposition: str) -> str:
    """`filename` in plain ASCII and `filename*` with everything (RFC 6266, section 4.3), where only the first stood."""
    found = _FILE_NAME.search(disposition)
    if found is None:
        return disposition
    name = found[2] if found[2] is not None else found[3]
    plain = _FILE_UNSAFE.sub("_", unquote(name).encode("ascii", "replace").decode())
    extended = "" if "filename*" in disposition.lower() else f"; filename*=UTF-8''{quote(unquote(name), safe='-._')}"
    return f'{disposition[: found.start()]}{found[1]}"{plain}"{extended}{disposition[found.end() :]}'


def _percent(text: str) -> str:
    return quote(text, safe="")


def _converted(fields: Fields, media_type: str, suffix: str) -> Fields:
    out: Fields = []
    for name, value in fields:
        if name == "content-type":
            value = media_type
        elif name == "content-disposition":
            value = _SUFFIX.sub(f".{suffix}", value)
        out.append((name, value))
    return out
