"""A table imported into a real Creme as people do it: upload, columns, background job."""

import re
import time
from collections.abc import Mapping

from gateway.demo.browser import Answer, Browser, BrowserFault, Upload, forms

JOB_S = 180.0
UPLOAD = "/documents/quickforms/from_widget/document/csv/add"


def import_contacts(
    browser: Browser,
    table: str | Upload,
    listing: str = "/persons/contacts",
    mark: str = "last_name_colselect",
    changes: Mapping[str, str | None] | None = None,
) -> str:
    """Import records from a table with a header row that Creme itself maps; what its job says when it has ended.

    listing: the page of their list; mark: a field of the form that assigns columns; changes: what else is filled in
    there, such as `key_fields`, by which Creme finds records to update.
    """
    listed = browser.get(listing).expect(200)
    kind = re.search(r"/creme_core/mass_import/(\d+)", listed.text)
    if kind is None:
        raise BrowserFault("the list names no type")
    wizard = f"/creme_core/mass_import/{kind[1]}"
    document = uploaded(browser, Upload("people.csv", table.encode(), "text/csv") if isinstance(table, str) else table)
    mapped = _sent(browser, browser.get(wizard).expect(200), {"document": document, "has_header": "on"}, "document")
    page = mapped.expect(200)
    job = _sent(browser, page, dict(changes or {}), mark)
    if job.status != 302:
        raise BrowserFault(f"the import form answered {job.status}")
    until = time.monotonic() + JOB_S
    while time.monotonic() < until:
        browser.get("/creme_core/job/info").expect(200)  # its script polls this; Creme starts waiting jobs meanwhile
        told = browser.get(job.header("location")).text
        if re.search(r"lines? in the file", told):
            return told
        time.sleep(0.5)
    raise BrowserFault("the background job did not end")


def upload(browser: Browser, table: Upload) -> Answer:
    """Creme's answer to a file in the field from which an import takes it."""
    page = browser.get(UPLOAD).expect(200)
    form = next(one for one in forms(page) if any(name == "user" for name, _ in one.fields))
    browser.extra_headers.update({"referer": page.url, "origin": browser.base})
    return browser.post_files(UPLOAD, form.fields, [("filedata", table)])


def uploaded(browser: Browser, table: Upload) -> str:
    """The number of the document that a table became; raises BrowserFault when it was not taken."""
    stored = upload(browser, table)
    if stored.status != 200:
        told = stored.json() if "json" in stored.header("content-type") else {}
        raise BrowserFault(f"the upload answered {stored.status} {told.get('reason', '')} {told.get('fields', '')}")
    found = re.search(r'"value":\s*"?(\d+)', stored.text) or re.search(r"(\d+)", stored.text)
    if found is None:
        raise BrowserFault(f"the upload answered {stored.status}")
    return found[1]


def _sent(browser: Browser, page: Answer, changes: dict[str, str | None], mark: str) -> Answer:
    number = next(at for at, one in enumerate(forms(page)) if any(name == mark for name, _ in one.fields))
    return browser.submit(page, changes, number, follow=False)
