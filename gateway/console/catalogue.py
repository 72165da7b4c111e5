"""The sentences of all pages, collected from templates and code, and the catalogue they are translated in.

`python -m gateway.console.catalogue` writes new sentences into every `.po` file and drops what is gone; a test fails
when that would change anything or when a sentence has no translation.
"""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from gateway.console.language import LOCALE_FOLDER

PACKAGE = Path(__file__).parents[1]
TEMPLATE_OPTIONS = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}


def sentences() -> Catalog:
    """Every sentence of the templates and of the code that marks one with N_."""
    catalogue = Catalog(project="crmgate", charset="utf-8")
    for path, method in _sources():
        options = TEMPLATE_OPTIONS if path.suffix == ".html" else {}
        with path.open("rb") as file:
            for line, message, comments, context in extract(method, file, options=options):
                place = (path.relative_to(PACKAGE).as_posix(), line)
                catalogue.add(message, None, [place], auto_comments=comments, context=context)
    return catalogue


def updated(catalogue: Path) -> bytes:
    """The text of a catalogue brought up to date with the sentences; translations are kept."""
    with catalogue.open("rb") as file:
        known = read_po(file, locale=catalogue.parent.parent.name)
    made = known.creation_date
    known.update(sentences(), no_fuzzy_matching=True)
    known.obsolete.clear()
    known.creation_date = made  # the text depends on the sentences only, not on the day
    written = BytesIO()
    write_po(written, known, width=120, no_location=True, omit_header=False, sort_output=True, include_previous=False)
    return written.getvalue()


def _sources() -> Iterator[tuple[Path, str]]:
    for folder in (PACKAGE / "access", PACKAGE / "console"):
        for path in sorted(folder.rglob("*.html")):
            yield path, "jinja2.ext:babel_extract"
        for path in sorted(folder.glob("*.py")):
            yield path, "python"


def main() -> int:
    """Bring every catalogue up to date; prints the files that changed."""
    for catalogue in sorted(LOCALE_FOLDER.glob("*/LC_MESSAGES/crmgate.po")):
        text = updated(catalogue)
        if text != catalogue.read_bytes():
            catalogue.write_bytes(text)
            sys.stdout.write(f"{catalogue}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
