"""A table too long to hold, rendered group of rows by group of rows as if it were rendered whole.

What rendering a table asks of the table as a whole is its head: charset, separator, labels. Where it asks for more, the
table is not rendered so: clear values at declared places (gateway.unprotected) are hidden wherever else they stand in
the same answer, also in rows before them.
"""

from functools import partial

from gateway.body import charset as charsets
from gateway.body.csv_quick import Alone, walk_table
from gateway.body.csv_rows import Outline, RowGroups
from gateway.body.fault import BodyMalformed, BodyUnreadable
from gateway.body.media import Media
from gateway.body.page import TextualPage
from gateway.exchange import Exchange
from gateway.placed import Placed
from gateway.reveal import Reveal
from policies.profile import Profile


class TableStream:
    """One table on its way to one person. placed: None where no column of it is found by its place."""

    def __init__(
        self,
        exchange: Exchange,
        profile: Profile,
        outline: Outline,
        charset: str,
        reveal: Reveal,
        placed: Placed | None,
    ) -> None:
        self.groups = RowGroups(outline)
        self._exchange, self._profile, self._reveal, self._placed = exchange, profile, reveal, placed
        self._outline, self._charset = outline, charset
        self._header = b"" if placed is None else charsets.from_utf8(outline.header, outline.codec)
        self._begins = True
        self._alone: dict[str, Alone] = {}

    async def render(self, group: bytes) -> bytes:
        """One group for the person of the exchange, where what it shows is counted; groups come in their order.

        Raises KeysUnavailable, StoreUnavailable, BodyFault.
        """
        if not group:
            return b""
        body = group if self._placed is None else await self._place(self._placed, group)
        walker = partial(walk_table, separator=self._outline.separator, begins=self._begins, alone=self._alone)
        page = TextualPage(body, self._charset, walker)
        rendered, _ = await self._reveal.render_page(self._exchange, page, self._profile.mask_char)
        self._begins = False
        return rendered

    async def _place(self, placed: Placed, group: bytes) -> bytes:
        """The group with what is found by the label of its column; every group is a table with the same header."""
        if b"\0" in charsets.to_utf8(group, self._outline.codec):
            raise BodyMalformed("csv-nul")
        if not self._charset:
            _require_utf8(group)
        self._exchange.cells_at.clear()
        self._exchange.numbers = None
        header = b"" if self._begins else self._header
        shown = await placed.render(self._exchange, self._profile, Media.CSV, self._charset, header + group)
        if not shown.startswith(header):
            raise BodyMalformed("csv-header")
        return shown[len(header) :]


def _require_utf8(group: bytes) -> None:
    """Without a declared charset it is guessed of all bytes: only where all are UTF-8 a part of them tells."""
    try:
        group.decode("utf-8")
    except UnicodeDecodeError:
        raise BodyUnreadable("csv-charset") from None
