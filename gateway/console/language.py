"""Which language a page is in, and the sentences of that language.

The choice: `?lang=`, the cookie set by it, the signed-in person's own setting, then `Accept-Language` (RFC 9110,
section 12.5.4). Catalogues are `.po` files read once at start; no compiled ones are kept. English is the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

from babel import Locale, negotiate_locale
from babel.dates import format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LANGUAGE_COOKIE = "__Host-crmgate-language"
LANGUAGE_COOKIE_S = 365 * 24 * 3600
LOCALE_FOLDER = Path(__file__).parent / "locale"
# More of the header than this is somebody playing.
ACCEPT_LIMIT_CHARS = 500
# English is read on both sides of the Atlantic: no order of day and month that only one of them reads right.
PATTERNS = {("en", "short"): "yyyy-MM-dd HH:mm", ("en", "medium"): "d MMM yyyy, HH:mm:ss"}


@dataclass(frozen=True, slots=True)
class Language:
    """One language: id as stored (`zh_Hans`), tag for HTML (`zh-Hans`), its own name, sentences."""

    id: str
    tag: str
    name: str
    sentences: Translations

    def moment(self, at: datetime, form: str = "medium") -> str:
        """A time for people, in UTC as the trail keeps it; `form` is `short` or `medium`."""
        return format_datetime(at, format=PATTERNS.get((self.id, form), form), locale=self.id)

    def ago(self, at: datetime, now: datetime) -> str:
        """How long ago, such as "3 minutes ago"."""
        return format_timedelta(at - now, add_direction=True, locale=self.id, threshold=0.99)


def read_languages(folder: Path = LOCALE_FOLDER) -> Mapping[str, Language]:
    """Every language there is a catalogue for, English first; reads the `.po` files once."""
    languages = {"en": Language("en", "en", "English", Translations())}
    for catalogue in sorted(folder.glob("*/LC_MESSAGES/crmgate.po")):
        name = catalogue.parent.parent.name
        locale = Locale.parse(name)
        with catalogue.open("rb") as file:
            parsed = read_po(file, locale=name)
        compiled = BytesIO()
        write_mo(compiled, parsed)
        compiled.seek(0)
        tag = name.replace("_", "-")
        languages[name] = Language(name, tag, (locale.get_display_name(name) or name), Translations(compiled))
    return languages


def choose(
    languages: Mapping[str, Language], *, query: str = "", cookie: str = "", person: str = "", accept: str = ""
) -> Language:
    """The language of one answer; unknown wishes are passed over, English is the last resort."""
    for wish in (query, cookie, person):
        if wish in languages:
            return languages[wish]
    return languages[_accepted(languages, accept[:ACCEPT_LIMIT_CHARS])]


def _accepted(languages: Mapping[str, Language], header: str) -> str:
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")):
        tag, _, rest = part.strip().partition(";")
        weight = _weight(rest)
        if weight > 0 and tag:
            wishes.append((-weight, place, tag))
    wanted = [_known_tag(tag) for _, _, tag in sorted(wishes)]
    return negotiate_locale(wanted, list(languages), sep="_") or "en"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name == "q" else 0.0
    except ValueError:
        return 0.0


def _known_tag(tag: str) -> str:
    """Our id for a language tag: every Chinese but the traditional ones reads `zh_Hans`."""
    lower = tag.lower()
    if lower == "zh" or lower.startswith(("zh-hans", "zh-cn", "zh-sg", "zh-my")):
        return "zh_Hans"
    return "en" if lower.split("-")[0] == "en" else tag.replace("-", "_")
