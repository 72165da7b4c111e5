"""How pages are made: one template environment per language, strict and escaping, plus the addresses of static files.

Undefined names are errors, everything is escaped, no template holds a script, a style or an event handler. Static files
are read once at start and addressed by their SHA-256, so that they can be cached for ever and never mixed up.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from jinja2_fragments import render_block
from markupsafe import Markup

from gateway.console import words
from gateway.console.language import Language, read_languages

HERE = Path(__file__).parent
STATIC_PATH = "/.crmgate/static/"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One static file in memory."""

    body: bytes
    media_type: str
    sha256: str


class Look:
    """Templates, languages and static files; made once at start."""

    def __init__(self, languages: Mapping[str, Language], static: Mapping[str, StaticFile], product: str) -> None:
        self.languages = languages
        self.static = static
        self.product = product
        self._environments = {name: self._environment(language) for name, language in languages.items()}

    def page(self, template: str, language: Language, values: Mapping[str, Any]) -> str:
        """A whole page."""
        return self._environments[language.id].get_template(template).render(language=language, **values)

    def block(self, template: str, block: str, language: Language, values: Mapping[str, Any]) -> str:
        """One block of a page, for htmx to swap in."""
        return render_block(self._environments[language.id], template, block, language=language, **values)

    def sentence(self, language: Language, source: str) -> str:
        """One translated sentence."""
        return language.sentences.gettext(source)

    @property
    def styled(self) -> bool:
        """Whether the front-end files of third parties are there; without them pages work but are plain."""
        return "vendor/pico.min.css" in self.static

    def address(self, name: str) -> str:
        """Address of a static file, "" when it is not there."""
        file = self.static.get(name)
        return "" if file is None else f"{STATIC_PATH}{name}?v={file.sha256[:12]}"

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_translations(language.sentences, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(static=self.address, product=self.product, languages=self.languages)
        translate = language.sentences.gettext
        environment.filters.update(
            reason=lambda name: words.reason_words(name, translate),
            kind=lambda name: words.kind_words(name, translate),
            event=lambda line: line.chinese if language.id.startswith("zh") else line.english,
            role=lambda name: words.role_words(name, translate),
            right=lambda signed: words.right_words(signed, translate),
            purpose=lambda name: words.role_purpose(name, translate),
            data_kind=lambda name: words.data_kind_words(name, translate),
            reveal_reason=lambda name: words.reveal_reason_words(name, translate),
            key_scope=lambda name: words.key_scope_words(name, translate),
            key_purpose=lambda name: words.key_purpose_words(name, translate),
            form=lambda name: words.form_words(name, translate),
            number=lambda value: format_decimal(value, locale=language.id),
            time=_time_element,
            ago=_ago_element,
        )
        return environment


@pass_context
def _time_element(context: Context, at: datetime | None, form: str = "medium") -> str:
    """A time in the page's language, readable by programs too."""
    if at is None:
        return "–"
    language: Language = context["language"]
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), language.moment(at, form))


@pass_context
def _ago_element(context: Context, at: datetime | None) -> str:
    """How long ago, with the exact time as its title."""
    if at is None:
        return "–"
    language: Language = context["language"]
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(), language.moment(at), language.ago(at, context["now"])
    )


def read_static(folder: Path = HERE / "static") -> dict[str, StaticFile]:
    """Every static file under the folder, by its path inside it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in MEDIA_TYPES and path.name != "vendor.json":
            body = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            found[name] = StaticFile(body, MEDIA_TYPES[path.suffix], hashlib.sha256(body).hexdigest())
    return found


def read_look(product: str = "crmgate") -> Look:
    """Everything pages are made of, read from this package."""
    return Look(read_languages(), read_static(), product)
