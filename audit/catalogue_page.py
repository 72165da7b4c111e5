"""The catalogue as a page for people: `python -m audit.catalogue_page` writes audit/CATALOGUE.md."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from audit.catalogue import catalogue
from audit.event_class import EventClass

PAGE = Path(__file__).with_name("CATALOGUE.md")
_HEAD = """# Events of the audit trail

Generated from the catalogue (`python -m audit.catalogue_page`); a test keeps both in step and looks at every place in
the source that writes an entry.

An entry says what happened by its kind, operation, reason and status. The tag `source:subject:action` is computed from
them (`audit.catalogue.tag_of`): it is in no stored byte, and the same for entries of every version. `crmgate audit list
--tag 'access:*'`, the console and every SIEM format have it. Weights: routine, notice, warning, alert. Clauses are
those of the maturity standard. Every class is kept for five years unless the settings give it another retention class.

Every entry of somebody signed in names account, CRM login, true address and session; the browser where one is bound to
the session. Entries of the command line name the account of the system in place of an address.

Not in it: events of a web application firewall. This version has none; what it refuses by itself while parsing
(`malformed-request`, `ambiguous-framing`…) is `access:refusals:counted`, or the refusal of whoever is signed in.
"""
_COLUMNS = "| tag | what | 含义 | weight | clause | written | from |\n|---|---|---|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_parts())


def _parts() -> Iterator[str]:
    for family, lines in groupby(catalogue().values(), key=lambda line: line.family):
        yield f"\n## {family}\n\n{_COLUMNS}"
        yield from map(_row, lines)


def _row(line: EventClass) -> str:
    marks = ", ".join(f"`{mark}`" for mark in line.marks) or "what passes: kind, action, status"
    told = (f"`{line.tag}`", line.english, line.chinese, line.weight, line.clause, line.moment, marks)
    return f"| {' | '.join(told)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
