"""Draws the summary of an evidence pack as PDF: the same facts give the same bytes.

Chinese is set in STSong-Light, a font that PDF readers bring along for Chinese, so that none is shipped.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from audit.pack_facts import Anchored, Facts, most, periods
from audit.pack_words import word

CHINESE, LATIN, FIXED = "STSong-Light", "Helvetica", "Courier"
ROWS, PERIODS = 10, 31
_INK, _PALE, _BAR = HexColor("#1c2733"), HexColor("#5b6b7b"), HexColor("#2f6f9f")
_WIDTH = A4[0] - 40 * mm - 12  # a frame has 6 points of padding on each side
_FOREIGN = re.compile(r"[^\x20-\x7e\xa0-\xff]+")


def draw(facts: Facts, language: str) -> bytes:
    """The file. language: "en" or "zh"."""
    pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    target = io.BytesIO()
    document = SimpleDocTemplate(
        target, pagesize=A4, invariant=1, leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm,
        bottomMargin=18 * mm, title=word("title", language), author="crmgate", subject=facts.origin,
        creator="crmgate", lang={"en": "en", "zh": "zh-CN"}[language],
    )  # fmt: skip
    foot = partial(_foot, facts, language)
    document.build(_Page(facts, language).story(), onFirstPage=foot, onLaterPages=foot)
    return target.getvalue()


def _foot(facts: Facts, language: str, canvas: Canvas, _: object) -> None:
    made = f"D:{facts.made_at:%Y%m%d%H%M%S}Z"
    canvas.setDateFormatter(lambda *_: made)
    canvas.setFillColor(_PALE)
    for text, draw_at, x in (
        (f"{facts.origin}  {facts.root[:16]}", canvas.drawString, 20 * mm),
        (word("page", language, page=canvas.getPageNumber()), canvas.drawRightString, A4[0] - 20 * mm),
    ):
        canvas.setFont(_font(text), 8)
        draw_at(x, 10 * mm, text)


def _font(text: str) -> str:
    return CHINESE if _FOREIGN.search(text) else LATIN


class _Page:
    """The parts, from top to bottom."""

    def __init__(self, facts: Facts, language: str) -> None:
        self._facts = facts
        self._language = language
        font = CHINESE if language == "zh" else LATIN
        plain = ParagraphStyle("plain", fontName=font, fontSize=9.5, leading=14, textColor=_INK)
        if language == "zh":
            plain.wordWrap = "CJK"
        self._plain = plain
        self._pale = ParagraphStyle("pale", plain, textColor=_PALE)
        self._fixed = ParagraphStyle("fixed", plain, fontName=FIXED, fontSize=8, leading=11, wordWrap="CJK")
        self._head = ParagraphStyle("head", plain, fontSize=13, leading=18, spaceBefore=10, spaceAfter=4)
        self._small = ParagraphStyle("small", plain, fontSize=10.5, leading=15, spaceBefore=6)
        self._title = ParagraphStyle("title", plain, fontSize=19, leading=26, spaceAfter=4)

    def story(self) -> list[Flowable]:
        """All of it."""
        facts, totals = self._facts, self._facts.totals
        return [
            self._text("title", self._title),
            self._text("lead", self._pale),
            *self._about(),
            self._chart("day", periods(totals.day, PERIODS)),
            self._chart("person", [(name or self._say("nobody"), count) for name, count in self._most(totals.person)]),
            self._chart("operation", self._most(totals.operation)),
            self._chart("form", self._most(totals.form)),
            self._chart("outcome", [(self._say(name), count) for name, count in most(totals.outcome, ROWS)]),
            self._chart("reason", self._most(totals.reason)),
            *self._policies(),
            *self._signature(),
            *self._anchors(),
            *self._list("proved", self._proved()),
            *self._list("not-proved", self._not_proved()),
            KeepTogether([
                self._text("steps", self._head),
                *(self._para(f"{number}. {self._say(f'step-{number}')}") for number in (1, 2, 3)),
                self._para(f"python3 verify.py PACK.zip --key '{facts.vkey}'", self._fixed),
                *(self._para(f"{number}. {self._say(f'step-{number}')}") for number in (4, 5)),
            ]),
        ]  # fmt: skip

    def _say(self, name: str, **values: object) -> str:
        return word(name, self._language, **values)

    def _para(self, text: str, style: ParagraphStyle | None = None) -> Paragraph:
        """Text of anybody: no markup, and in a font that has its letters."""
        shown = "".join(letter if letter.isprintable() else " " for letter in text)
        marked = _FOREIGN.sub(lambda part: f'<font name="{CHINESE}">{part[0]}</font>', escape(shown))
        return Paragraph(marked, style or self._plain)

    def _text(self, name: str, style: ParagraphStyle | None = None, **values: object) -> Paragraph:
        return self._para(self._say(name, **values), style)

    def _most(self, counter: Counter[str]) -> list[tuple[str, int]]:
        found = most(counter, ROWS)
        return [*found[:ROWS], *((self._say("others"), count) for _, count in found[ROWS:])]

    def _about(self) -> Iterable[Flowable]:
        facts, totals = self._facts, self._facts.totals
        asked = ", ".join(f"{name}={value}" for name, value in facts.filters.items()) or self._say("everything")
        rows = [
            ("log", facts.origin),
            ("made", f"{facts.made_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("made-by", facts.made_by),
            ("asked", asked),
            ("entries", self._say("entries-value", entries=totals.entries, first=facts.first, last=facts.last)),
        ]
        if totals.first_at and totals.last_at:
            span = {"first": f"{totals.first_at:%Y-%m-%d %H:%M:%S}", "last": f"{totals.last_at:%Y-%m-%d %H:%M:%S}"}
            rows.append(("time", self._say("time-value", **span)))
        if facts.waiting:
            rows.append(("waiting", self._say("waiting-value", count=facts.waiting)))
        yield self._text("about", self._head)
        yield self._table([(self._text(name, self._pale), self._para(value)) for name, value in rows])

    def _policies(self) -> Iterable[Flowable]:
        yield self._text("policies", self._head)
        if not self._facts.policies:
            yield self._text("no-policies")
            return
        yield self._text("policies-lead", self._pale)
        heads = (self._text("version", self._pale), self._text("since", self._pale))
        rows = [
            (self._para(version, self._fixed), self._para(since or self._say("from-start")))
            for version, since in self._facts.policies.items()
        ]
        yield self._table([heads, *rows], left=90 * mm)

    def _signature(self) -> Iterable[Flowable]:
        facts = self._facts
        rows = [
            ("size", self._text("size-value", size=facts.size)),
            ("root", self._para(facts.root, self._fixed)),
            ("key", self._para(facts.vkey, self._fixed)),
            ("fingerprint", self._para(facts.fingerprint, self._fixed)),
        ]
        if facts.earlier:
            rows.append(("earlier", self._text("earlier-value", size=facts.earlier)))
        table = self._table([(self._text(name, self._pale), value) for name, value in rows])
        yield KeepTogether([self._text("signature", self._head), table])

    def _anchors(self) -> Iterable[Flowable]:
        yield self._text("anchors", self._head)
        if not self._facts.anchors:
            yield self._text("no-anchors")
            return
        yield self._text("anchors-lead", self._pale)
        heads = (self._text("place", self._pale), self._text("state", self._pale))
        yield self._table([heads, *((self._place(one), self._state(one)) for one in self._facts.anchors)])

    def _place(self, one: Anchored) -> Paragraph:
        return self._text(one.name) if one.name in ("folder", "time-stamp") else self._para(one.name)

    def _state(self, one: Anchored) -> Paragraph:
        name = "covers-all" if one.size > self._facts.last else "covers-part"
        return self._text(name, size=one.size, last=self._facts.last)

    def _proved(self) -> Iterable[tuple[str, dict[str, object]]]:
        facts = self._facts
        yield "proved-each", {}
        if facts.earlier:
            yield "proved-growth", {}
        if facts.range is not None:
            count, shown = facts.range.end - facts.range.first, facts.totals.entries
            told = {"count": count, "first": facts.range.first, "last": facts.range.end - 1}
            yield "proved-range", {**told, "shown": shown, "withheld": count - shown}
        elif facts.consecutive:
            yield "proved-consecutive", {}

    def _not_proved(self) -> Iterable[tuple[str, dict[str, object]]]:
        if self._facts.range is not None:
            names: tuple[str, ...] = ("not-withheld", "not-range")
        else:
            names = () if self._facts.consecutive else ("not-complete",)
        yield from ((name, {}) for name in (*names, "not-key", "not-truth", "not-tables"))

    def _list(self, head: str, lines: Iterable[tuple[str, dict[str, object]]]) -> Iterable[Flowable]:
        yield self._text(head, self._head)
        for name, values in lines:
            yield self._para(f"- {self._say(name, **values)}")

    def _table(self, rows: Sequence[Sequence[Flowable]], left: float = 42 * mm) -> Table:
        table = Table(rows, colWidths=(left, _WIDTH - left))
        rule = ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor("#c9d2da"))
        table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0), rule]))
        return table

    def _chart(self, head: str, rows: Sequence[tuple[str, int]]) -> Flowable:
        if not rows:
            return KeepTogether([self._text(head, self._small), self._text("nothing", self._pale)])
        return KeepTogether([self._text(head, self._small), Spacer(1, 2), _bars(rows)])


def _bars(rows: Sequence[tuple[str, int]]) -> Drawing:
    """A bar for each, its name on the left and its number behind it."""
    line, left, largest = 13.0, 62 * mm, max(count for _, count in rows)
    drawing = Drawing(_WIDTH, line * len(rows))
    for place, (name, count) in enumerate(rows):
        y = line * (len(rows) - place - 1)
        text = _cut(name, left - 6)
        width = max((_WIDTH - left - 20 * mm) * count / largest, 0.8)
        drawing.add(String(0, y + 3.5, text, fontName=_font(text), fontSize=8.5, fillColor=_INK))
        drawing.add(Rect(left, y + 2, width, line - 5, fillColor=_BAR, strokeColor=None))
        drawing.add(String(left + width + 4, y + 3.5, str(count), fontName=LATIN, fontSize=8.5, fillColor=_INK))
    return drawing


def _cut(text: str, room: float) -> str:
    """As much of it as there is room for."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    if pdfmetrics.stringWidth(shown, _font(shown), 8.5) <= room:
        return shown
    while shown and pdfmetrics.stringWidth(f"{shown}...", _font(shown), 8.5) > room:
        shown = shown[:-1]
    return f"{shown}..."
