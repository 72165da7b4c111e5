"""The work that the fidelity drill does in Creme: every screen a customer's data passes through."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, urlsplit

from selectolax.lexbor import LexborHTMLParser

from gateway.demo import children
from gateway.demo.browser import Answer, Browser, BrowserFault, Form, Upload, forms
from tests.drills import facts
from tests.drills.workflow import Seen, Worker, Workflow
from tests.real.servers import CrmServer

SORTED = "order by a protected field"
PARTIAL = "partial search on a protected field"
SHARED = "search by a name that several have asks for something else to search by"
MORE = "a full name is found that the CRM itself does not find"
CONVERTED = "XLS arrives as XLSX"
ROWS = "tr.lv-row"
EVERYTHING = '{"op":"AND","val":[]}'  # a list's own condition; Creme refuses an export without it
VIEW = "persons-hf_contact"
BY = "billing_address__zipcode"  # a column that nobody protects, so that lists sort by it
JOB_SECONDS = 60.0

# Spellings that a gateway could be tempted to tidy up.
PEOPLE: Mapping[str, Mapping[str, str]] = {
    "wei": {
        "last_name": "Zhang",
        "first_name": "Wei",
        "mobile": "139-0773-1824",
        "phone": "１３９０７７３１８２５",
        "email": "Zhang.WEI@Example.COM",
        "birthday": "1981-03-04",
        "billing_address-zipcode": "19C",
        "description": "第一行：手机13800138000，邮箱li.na@example.org\r\n\r\n"
        '\t张伟 said: <b>&amp;</b> "quoted" it\'s 100%  twice  \\n\r\nend',
        "billing_address-address": "建国路88号 3单元",
        "billing_address-city": "北京",
    },
    "marie": {
        "last_name": "d'Arcy",
        "first_name": "Zoé-Marie",
        "phone": "+33 6 12 34 56 78",
        "email": "zoe.darcy@example.com",
        "birthday": "1975-11-30",
        "billing_address-zipcode": "19B",
        "description": "Appeler Zoé-Marie d'Arcy avant 18:30 — n° client 20261122, TVA FR-19, réf. 2026/11/0042",
        "billing_address-address": "12 rue de Rivoli\r\nBâtiment B",
        "billing_address-city": "Paris",
    },
    "na": {
        "last_name": "李",
        "first_name": "娜",
        "mobile": "+86 139 1234 5678",
        "phone": "010-6552 9988 转 23",
        "email": "li.na@example.org",
        "birthday": "1990-07-15",
        "billing_address-zipcode": "19E",
        "description": "身份证11010519491231002X，卡号6222020000000000004。",
        "billing_address-city": "上海",
    },
    "john": {
        "last_name": "Smith & Sons",
        "first_name": 'John "JJ"',
        "phone": "(415) 555-0123 ext. 9",
        "email": "john+crm@mail.example.com",
        "birthday": "1969-01-02",
        "billing_address-zipcode": "19A",
        "billing_address-address": "1 Infinite Loop, Apt 4",
        "billing_address-city": "Springfield",
    },
    "hui": {
        "last_name": "Zhang",
        "first_name": "Hui",
        "birthday": "1988-08-08",
        "billing_address-zipcode": "19D",
        "phone": "021 5555 0000",
    },
    "bare": {
        "last_name": "王",
        "birthday": "2001-12-31",
        "billing_address-zipcode": "19F",
        "description": "no way to reach",
    },
}
IMPORTED = (
    "Last name,First name,Phone number,Mobile,Email address,Description\r\n"
    'Kowalski,Łukasz,+48 601 234 567,,lukasz.k@example.net,"notes, with a comma and +48601234567"\r\n'
    '诸葛,亮,,13611112222,zhuge.liang@example.com,"他说：""好"""\r\n'
    "Reed,Olivia,see notes,,not-an-address,bad e-mail\r\n"
)
CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Müller;Jürgen\r\nFN:Jürgen Müller\r\nTEL;TYPE=WORK:+49 171 1234567\r\n"
    "EMAIL:juergen.mueller@example.org\r\nADR:;;Hauptstraße 5;Berlin;;10115;Germany\r\nEND:VCARD\r\n"
)


@contextlib.contextmanager
def job_manager(server: CrmServer) -> Iterator[None]:
    """Creme's own process for background work."""
    command = [server.python, "-W", "ignore", "-m", "creme.manage", "creme_job_manager", "--settings=crmproj.settings"]
    child = children.start("Creme's jobs", command, server.folder.parent / "jobs.log", server.folder)
    try:
        yield
    finally:
        child.stop()


def _form_with(answer: Answer, name: str) -> int:
    for index, form in enumerate(forms(answer)):
        if any(key == name for key, _ in form.fields):
            return index
    raise BrowserFault(f"{urlsplit(answer.url).path} ({answer.status}) has no form with {name}")


def _fill(browser: Browser, path: str, changes: Mapping[str, str | None], mark: str) -> Answer:
    """Open a form, change some of its fields, send it, follow nothing."""
    opened = browser.get(path).expect(200)
    return _submit(browser, opened, changes, _form_with(opened, mark))


def _submit(browser: Browser, opened: Answer, changes: Mapping[str, str | None], index: int) -> Answer:
    """Send a form as a browser does: line breaks of every value as CR LF (HTML, 4.10.22.4)."""
    fields = {name: value for name, value in forms(opened)[index].fields if "\n" in value}
    given = {
        name: value and value.replace("\r\n", "\n").replace("\n", "\r\n")
        for name, value in {**fields, **changes}.items()
    }
    return browser.submit(opened, given, index, follow=False)


def _by_script(browser: Browser) -> dict[str, str]:
    """What Creme's own scripts send with a request that changes something."""
    token = browser.cookies.get("csrftoken", "")
    return {"x-csrftoken": token, "referer": browser.base + "/", "origin": browser.base}


def _number(answer: Answer) -> str:
    return urlsplit(answer.header("location")).path.rstrip("/").rpartition("/")[2]


def _errors(answer: Answer) -> list[str]:
    return facts.texts(answer, ".errorlist li")


def _opened(browser: Browser, sent: Answer, said: str) -> Seen:
    """What came back from a form, and the page it leads to."""
    after = browser.get(sent.header("location")) if sent.header("location") else None
    told = facts.page(sent, browser) + (facts.page(after, browser) if after is not None else ())
    where = f" → {after.status}" if after is not None else ""
    return Seen(f"{sent.status}{where} {said}".strip(), told)


def _type(worker: Worker, entity: str = "contact") -> str:
    """The number of a record type, from the links of its list."""
    key = f"type of {entity}"
    if key not in worker.kept:
        found = re.search(r"/creme_core/mass_import/(\d+)", worker.driver.browser.get(f"/persons/{entity}s").text)
        if found is None:
            raise BrowserFault(f"the list of {entity}s names no type")
        worker.kept[key] = found.group(1)
    return worker.kept[key]


def create(key: str) -> Callable[[Worker], Seen]:
    """Add one contact through the form and look at its page."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        sent = _fill(browser, "/persons/contact/add", dict(PEOPLE[key]), "last_name").expect(302)
        worker.kept[key] = _number(sent)
        return _opened(browser, sent, f"contact {_number(sent)}")

    return run


def form_values(worker: Worker) -> Seen:
    """Every field of every contact as its edit form holds it."""
    browser, told = worker.driver.browser, []
    for key in PEOPLE:
        opened = browser.get(f"/persons/contact/edit/{worker.kept[key]}").expect(200)
        told += facts.values(forms(opened)[_form_with(opened, "last_name")].fields)
    kept = sum(f"{value!r}" in fact for one in PEOPLE.values() for value in one.values() for fact in told)
    return Seen(f"{len(told)} fields, {kept} values", tuple(told))


def whole_page(path: str, said: str = "") -> Callable[[Worker], Seen]:
    """One page as it is; `{key}` in the path stands for a remembered number."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        answer = browser.get(path.format(type=_type(worker), **worker.kept), follow=False)
        told = facts.page(answer, browser)
        return Seen(f"{answer.status} {said or f'{len(told)} facts'}", told)

    return run


def start_page(worker: Worker) -> Seen:
    """The start page; what happened in the same second has no order of its own."""
    browser = worker.driver.browser
    answer = browser.get("/")
    told = facts.without_rows(answer, browser, "tbody tr")
    return Seen(f"{answer.status} {len(told)} facts", told)


def _rows(answer: Answer) -> int:
    return len(facts.texts(answer, ROWS))


def in_a_list(path: str, *, ordered: bool) -> Callable[[Worker], Seen]:
    """A list; where its order hangs on a protected column, the rows are compared as a set."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        answer = browser.get(path.format(type=_type(worker), **worker.kept))
        loose = facts.without_rows(answer, browser, ROWS)
        told = facts.page(answer, browser) if ordered else loose
        if BY in path:  # staff have none: they are alike to Creme and come in the order of the next column
            told = (*loose, *(text for text in facts.texts(answer, ROWS) if "Edit" not in text or "19" in text))
        return Seen(f"{answer.status} {_rows(answer)} rows", told, loose)

    return run


def search_list(column: str, value: str, path: str = "/persons/contacts") -> Callable[[Worker], Seen]:
    """One of the search boxes over a list, as the page itself sends it."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        view = worker.kept.get("view", VIEW)
        given = {
            f"search-regular_field-{column}": value,
            "hfilter": view,
            "sort_key": f"regular_field-{BY}",
            "sort_order": "ASC",
            "rows": "25",
            "content": "1",
            "selection": "multiple",
            "transient": "0",
        }
        answer = browser.post(path, given, headers={"x-requested-with": "XMLHttpRequest", **_by_script(browser)})
        return Seen(f"{answer.status} {_rows(answer)} rows", facts.page(answer, browser), facts.head(answer, browser))

    return run


def search_all(value: str) -> Callable[[Worker], Seen]:
    """The box at the top of every page: suggestions, then the page of results."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        light = browser.get(f"/creme_core/search/light?value={quote(value)}")
        full = browser.get(f"/creme_core/search?research={quote(value)}")
        found = sum(one.get("count", 0) for one in light.json().get("results", [])) if light.status == 200 else 0
        rows = "td.brick-table-data-empty, .brick-table-content tbody tr"
        told = (*facts.head(light, browser), *_sorted_light(light), *facts.without_rows(full, browser, rows))
        loose = (*facts.head(light, browser), *facts.head(full, browser))
        return Seen(f"{light.status} {found} suggested, {full.status} page", told, loose)

    return run


def _sorted_light(light: Answer) -> tuple[str, ...]:
    if light.status != 200:
        return (light.text,)
    told = light.json()
    return (*sorted(map(facts.structure, told.get("results", []))), facts.structure(told.get("best")))


def loosely(run: Callable[[Worker], Seen]) -> Callable[[Worker], Seen]:
    """Work whose outcome may differ altogether, as the workflow says."""
    return lambda worker: replace(run(worker), loose=())


def own_view(worker: Worker) -> Seen:
    """A view of one's own with unprotected columns to sort by."""
    browser = worker.driver.browser
    cells = ",".join(
        f"regular_field-{name}"
        for name in (BY, "last_name", "first_name", "phone", "mobile", "email", "billing_address__address")
    )
    path = f"/creme_core/header_filter/add/{_type(worker)}"
    sent = _fill(browser, path, {"name": "By code", "cells": cells}, "cells").expect(302)
    listed = browser.get("/persons/contacts")
    found = re.search(r'value="(creme_core-userhf_[^"]+)"', listed.text)
    worker.kept["view"] = found.group(1) if found else VIEW
    return Seen(f"{sent.status} view made" if found else "no view", facts.head(sent, browser))


def edit(worker: Worker) -> Seen:
    """Change one field of the whole form, leave the others as they came."""
    browser = worker.driver.browser
    path = f"/persons/contact/edit/{worker.kept['wei']}"
    sent = _fill(browser, path, {"mobile": "+86 139 0773 1899"}, "last_name").expect(302)
    return _opened(browser, sent, "")


def edit_nothing(worker: Worker) -> Seen:
    """Save the form as it came: nothing may change and no line of history appear."""
    browser = worker.driver.browser
    path = f"/persons/contact/edit/{worker.kept['marie']}"
    return _opened(browser, _fill(browser, path, {}, "last_name").expect(302), "")


def inner(cell: str, field: str, value: str) -> Callable[[Worker], Seen]:
    """Edit one cell in its popup."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        path = f"/creme_core/entity/edit/inner/{_type(worker)}/{worker.kept['marie']}?cell=regular_field-{cell}"
        sent = _fill(browser, path, {field: value}, field).expect(200)
        after = browser.get(f"/persons/contact/{worker.kept['marie']}")
        return Seen(f"{sent.status} {_errors(sent) or 'taken'}", facts.page(sent, browser) + facts.page(after, browser))

    return run


def bulk(field: str, value: str) -> Callable[[Worker], Seen]:
    """One value for several contacts at once."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        ids = [worker.kept[key] for key in ("na", "john")]
        path = f"/creme_core/entity/update/bulk/{_type(worker)}/field/regular_field-{field}"
        opened = browser.get(f"{path}?{'&'.join(f'entities={one}' for one in ids)}").expect(200)
        form = forms(opened)[_form_with(opened, field)]
        fields = [*form.filled({field: value}), *(("entities", one) for one in ids)]
        sent = browser.post(path, fields, headers={"referer": opened.url, "origin": browser.base})
        told = facts.page(opened, browser) + facts.page(sent, browser)
        for one in ids:
            told += facts.page(browser.get(f"/persons/contact/{one}"), browser)
        return Seen(f"{sent.status} {len(ids)} contacts", told)

    return run


def refused(path: str, mark: str, changes: Mapping[str, str]) -> Callable[[Worker], Seen]:
    """A form that Creme gives back with a complaint and with what was typed."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        sent = _fill(browser, path.format(type=_type(worker), **worker.kept), dict(changes), mark).expect(200)
        form = forms(sent)[_form_with(sent, mark)]
        said = f"{sent.status} {'; '.join(_errors(sent))[:60]}"
        return Seen(said, facts.page(sent, browser) + facts.values(form.fields))

    return run


def quick_create(worker: Worker) -> Seen:
    """The small form, with an employer that it creates by name."""
    browser = worker.driver.browser
    given = {
        "last_name": "欧阳",
        "first_name": "Ming",
        "phone": "13500001111",
        "email": "ouyang.ming@example.com",
        "organisation": "Rivoli-Handel GmbH",
    }
    sent = _fill(browser, f"/creme_core/quickforms/{_type(worker)}/add", given, "last_name").expect(200)
    found = re.search(r'"value":\s*"?(\d+)', sent.text) or re.search(r"(\d+)", sent.text)
    worker.kept["quick"] = found.group(1) if found else ""
    after = browser.get(f"/persons/contact/{worker.kept['quick']}", follow=False)
    rows = ("organisations", facts.without_rows(browser.get("/persons/organisations"), browser, ROWS))
    return Seen(f"{sent.status} → {after.status}", facts.page(sent, browser) + facts.page(after, browser) + rows[1])


def organisation(worker: Worker) -> Seen:
    """Add a company and a contact who works there, look at both."""
    browser = worker.driver.browser
    given = {
        "name": "杭州清泉科技有限公司",
        "phone": "0571 8888 9999",
        "email": "Info@QingQuan.example.com",
        "billing_address-address": "西湖区文三路 90 号",
        "description": "总机 0571-88889999，联系人李娜",
    }
    sent = _fill(browser, "/persons/organisation/add", given, "name").expect(302)
    worker.kept["company"] = _number(sent)
    path = f"/persons/contact/add_related/{worker.kept['company']}/persons-object_employed_by"
    added = _fill(
        browser, path, {"last_name": "Trần", "first_name": "Văn Nam", "phone": "+84 91 234 56 78"}, "last_name"
    )
    worker.kept["employee"] = _number(added)
    seen = _opened(browser, sent, f"company {worker.kept['company']}")
    employee = browser.get(f"/persons/contact/{worker.kept['employee']}")
    return Seen(seen.said, (*seen.facts, *facts.page(added, browser), *facts.page(employee, browser)))


def _sort_rows(rows: list[list[str]], *, every: bool = True) -> list[list[str]]:
    """The heading, then rows in an order of their own: all, or those without a postal code, alike to Creme."""
    alike = [row for row in rows[1:] if every or not row[0]]
    return [*rows[:1], *sorted(alike), *(row for row in rows[1:] if row not in alike)]


def export(kind: str, sort: str, *, ordered: bool) -> Callable[[Worker], Seen]:
    """Download the list as a file."""

    def run(worker: Worker) -> Seen:
        browser = worker.driver.browser
        view = worker.kept.get("view", VIEW)
        answer = browser.get(
            f"/creme_core/mass_export?ct_id={_type(worker)}&type={kind}&hfilter={view}"
            f"&sort_key=regular_field-{sort}&sort_order=ASC&efilter=&extra_q={quote(EVERYTHING)}"
        ).expect(200)
        if kind in ("csv", "scsv"):
            rows = facts.csv_rows(answer.body, ";" if kind == "scsv" else ",")
        else:
            rows = facts.sheet_rows(answer.body)
        told = facts.cells(_sort_rows(rows, every=not ordered))
        said = f"{'xlsx' if answer.body[:2] == b'PK' else kind} {len(rows)} x {len(rows[0])} cells"
        raw = sorted(answer.text.splitlines()) if kind in ("csv", "scsv") else []
        return Seen(said, (*facts.head(answer, browser), *told, *raw), facts.cells(_sort_rows(rows)))

    return run


def export_by_name(worker: Worker) -> Seen:
    """The order of a protected column, as the file has it."""
    browser = worker.driver.browser
    answer = browser.get(
        f"/creme_core/mass_export?ct_id={_type(worker)}&type=csv&hfilter={worker.kept.get('view', VIEW)}"
        f"&sort_key=regular_field-last_name&sort_order=ASC&efilter=&extra_q={quote(EVERYTHING)}"
    ).expect(200)
    rows = facts.csv_rows(answer.body)
    return Seen(f"csv {len(rows)} x {len(rows[0])} cells", facts.cells(rows), facts.cells(_sort_rows(rows)))


def card(worker: Worker) -> Seen:
    """Download a contact as vCard."""
    browser = worker.driver.browser
    answer = browser.get(f"/vcfs/{worker.kept['marie']}/generate_vcf").expect(200)
    return Seen(f"{answer.status} {len(answer.body.splitlines())} lines", facts.page(answer, browser))


def import_card(worker: Worker) -> Seen:
    """Upload a vCard, check the form it fills, save it."""
    browser = worker.driver.browser
    opened = browser.get("/vcfs/vcf").expect(200)
    fields = forms(opened)[_form_with(opened, "vcf_step")].fields
    upload = Upload("juergen.vcf", CARD.encode(), "text/vcard")
    filled = browser.post_files("/vcfs/vcf", fields, [("vcf_file", upload)]).expect(200)
    form: Form = forms(filled)[_form_with(filled, "last_name")]
    fields = [(name, value) for name, value in form.fields]
    sent = browser.post_files("/vcfs/vcf", fields, [], follow=False)
    seen = _opened(browser, sent, "")
    return Seen(seen.said, (*facts.values(form.fields), *facts.page(filled, browser), *seen.facts))


def import_file(worker: Worker) -> Seen:
    """Upload a CSV file as document, map its columns, let the background job run, look at results and errors."""
    browser = worker.driver.browser
    path = "/documents/quickforms/from_widget/document/csv/add"
    opened = browser.get(path).expect(200)
    fields = forms(opened)[_form_with(opened, "user")].fields
    upload = Upload("people.csv", IMPORTED.encode(), "text/csv")
    stored = browser.post_files(path, fields, [("filedata", upload)])
    found = re.search(r'"value":\s*"?(\d+)', stored.text) or re.search(r"(\d+)", stored.text)
    document = found.group(1) if found else ""
    wizard = f"/creme_core/mass_import/{_type(worker)}"
    mapped = _fill(browser, wizard, {"document": document, "has_header": "on"}, "document").expect(200)
    form = forms(mapped)[_form_with(mapped, "last_name_colselect")]
    sent = _submit(browser, mapped, {}, _form_with(mapped, "last_name_colselect"))
    told = (*facts.head(stored, browser), *facts.values(form.fields), *facts.page(mapped, browser))
    if sent.status != 302:
        raise BrowserFault(f"the import form was refused: {_errors(sent)}")
    after = _finished(browser, sent.header("location"))
    rows = browser.get(f"/persons/contacts?filter=&hfilter={worker.kept.get('view', VIEW)}")
    errors = browser.get(f"/creme_core/mass_import/dl_errors/{_number(sent)}")
    told += (*facts.head(sent, browser), *facts.page(after, browser), *facts.page(errors, browser))
    told += facts.without_rows(rows, browser, ROWS)
    stats = " ".join(facts.texts(after, ".brick-tile-value, .job-stats li, li"))
    created = re.search(r"\d+ «Contacts?» ha\w+ been created", stats)
    return Seen(f"{stored.status}, {created.group() if created else after.status}, {_rows(rows)} rows", told)


def _finished(browser: Browser, where: str) -> Answer:
    """The page of a background job once it has ended."""
    until = time.monotonic() + JOB_SECONDS
    while time.monotonic() < until:
        info = browser.get("/creme_core/job/info")
        answer = browser.get(where)
        if "lines in the file" in answer.text or "line in the file" in answer.text:
            return answer
        if info.status != 200:
            raise BrowserFault(f"job/info answered {info.status}")
        time.sleep(0.5)
    raise BrowserFault("the background job did not end")


def memo(worker: Worker) -> Seen:
    """A note on a contact, added, seen and edited."""
    browser = worker.driver.browser
    start = "第一次拜访之后客户要求我们下周再联系，这是一条较长的备注，历史里只看得到开头。"
    text = start + '回电 13800138000 给张伟 <zhang.wei@example.com>\r\n  second line\t&amp; "x"'
    sent = _fill(browser, f"/assistants/memo/add/{worker.kept['wei']}", {"content": text}, "content").expect(200)
    after = browser.get(f"/persons/contact/{worker.kept['wei']}")
    number = re.search(r"/assistants/memo/edit/(\d+)", after.text)
    if number is None:
        raise BrowserFault("the contact's page shows no memo")
    opened = browser.get(f"/assistants/memo/edit/{number.group(1)}").expect(200)
    values = facts.values(forms(opened)[_form_with(opened, "content")].fields)
    return Seen(
        f"{sent.status} memo {number.group(1)}", (*facts.page(sent, browser), *facts.page(after, browser), *values)
    )


def reloaded(worker: Worker) -> Seen:
    """A part of a contact's page fetched again by its script: JSON with HTML inside."""
    browser = worker.driver.browser
    path = f"/creme_core/bricks/reload/detailview/{worker.kept['wei']}?brick_id=regular-creme_core-history"
    answer = browser.get(path).expect(200)
    told: list[str] = []
    for name, part in answer.json():
        told += [name, *facts.nodes(LexborHTMLParser(part).root, browser)]
    return Seen(f"{answer.status} {len(answer.json())} part", (*facts.head(answer, browser), *told))


def saved_filter(worker: Worker) -> Seen:
    """A saved filter 'phone equals', and the list through it."""
    browser = worker.driver.browser
    condition = (
        '[{"field":{"name":"mobile","type":"string"},"operator":{"id":1,"types":"string number"},'
        '"value":"+86 139 0773 1899"}]'
    )
    sent = _fill(
        browser,
        f"/creme_core/entity_filter/add/{_type(worker)}",
        {"name": "By mobile", "regularfieldcondition": condition},
        "regularfieldcondition",
    )
    if sent.status != 302:
        raise BrowserFault(f"the filter was refused: {_errors(sent)}")
    listed = browser.get(sent.header("location"))
    return Seen(
        f"{sent.status}, {_rows(listed)} rows", facts.head(sent, browser) + facts.without_rows(listed, browser, ROWS)
    )


def merge(worker: Worker) -> Seen:
    """Two contacts become one: the comparing form, then the outcome."""
    browser = worker.driver.browser
    path = f"/creme_core/entity/merge?id1={worker.kept['wei']}&id2={worker.kept['quick']}"
    opened = browser.get(path).expect(200)
    index = _form_with(opened, "last_name_merged")
    fields = dict(forms(opened)[index].fields)
    changes = {"last_name_merged": fields["last_name_2"], "phone_merged": fields["phone_1"]}
    sent = _submit(browser, opened, changes, index).expect(302)
    seen = _opened(browser, sent, "")
    gone = browser.get(f"/persons/contact/{worker.kept['quick']}")
    return Seen(f"{seen.said}, other {gone.status}", (*facts.page(opened, browser), *seen.facts))


def clone(worker: Worker) -> Seen:
    """A copy of a contact."""
    browser = worker.driver.browser
    sent = browser.post(
        "/creme_core/entity/clone", {"id": worker.kept["marie"]}, follow=False, headers=_by_script(browser)
    )
    where = sent.header("location") or sent.text
    copy = browser.get(where if where.startswith("/") else urlsplit(where).path)
    worker.kept["copy"] = urlsplit(copy.url).path.rstrip("/").rpartition("/")[2]
    opened = browser.get(f"/persons/contact/edit/{worker.kept['copy']}").expect(200)
    values = facts.values(forms(opened)[_form_with(opened, "last_name")].fields)
    return Seen(f"{sent.status} → {copy.status}", (*facts.page(sent, browser), *facts.page(copy, browser), *values))


def delete(worker: Worker) -> Seen:
    """Into the trash, a look into it, back, and away for good."""
    browser, one = worker.driver.browser, worker.kept["na"]

    def push(path: str, fields: Mapping[str, str] | None = None) -> Answer:
        about = {
            "x-csrftoken": browser.cookies.get("csrftoken", ""),
            "referer": browser.base + "/",
            "origin": browser.base,
        }
        return browser.post(path, fields or {}, headers=about, follow=False)

    told: tuple[str, ...] = ()
    statuses = []
    for path in ("delete", "restore", "delete", "delete"):
        sent = push(f"/creme_core/entity/{path}/{one}")
        trash = browser.get("/creme_core/entity/trash").expect(200)
        statuses.append(str(sent.status))
        told += (*facts.page(sent, browser), *facts.page(trash, browser))
    several = push("/creme_core/entity/delete/multi", {"ids": f"{worker.kept['copy']},{worker.kept['john']}"})
    gone = browser.get(f"/persons/contact/{one}")
    told += (*facts.page(several, browser), *facts.head(gone, browser))
    return Seen(f"{' '.join(statuses)} {several.status}, then {gone.status}", told)


def call(worker: Worker) -> Seen:
    """Plan a call with a number in its title and text."""
    browser = worker.driver.browser
    given = {"title": "Call 13800138000", "minutes": "said: mail li.na@example.org", "description": "李娜 / 张伟"}
    sent = _fill(browser, "/activities/activity/add/phonecall", given, "title")
    if sent.status != 302:
        raise BrowserFault(f"the call was refused: {_errors(sent)}")
    seen = _opened(browser, sent, "")
    return Seen(seen.said, (*seen.facts, *facts.page(browser.get("/activities/phone_calls"), browser)))


LIST = "/persons/contacts?hfilter={view}&sort_key=regular_field-{by}&sort_order=ASC"
BY_CODE = f"/persons/contacts?hfilter={{view}}&sort_key=regular_field-{BY}&sort_order=ASC"
WORKFLOWS: tuple[Workflow, ...] = (
    *(Workflow(f"create by form: {key}", create(key)) for key in PEOPLE),
    Workflow("values and spelling in the edit forms", form_values),
    Workflow("detail page", whole_page("/persons/contact/{wei}")),
    Workflow("own view of the list", own_view),
    Workflow("list, rows as a set", in_a_list("/persons/contacts", ordered=False)),
    Workflow("list by postal code", in_a_list(BY_CODE, ordered=True)),
    Workflow(
        "list by last name",
        in_a_list(BY_CODE.replace(BY, "last_name"), ordered=True),
        known=SORTED,
    ),
    Workflow("search box: phone as typed", search_list("phone", "１３９０７７３１８２５")),
    Workflow("search box: mobile as typed", search_list("mobile", "139-0773-1824")),
    Workflow("search box: e-mail as typed", search_list("email", "Zhang.WEI@Example.COM")),
    Workflow("search box: e-mail in lower case", search_list("email", "zhang.wei@example.com")),
    Workflow("search box: last name", search_list("last_name", "d'Arcy")),
    Workflow("search box: first name", search_list("first_name", "Zoé-Marie"), slow=True),
    Workflow("search box: name with & and quotes", search_list("last_name", "Smith & Sons")),
    Workflow("search box: nobody's number", search_list("phone", "13100000009")),
    Workflow("search box: postal code empty", search_list(BY, ""), slow=True),
    Workflow("search box: part of a mobile", search_list("mobile", "0773"), known=PARTIAL),
    Workflow("search box: part of a name", search_list("last_name", "Arc"), known=PARTIAL),
    Workflow("search box: a name that two have", loosely(search_list("last_name", "Zhang")), known=SHARED),
    Workflow("search box: cleared", search_list("last_name", "")),
    Workflow("search everywhere: e-mail", search_all("zoe.darcy@example.com")),
    Workflow("search everywhere: phone", search_all("139-0773-1824")),
    Workflow("search everywhere: full name, Chinese", search_all("李娜"), known=MORE),
    Workflow("search everywhere: full name, Western", search_all("Zoé-Marie d'Arcy")),
    Workflow("search everywhere: last name", search_all("Smith & Sons")),
    Workflow("search everywhere: a name that two have", loosely(search_all("Zhang")), known=SHARED),
    Workflow("search everywhere: part of an e-mail", search_all("darcy@"), known=PARTIAL),
    Workflow("search everywhere: a word that nobody has", search_all("zzyzx")),
    Workflow("edit one field in the form", edit),
    Workflow("save a form unchanged", edit_nothing),
    Workflow("quick create with employer", quick_create),
    Workflow("inner edit: phone", inner("phone", "phone", "+33 (0)6 99 88 77 66")),
    Workflow("inner edit: last name", inner("last_name", "last_name", "d'Arcy-Lefèvre"), slow=True),
    Workflow("inner edit: notes", inner("description", "description", "neu: 13912345678\r\n  zoe.darcy@example.com ")),
    Workflow("bulk edit: phone", bulk("phone", "400-820-8820"), slow=True),
    Workflow("bulk edit: notes", bulk("description", "beide: 13800138000")),
    Workflow(
        "refused: e-mail, with echo",
        refused(
            "/persons/contact/add",
            "last_name",
            {"last_name": "Zhao <&>", "phone": "138-0013-8001", "email": "not an address@", "description": "a\r\n b"},
        ),
    ),
    Workflow(
        "refused: no last name",
        refused("/persons/contact/add", "last_name", {"first_name": "Only", "email": "o@example.com"}),
    ),
    Workflow(
        "refused: edit",
        refused("/persons/contact/edit/{wei}", "last_name", {"email": "broken", "mobile": "139 0000 0000"}),
    ),
    Workflow(
        "refused: broken date",
        refused("/persons/contact/add", "last_name", {"last_name": "Lang", "birthday": "never"}),
    ),
    Workflow("company and its employee", organisation),
    Workflow("memo on a contact", memo),
    Workflow("planned call", call, slow=True),
    Workflow("history on the page", whole_page("/persons/contact/{marie}"), slow=True),
    Workflow("history fetched by script", reloaded),
    Workflow("saved filter by phone", saved_filter),
    Workflow("export CSV", export("csv", BY, ordered=True)),
    Workflow("export CSV with semicolons", export("scsv", BY, ordered=True), slow=True),
    Workflow("export CSV by last name", export_by_name, known=SORTED),
    Workflow("export XLSX", export("xlsx", BY, ordered=True)),
    Workflow("export XLS", export("xls", BY, ordered=True), known=CONVERTED),
    Workflow("export vCard", card),
    Workflow("import vCard", import_card),
    Workflow("import CSV in the background", import_file, slow=True),
    Workflow("clone", clone),
    Workflow("merge", merge),
    Workflow("delete, restore, delete for good", delete),
    Workflow("list after everything", in_a_list("/persons/contacts?filter=", ordered=False)),
    Workflow("start page", start_page),
    Workflow("a page that is not there", whole_page("/persons/contact/99999")),
)
