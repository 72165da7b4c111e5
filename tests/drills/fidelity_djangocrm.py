"""What a manager does in DjangoCRM, as pieces of work that the fidelity drill does twice and compares."""

import io
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import openpyxl

from gateway.demo.browser import Answer, Browser, BrowserFault, Upload, forms
from gateway.demo.driver import DJANGOCRM as SITE
from tests.drills import facts
from tests.drills.workflow import Seen, Worker, Workflow

SORTED = "order by a protected field"
PARTS = "partial search on a protected field"
CALLS = "the CRM's own calls would go to a surrogate"
ROWS = "#result_list tbody tr"
COMPANIES: Mapping[str, Mapping[str, str]] = {
    "qing": {
        "full_name": "杭州清泉科技有限公司",
        "alternative_names": "Qingquan, 清泉",
        "email": "info@qingquan.example.com, sales@qingquan.example.com",
        "phone": "+865718888999",
        "address": "西湖区文三路 90 号\r\n5 幢",
        "description": "总机 0571-88889999",
    },
    "arcy": {"full_name": "D'Arcy & Söhne", "email": "office@darcy.example.com", "website": "www.darcy.example.com"},
}
PEOPLE: Mapping[str, Mapping[str, str]] = {
    "wei": {
        "first_name": "伟",
        "last_name": "张",
        "email": "zhang.wei@example.com",
        "phone": "+8613800138000",
        "birth_date": "1990-07-15",
        "description": "电话 13800138000，身份证11010519491231002X",
        "address": "北京路 1 号",
    },
    "marie": {
        "first_name": "Marie",
        "last_name": "Dupont",
        "title": "Head of buying",
        "email": "marie.dupont@example.fr",
        "mobile": "+33612345678",
        "description": "prefers e-mail: marie.dupont@example.fr",
    },
    "john": {"first_name": "John", "last_name": "O'Brien", "email": "john@example.com", "secondary_email": "j@ex.org"},
}
LEAD = {
    "first_name": "Käthe",
    "last_name": "Vogel",
    "email": "kaethe@example.org",
    "phone": "+491711234567",
    "company_name": "Vogel & Söhne",
    "company_email": "kontakt@vogel.example.org",
    "description": "call +49 171 1234567",
}
REQUEST = {
    "request_for": "price list for Marie Dupont, marie.dupont@example.fr",
    "first_name": "Olivia",
    "last_name": "Reed",
    "email": "olivia.reed@example.com",
    "phone": "+14155550123",
    "description": "+14155550123",
    "receipt_date": "2026-11-20",
}
_WAIT_S = 60.0
_EVEN = (
    # In links between its own pages stands the surrogate; the page that opens shows what it means.
    (re.compile(r"([?&](?:q|to|subject)=)[^&']*"), r"\1{given}"),
    (re.compile(r"(_changelist_filters=q%3D)[^&']*"), r"\1{given}"),
)
_DIALLED = (re.compile(r"get-callback/\?number=\d+"), "get-callback/?number={dialled}")
_TICKET = re.compile(r"ticket=([A-Za-z0-9_-]{11})\b")  # drawn at random for a request
# Strings in scripts and in data for scripts, which both mean the same sign.
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


def _form_with(answer: Answer, name: str) -> int:
    for index, form in enumerate(forms(answer)):
        if any(key == name for key, _ in form.fields):
            return index
    raise BrowserFault(f"{answer.url.partition('?')[0]} ({answer.status}) has no form with {name}")


def _fill(browser: Browser, path: str, changes: Mapping[str, str | None], mark: str) -> Answer:
    """Open a form, change some of its fields, send it, follow nothing."""
    opened = browser.get(path).expect(200)
    index = _form_with(opened, mark)
    several = {name: value for name, value in forms(opened)[index].fields if "\n" in value}
    given = {
        name: value and value.replace("\r\n", "\n").replace("\n", "\r\n") for name, value in (several | changes).items()
    }
    return browser.submit(opened, given, index, follow=False)


def _page(answer: Answer, browser: Browser, *, dialled: bool = False) -> tuple[str, ...]:
    """An answer as facts; dialled: also the number that the CRM itself would call."""
    told = []
    tickets = set(_TICKET.findall(answer.text))
    for fact in facts.page(answer, browser):
        for ticket in tickets:
            fact = fact.replace(ticket, "{random}")
        for pattern, name in (*_EVEN, *(() if dialled else (_DIALLED,))):
            fact = pattern.sub(name, fact)
        told.append(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), fact.replace("\\\\u", "\\u")))
    return tuple(told)


def _then(browser: Browser, sent: Answer, said: str = "") -> Seen:
    """What came back from a form, and the page it leads to, with the message on it."""
    after = browser.get(sent.header("location")) if sent.header("location") else None
    told = _page(sent, browser) + (_page(after, browser) if after is not None else ())
    where = f" → {after.status} {'; '.join(facts.texts(after, '.messagelist li'))[:70]}" if after is not None else ""
    return Seen(f"{sent.status}{where} {said}".strip(), told)


def _newest(browser: Browser, model: str) -> str:
    found = re.findall(rf"/crm/{model}/(\d+)/change/", browser.get(f"{SITE}/crm/{model}/?all=yes").text)
    if not found:
        raise BrowserFault(f"the list of {model} is empty")
    return max(found, key=int)


def company(key: str) -> Callable[[Worker], Seen]:
    """Add a company through its form."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        sent = _fill(browser, f"{SITE}/crm/company/add/", dict(COMPANIES[key]), "full_name").expect(302)
        seen = _then(browser, sent)
        worker.kept[key] = _newest(browser, "company")
        return seen

    return run


def contact(key: str, employer: str) -> Callable[[Worker], Seen]:
    """Add somebody who works for a company."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        given = {**PEOPLE[key], "company": worker.kept[employer]}
        sent = _fill(browser, f"{SITE}/crm/contact/add/", given, "first_name").expect(302)
        seen = _then(browser, sent)
        worker.kept[key] = _newest(browser, "contact")
        return seen

    return run


def other(model: str, mark: str, given: Mapping[str, str], app: str = "crm") -> Callable[[Worker], Seen]:
    """Add a record of another type."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        sent = _fill(browser, f"{SITE}/{app}/{model}/add/", dict(given), mark).expect(302)
        seen = _then(browser, sent)
        if app == "crm":
            worker.kept[model] = _newest(browser, model)
        return seen

    return run


def whole_page(path: str, *, dialled: bool = False) -> Callable[[Worker], Seen]:
    """One page as it is; `{key}` in the path stands for a remembered number; dialled: see `_page`."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        answer = browser.get(SITE + path.format(**worker.kept), follow=False)
        told = _page(answer, browser, dialled=dialled)
        return Seen(f"{answer.status} {len(told)} facts", told, _page(answer, browser) if dialled else None)

    return run


def listed(query: str, *, ordered: bool = True) -> Callable[[Worker], Seen]:
    """The list of contacts; where its order hangs on a protected column, its rows are compared as a set."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        answer = browser.get(f"{SITE}/crm/contact/?{query}")
        rows = len(facts.texts(answer, ROWS))
        loose = None if ordered else facts.without_rows(answer, browser, ROWS)
        return Seen(f"{answer.status} {rows} rows", _page(answer, browser), loose)

    return run


def search(text: str, model: str = "contact") -> Callable[[Worker], Seen]:
    """The search box over a list."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        answer = browser.get(f"{SITE}/crm/{model}/?q={quote(text)}")
        told = _page(answer, browser)
        return Seen(f"{answer.status} {len(facts.texts(answer, ROWS))} rows", told, ())

    return run


def form_values(worker: Worker) -> Seen:
    """Every field of every contact as its edit form holds it."""
    browser, told = worker.driver.browser, []
    for key in PEOPLE:
        opened = browser.get(f"{SITE}/crm/contact/{worker.kept[key]}/change/").expect(200)
        told += facts.values(forms(opened)[_form_with(opened, "first_name")].fields)
    kept = sum(f"{value!r}" in fact for one in PEOPLE.values() for value in one.values() for fact in told)
    return Seen(f"{len(told)} fields, {kept} values", tuple(told))


def edit(key: str, changes: Mapping[str, str]) -> Callable[[Worker], Seen]:
    """Change some fields of a contact, or none."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        path = f"{SITE}/crm/contact/{worker.kept[key]}/change/"
        return _then(browser, _fill(browser, path, dict(changes), "first_name").expect(302))

    return run


def edit_inside_company(worker: Worker) -> Seen:
    """The people of a company are rows of its form: one is changed, one is added."""
    browser = worker.driver.browser
    path = f"{SITE}/crm/company/{worker.kept['qing']}/change/"
    opened = browser.get(path).expect(200)
    index = _form_with(opened, "full_name")
    fields = dict(forms(opened)[index].fields)
    row = next(name for name, value in fields.items() if name.endswith("-id") and value == worker.kept["wei"])
    row = row.removesuffix("-id")
    count = int(fields["contacts-TOTAL_FORMS"])
    new = {"first_name": "Ming", "last_name": "欧阳", "email": "ouyang@example.com", "phone": "+8613500001111"}
    added = {f"contacts-{count}-{name}": value for name, value in new.items()}
    added |= {f"contacts-{count}-company": worker.kept["qing"], "contacts-TOTAL_FORMS": str(count + 1)}
    sent = browser.submit(opened, {f"{row}-phone": "+8613907731899", **added}, index, follow=False).expect(302)
    seen = _then(browser, sent)
    after = [_page(browser.get(path), browser)]
    after.append(_page(browser.get(f"{SITE}/crm/contact/{worker.kept['wei']}/history/"), browser))
    return Seen(seen.said, seen.facts + after[0] + after[1])


def refused(path: str, mark: str, changes: Mapping[str, str]) -> Callable[[Worker], Seen]:
    """A form that comes back with a complaint and with what was typed."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        sent = _fill(browser, SITE + path.format(**worker.kept), dict(changes), mark).expect(200)
        said = f"{sent.status} {'; '.join(facts.texts(sent, '.errorlist li'))[:60]}"
        return Seen(said, _page(sent, browser) + facts.values(forms(sent)[_form_with(sent, mark)].fields))

    return run


def complete(term: str) -> Callable[[Worker], Seen]:
    """What a box suggests for its foreign key."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        path = f"{SITE}/autocomplete/?app_label=crm&model_name=contact&field_name=company&term={quote(term)}"
        answer = browser.get(path).expect(200)
        return Seen(f"{answer.status} {len(answer.json()['results'])} suggested", facts.page(answer, browser))

    return run


def popup(worker: Worker) -> Seen:
    """A company added in the small window of another form, and what closes that window."""
    browser = worker.driver.browser
    given = {"full_name": "Łódź Popup sp. z o.o.", "email": "popup@example.pl", "_popup": "1"}
    sent = _fill(browser, f"{SITE}/crm/company/add/?_popup=1&_to_field=id", given, "full_name").expect(200)
    return Seen(f"{sent.status} {len(sent.body) > 0}", _page(sent, browser))


def export(model: str) -> Callable[[Worker], Seen]:
    """All records of a list as a workbook."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        path = f"{SITE}/crm/{model}/?all=yes"
        opened = browser.get(path)
        token = dict(forms(opened)[0].fields)["csrfmiddlewaretoken"]
        ids = sorted(set(re.findall(r'name="_selected_action" value="(\d+)"', opened.text)), key=int)
        given = [("csrfmiddlewaretoken", token), ("action", "export_selected"), ("index", "0"), ("select_across", "0")]
        given += [("_selected_action", one) for one in ids]
        about = {"referer": opened.url, "origin": browser.base}
        answer = browser.post(path, given, headers=about, follow=False).expect(200)
        rows = facts.sheet_rows(answer.body)
        return Seen(f"{answer.status} {len(rows)} rows", facts.head(answer, browser) + facts.cells(rows))

    return run


def imported(worker: Worker) -> Seen:
    """Leads from a workbook; DjangoCRM works on it in the background."""
    browser = worker.driver.browser
    sheet = io.BytesIO()
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["first_name", "last_name", "email", "phone", "description", "company_name", "department"])
    one = ["Łukasz", "Kowalski", "lukasz@example.net", "+48601234567", "call +48601234567", "Nowak SA", "Global sales"]
    book.active.append(one)
    book.active.append(["亮", "诸葛", "zhuge.liang@example.com", "+8613611112222", '他说："好"', "", "Global sales"])
    book.save(sheet)
    opened = browser.get(f"{SITE}/import_leads/").expect(200)
    index = next(number for number, form in enumerate(forms(opened)) if "logout" not in form.action)
    token = dict(forms(opened)[index].fields)["csrfmiddlewaretoken"]
    upload = Upload("leads.xlsx", sheet.getvalue(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    browser.extra_headers |= {"referer": opened.url, "origin": browser.base}
    try:
        sent = browser.post_files(
            f"{SITE}/import_leads/", [("csrfmiddlewaretoken", token)], [("file", upload)], follow=False
        )
    finally:
        for name in ("referer", "origin"):
            browser.extra_headers.pop(name)
    sent.expect(302)
    until = time.monotonic() + _WAIT_S
    while "诸葛" not in (page := browser.get(f"{SITE}/crm/lead/?all=yes&owner=all")).text:
        if time.monotonic() > until:
            raise BrowserFault("the import was not worked off")
        time.sleep(0.3)
    rows = facts.texts(page, ROWS)
    return Seen(f"{sent.status} {len(rows)} leads", facts.head(sent, browser) + tuple(sorted(rows)))


def convert(worker: Worker) -> Seen:
    """A lead becomes a contact and a company."""
    browser = worker.driver.browser
    path = f"{SITE}/crm/lead/{worker.kept['lead']}/change/"
    return _then(browser, _fill(browser, path, {"_convert": "Convert"}, "first_name").expect(302))


def delete(worker: Worker) -> Seen:
    """Ask, confirm, look at the list and at the record."""
    browser = worker.driver.browser
    path = f"{SITE}/crm/contact/{worker.kept['john']}/delete/"
    opened = browser.get(path).expect(200)
    sent = browser.submit(opened, {}, _form_with(opened, "post"), follow=False).expect(302)
    seen = _then(browser, sent)
    gone = browser.get(f"{SITE}/crm/contact/{worker.kept['john']}/change/", follow=False)
    return Seen(f"{seen.said} → {gone.status}", _page(opened, browser) + seen.facts + facts.head(gone, browser))


WORKFLOWS = (
    Workflow("add a company with two addresses and names", company("qing")),
    Workflow("add a company", company("arcy")),
    Workflow("add a contact", contact("wei", "qing")),
    Workflow("add a second contact", contact("marie", "arcy")),
    Workflow("add a third contact", contact("john", "arcy")),
    Workflow("add a lead", other("lead", "first_name", LEAD)),
    Workflow("add a request", other("request", "request_for", REQUEST)),
    Workflow(
        "add an e-mail",
        other(
            "crmemail",
            "subject",
            {"to": "marie.dupont@example.fr", "subject": "for Marie Dupont", "content": "call +33612345678"},
        ),
        slow=True,
    ),
    Workflow("forms hold what was typed", form_values),
    Workflow("page of a contact", whole_page("/crm/contact/{wei}/change/")),
    Workflow("number that the CRM would call", whole_page("/crm/contact/{wei}/change/", dialled=True), known=CALLS),
    Workflow("page of a company", whole_page("/crm/company/{arcy}/change/"), slow=True),
    Workflow("page of a lead", whole_page("/crm/lead/{lead}/change/"), slow=True),
    Workflow("page of a request", whole_page("/crm/request/{request}/change/")),
    Workflow("page in a popup", whole_page("/crm/contact/{john}/change/?_popup=1"), slow=True),
    Workflow("history", whole_page("/crm/contact/{wei}/history/")),
    Workflow("printed request", whole_page("/print-request/{request}"), slow=True),
    Workflow("a record that is not there", whole_page("/crm/contact/999999/change/"), slow=True),
    Workflow("list", listed("all=yes")),
    Workflow("list by day of entry", listed("o=7")),
    Workflow("list by name", listed("o=1", ordered=False), known=SORTED),
    Workflow("list by e-mail, descending", listed("o=-2", ordered=False), known=SORTED, slow=True),
    Workflow("list filtered", listed("massmail__exact=1"), slow=True),
    Workflow("list filtered by company", listed("company__type__id__exact=1"), slow=True),
    Workflow("list by a column that is not there", listed("nothing=1"), slow=True),
    Workflow("search by e-mail", search("zhang.wei@example.com")),
    Workflow("search by phone", search("+33612345678")),
    Workflow("search by first name", search("Marie")),
    Workflow("search by last name", search("Dupont"), slow=True),
    Workflow("search by company", search("杭州清泉科技有限公司", "company"), slow=True),
    Workflow("search for nobody", search("Nemo"), slow=True),
    Workflow("search by part of a name", search("Dup"), known=PARTS),
    Workflow("suggestions for a company", complete("D'Arcy & Söhne")),
    Workflow("all suggestions", complete(""), slow=True),
    Workflow("edit a phone number", edit("wei", {"phone": "+8613900001234"})),
    Workflow("edit nothing", edit("marie", {})),
    Workflow("edit a name and a birthday", edit("john", {"last_name": "Smith", "birth_date": "1969-01-02"})),
    Workflow("edit contacts inside their company", edit_inside_company),
    Workflow(
        "a refused form", refused("/crm/contact/{wei}/change/", "first_name", {"email": "nope", "first_name": "威"})
    ),
    Workflow("a refused new contact", refused("/crm/contact/add/", "first_name", {"first_name": "Eve"}), slow=True),
    Workflow("add in a popup", popup),
    Workflow("export contacts", export("contact")),
    Workflow("export companies", export("company"), slow=True),
    Workflow("export leads", export("lead"), slow=True),
    Workflow("import leads", imported, slow=True),
    Workflow("turn a lead into a contact", convert),
    Workflow("delete a contact", delete),
    Workflow("start page", whole_page("/"), slow=True),
)
