"""Walks DjangoCRM: every page that pages lead to, then each record, search, sort, filter, export and popup."""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, urljoin, urlsplit

from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.driver import DJANGOCRM
from tests.drills.crawl import Walk

_LINK = re.compile(r"""(?:href|src|action)=["']([^"'#]+)""")
_OPENED = re.compile(r"""window\.open\((?:&#x27;|')([^'&]+)""")
# What signs out, changes something by a mere look, or is another program's.
_LEAVE = re.compile(r"/logout|/static/|/jsi18n|create-email|reply_email|create-completed|toggle-|copy-|send-|/voip/")
MODELS = ("contact", "company", "lead", "request", "deal", "crmemail")
LOOKUPS = ("phone__startswith", "email__contains", "first_name__iexact", "last_name", "mobile__regex", "full_name")
REMOTE = (("lead", "contact"), ("contact", "company"), ("request", "lead"), ("crmemail", "request"))
MISSING = ("crm/contact/999999/change/", "crm/nothing/", "crm/contact/?o=x&p=99999", "crm/contact/?nothing__in=1")


def walk_djangocrm(
    browser: Browser,
    records: Sequence[tuple[str, str]],
    clear: Sequence[str],
    limit: int,
    see: Callable[[Answer], None],
) -> Walk:
    """Records, searches and errors first, then breadth first from the start page, then exports.

    records: (entity, id), an organisation is a company; clear: values to search for; limit: pages at most.
    """
    walk = Walk()

    def note(answer: Answer) -> Answer:
        walk.note(answer)
        see(answer)
        return answer

    todo = [*_of_records(records), *_lists(), *_searches(clear), *(f"{DJANGOCRM}/{one}" for one in MISSING)]
    at = 0
    while at < len(todo) and walk.answers < limit:
        path = todo[at]
        at += 1
        if path in walk.visited:
            continue
        walk.visited.add(path)
        answer = note(browser.get(path, follow=False))
        if answer.status in (301, 302) and answer.header("location"):
            todo.insert(at, answer.header("location"))
        if b"<" in answer.body[:4000]:
            todo += sorted(set(_links(answer)) - walk.visited)
    for model in ("contact", "company"):
        for answer in _exported(browser, model):
            note(answer)
    _refused_form(browser, records, note)
    return walk


def _of_records(records: Sequence[tuple[str, str]]) -> Iterator[str]:
    for entity, record in records:
        model = "company" if entity == "organisation" else entity
        for page in ("change/", "history/", "delete/", "change/?_popup=1"):
            yield f"{DJANGOCRM}/crm/{model}/{record}/{page}"


def _lists() -> Iterator[str]:
    yield f"{DJANGOCRM}/"
    yield "/en/456-admin/"
    yield "/en/456-admin/admin/logentry/"
    for model in MODELS:
        yield f"{DJANGOCRM}/crm/{model}/?all=yes"
        yield f"{DJANGOCRM}/crm/{model}/?_popup=1"
        for column in (1, 2, 3):
            yield f"{DJANGOCRM}/crm/{model}/?o={column}"
            yield f"{DJANGOCRM}/crm/{model}/?o=-{column}"
    for model, field in REMOTE:
        yield f"{DJANGOCRM}/autocomplete/?app_label=crm&model_name={model}&field_name={field}&term="


def _searches(clear: Sequence[str]) -> Iterator[str]:
    for value in clear:
        for model in MODELS[:4]:
            yield f"{DJANGOCRM}/crm/{model}/?q={quote(value)}"
        for lookup in LOOKUPS:
            yield f"{DJANGOCRM}/crm/contact/?{lookup}={quote(value)}"
        for model, field in REMOTE:
            yield f"{DJANGOCRM}/autocomplete/?app_label=crm&model_name={model}&field_name={field}&term={quote(value)}"


def _exported(browser: Browser, model: str) -> Iterator[Answer]:
    """Every record of a list as a workbook, as its action makes it."""
    path = f"{DJANGOCRM}/crm/{model}/?all=yes"
    listed = browser.get(path)
    ids = re.findall(r'name="_selected_action" value="(\d+)"', listed.text)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', listed.text)
    if not ids or token is None:
        return
    given = [("csrfmiddlewaretoken", token[1]), ("action", "export_selected"), ("index", "0"), ("select_across", "0")]
    about = {"referer": listed.url, "origin": browser.base}
    yield browser.post(path, [*given, *(("_selected_action", one) for one in ids)], headers=about, follow=False)
    own = re.search(r'href="([^"]*/export-objects/[^"]*)"', listed.text)
    if own is not None:
        yield browser.get(html.unescape(own[1]), follow=False)


def _refused_form(browser: Browser, records: Sequence[tuple[str, str]], note: Callable[[Answer], Answer]) -> None:
    """Edit forms sent with a wrong e-mail address: the CRM shows everything again."""
    for entity, record in records[:3]:
        if entity != "contact":
            continue
        opened = browser.get(f"{DJANGOCRM}/crm/contact/{record}/change/")
        if opened.status != 200:
            continue
        for index, form in enumerate(forms(opened)):
            if any(name == "first_name" for name, _ in form.fields):
                note(browser.submit(opened, {"secondary_email": "no address"}, index, follow=False))


def _links(answer: Answer) -> Iterator[str]:
    text = answer.text
    host = urlsplit(answer.url).netloc
    for raw in (*_LINK.findall(text), *_OPENED.findall(text)):
        url = urljoin(answer.url, html.unescape(raw))
        parts = urlsplit(url)
        if parts.netloc != host or parts.scheme not in ("http", "https") or _LEAVE.search(url):
            continue
        yield parts.path + (f"?{parts.query}" if parts.query else "")
