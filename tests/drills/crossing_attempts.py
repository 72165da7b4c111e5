"""What is tried at one company with what belongs to the other: the attempts of the crossing drill."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from gateway.access.cookies import SESSION_COOKIES, STEP_COOKIES
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.filling import API_SIGN_IN
from gateway.identity.api_client import FIELD
from tests.drills.crawl import EVERYTHING
from tests.drills.crossing_rows import Rows
from tests.drills.seek import Seeker
from tests.drills.stack import Member
from tests.e2e.database import sql
from tests.e2e.tenants import Door

CRM_COOKIE = SESSION_COOKIES[AUDIENCE_CRM]
OURS = "/.crmgate/account"
LISTS = (
    "/persons/contacts",
    "/persons/organisations",
    "/my_page",
    "/creme_core/search?research=a",
    "/creme_core/job/mine",
)
PRESENTED = (CRM_COOKIE, SESSION_COOKIES[AUDIENCE_CONSOLE], STEP_COOKIES[AUDIENCE_CRM])
FIELDS = ("last_name", "mobile", "email", "billing_address-address")
CONSOLE = ("/users/{}", "/users/{}/disable", "/users/{}/invite", "/users/{}/reset", "/sessions/{}/end")


@dataclass(slots=True)
class Side:
    """One company: its manager at work, a browser at its CRM itself, its records, values, program's token."""

    door: Door
    member: Member
    browser: Browser
    direct: Browser
    records: tuple[str, ...]
    seeker: Seeker
    values: tuple[str, ...]
    token: str
    _surrogates: dict[str, dict[str, str]] = field(default_factory=dict)

    def bare(self) -> Browser:
        """A browser at this company that nobody has signed in with."""
        return self.door.browser()

    def bearing(self) -> dict[str, str]:
        """The head of this company's program."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> str:
        """The manager's session at the gateway."""
        return self.browser.cookies[CRM_COOKIE]

    def paths(self) -> tuple[str, ...]:
        """Pages that show something."""
        records = [
            path for one in self.records[:3] for path in (f"/persons/contact/{one}", f"/persons/contact/edit/{one}")
        ]
        return (*LISTS, *records, f"/vcfs/{self.records[0]}/generate_vcf", self.export())

    def export(self) -> str:
        """The address of its exported contacts."""
        page = self.direct.get("/persons/contacts").text
        number = re.search(r"/creme_core/mass_import/(\d+)", page)
        assert number is not None
        return (
            f"/creme_core/mass_export?ct_id={number.group(1)}&type=csv&hfilter=persons-hf_contact&sort_key="
            f"regular_field-last_name&sort_order=ASC&efilter=&extra_q={quote(EVERYTHING)}"
        )

    def held(self, record: str) -> dict[str, str]:
        """What its CRM itself holds of a record: surrogates, by form field."""
        if record not in self._surrogates:
            page = self.direct.get(f"/persons/contact/edit/{record}").expect(200)
            form = next(one for one in forms(page) if any(name == "last_name" for name, _ in one.fields))
            self._surrogates[record] = {name: text for name, text in form.fields if name in FIELDS and text}
        return self._surrogates[record]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. crossed: tries it and says what went wrong, "" for nothing."""

    kind: str
    title: str
    crossed: Callable[[], str]


def attempts(thief: Side, victim: Side) -> Iterator[Attempt]:
    """Everything of `victim` tried at `thief`'s company, and of `thief` at the victim's."""
    yield from _cookies(thief, victim)
    yield from _hosts(thief, victim)
    yield from _programs(thief, victim)
    yield from _passwords(thief, victim)
    yield from _records(thief, victim)
    yield from _caches(thief, victim)
    yield from _surrogates(thief, victim)
    yield from _keys(thief, victim)
    for told in Rows(victim.door.stack.settings, thief.door.tenant, victim.door.tenant).attempts():
        yield Attempt(*told)
    if thief.door.tenant == "main":  # the console is that of the first company
        yield from _console(thief, victim)


def _shown(side: Side, answer: Answer) -> str:
    found = side.seeker.find(answer.body) | side.seeker.find(repr(answer.headers).encode())
    return f"{answer.status} shows {len(found)} values of {side.door.tenant}" if found else ""


def _shut(victim: Side, answer: Answer) -> str:
    """Nobody is let in: refused, or sent to the sign-in page, and nothing is shown."""
    sent = answer.status == 303 and urlsplit(answer.header("location")).path == "/.crmgate/sign-in"
    if not sent and answer.status not in (400, 401, 403, 404, 421):
        return f"answered {answer.status}"
    return _shown(victim, answer)


def _cookies(thief: Side, victim: Side) -> Iterator[Attempt]:
    """A session of one company presented at the other, under every name a session has, with the CRM's own beside it."""
    for path in (*thief.paths(), OURS):
        for name in PRESENTED:
            cookies = {name: victim.cookie}
            title = f"{name} at {path[:40]}"
            yield Attempt("cookie", title, lambda path=path, cookies=cookies: _presented(thief, victim, path, cookies))
        beside = {CRM_COOKIE: victim.cookie, **_crm_cookies(thief)}
        title = f"with the CRM's own session at {path[:40]}"
        yield Attempt("cookie", title, lambda path=path, cookies=beside: _presented(thief, victim, path, cookies))


def _presented(at: Side, of: Side, path: str, cookies: Mapping[str, str]) -> str:
    browser = at.bare()
    browser.cookies.update(cookies)
    answer = browser.get(path, follow=False)
    return _shut(at, answer) or _shown(of, answer)


def _crm_cookies(side: Side) -> dict[str, str]:
    return {name: value for name, value in side.browser.cookies.items() if not name.startswith("__Host-crmgate")}


def _hosts(thief: Side, victim: Side) -> Iterator[Attempt]:
    """The thief's own good session, and the victim's host named wherever a host can be named."""
    host, url = urlsplit(victim.door.base).netloc, victim.door.base
    named: list[dict[str, str]] = [
        {"host": host},
        {"x-forwarded-host": host},
        {"forwarded": f"host={host};proto=https"},
        {"x-host": host, "x-original-host": host, "x-forwarded-server": host},
        {"x-original-url": f"{url}/persons/contacts", "x-rewrite-url": "/persons/contacts"},
        {"x-tenant": victim.door.tenant, "x-crmgate-tenant": victim.door.tenant},
        {"referer": f"{url}/persons/contacts"},
        {"cookie-tenant": victim.door.tenant, "via": f"1.1 {host}"},
    ]
    for head in named:
        for path in victim.paths():
            title = f"{'+'.join(head)} at {path[:40]}"
            yield Attempt("host", title, lambda head=head, path=path: _named(thief, victim, path, head))


def _named(thief: Side, victim: Side, path: str, head: Mapping[str, str]) -> str:
    answer = thief.browser.send("GET", path, headers=head)
    if "host" in head:  # the victim's company was asked, by somebody whom it does not know
        return _shut(victim, answer)
    return _shown(victim, answer)


def _programs(thief: Side, victim: Side) -> Iterator[Attempt]:
    """The token of one company's program, at the other."""
    for path in thief.paths():
        for head in (victim.bearing(), {FIELD: victim.token}):
            title = f"{'+'.join(head)} at {path[:40]}"
            yield Attempt("program", title, lambda head=head, path=path: _asked(thief, victim, path, head))


def _asked(at: Side, of: Side, path: str, head: Mapping[str, str]) -> str:
    answer = at.bare().send("GET", path, headers=head)
    return _shut(at, answer) or _shown(of, answer)


def _passwords(thief: Side, victim: Side) -> Iterator[Attempt]:
    """The victim's login, password and code, at the thief's company; both companies have that login."""

    def typed() -> str:
        code = victim.member.code()
        given = {"login": victim.member.login, "password": victim.member.password, "code": code}
        browser = thief.bare()
        answer = browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base})
        return "" if answer.status in (401, 429) else f"answered {answer.status}"

    yield Attempt("password", "the same login with the other company's code", typed)

    def half() -> str:
        ours, theirs = victim.bare(), thief.bare()
        page = ours.get("/.crmgate/sign-in")
        ours.submit(page, {"login": victim.member.login, "password": victim.member.password}, follow=False).expect(303)
        theirs.cookies.update(ours.cookies)
        given = {"code": victim.member.code()}
        about = {"origin": theirs.base, "referer": f"{theirs.base}/.crmgate/sign-in/code"}
        answer = theirs.post("/.crmgate/sign-in/code", given, follow=False, headers=about)
        return "let in" if CRM_COOKIE in theirs.cookies or answer.status == 200 else ""

    yield Attempt("password", "a half-open sign-in of the other company", half)


def _records(thief: Side, victim: Side) -> Iterator[Attempt]:
    """Numbers of the victim's records asked for at the thief's company, where the same numbers are others' records."""
    for record in victim.records:
        paths = (f"/persons/contact/{record}", f"/persons/contact/edit/{record}", f"/vcfs/{record}/generate_vcf")
        for path in paths:
            yield Attempt("record", path, lambda path=path: _shown(victim, thief.browser.get(path)))
    for path in (*LISTS, thief.export()):
        yield Attempt("export", path[:60], lambda path=path: _shown(victim, thief.browser.get(path)))
    for value in victim.values[:12]:
        path = f"/creme_core/search?research={quote(value)}"
        # The page repeats what was typed; more than that must not be there.
        yield Attempt(
            "search", "a value of the other company", lambda path=path, value=value: _other(thief, victim, path, value)
        )


def _other(thief: Side, victim: Side, path: str, typed: str) -> str:
    found = {one.value for one in victim.seeker.find(thief.browser.get(path).body)} - {typed}
    return f"shows {len(found)} values of {victim.door.tenant}" if found else ""


def _caches(thief: Side, victim: Side) -> Iterator[Attempt]:
    """The same address at both, one right after the other, with what the first answer said of its age and tag."""
    for path in victim.paths():
        for _ in range(2):
            yield Attempt("cache", path[:60], lambda path=path: _after(thief, victim, path))


def _after(thief: Side, victim: Side, path: str) -> str:
    first = victim.browser.get(path)
    head = {"if-none-match": first.header("etag") or '"x"'}
    if since := first.header("last-modified"):
        head["if-modified-since"] = since
    return _shown(victim, thief.browser.send("GET", path, headers=head))


def _surrogates(thief: Side, victim: Side) -> Iterator[Attempt]:
    """What stands in the victim's CRM, planted in the thief's: past the gateway, searched for, typed in."""
    for number, record in enumerate(victim.records):
        target = thief.records[number % len(thief.records)]
        title = f"record {number}"
        yield Attempt("planted", title, lambda record=record, target=target: _planted(thief, victim, record, target))
        for name in FIELDS:
            title = f"{name} of record {number}"
            yield Attempt("sought", title, lambda record=record, name=name: _sought(thief, victim, record, name))
            yield Attempt(
                "typed",
                title,
                lambda record=record, name=name, target=target: _typed(thief, victim, record, name, target),
            )


def _edited(browser: Browser, record: str, changes: Mapping[str, str]) -> Answer:
    page = browser.get(f"/persons/contact/edit/{record}").expect(200)
    number = next(at for at, one in enumerate(forms(page)) if any(name == "last_name" for name, _ in one.fields))
    return browser.submit(page, dict(changes), number, follow=False)


def _planted(thief: Side, victim: Side, record: str, target: str) -> str:
    """Written into the thief's CRM by somebody who works there past the gateway, then looked at through it."""
    before = thief.held(target)
    _edited(thief.direct, target, victim.held(record)).expect(302)
    try:
        paths = (f"/persons/contact/{target}", f"/persons/contact/edit/{target}", "/persons/contacts", thief.export())
        return next((fault for path in paths if (fault := _shown(victim, thief.browser.get(path)))), "")
    finally:
        _edited(thief.direct, target, before).expect(302)


def _sought(thief: Side, victim: Side, record: str, name: str) -> str:
    text = victim.held(record).get(name, "Zq")
    return _shown(victim, thief.browser.get(f"/creme_core/search?research={quote(text)}"))


def _typed(thief: Side, victim: Side, record: str, name: str, target: str) -> str:
    text, before = victim.held(record).get(name, "Zq"), thief.held(target)
    answer = _edited(thief.browser, target, {name: text})
    fault = _shown(victim, answer) or _shown(victim, thief.browser.get(f"/persons/contact/{target}"))
    if answer.status == 302:
        _edited(thief.direct, target, before).expect(302)
    return fault


def _keys(thief: Side, victim: Side) -> Iterator[Attempt]:
    """Rows of the victim's vault given to the thief's company in the database itself: its keys must not open them."""
    settings = victim.door.stack.settings
    rows = sql(settings, "SELECT surrogate FROM vault WHERE tenant = %s LIMIT 12", victim.door.tenant)
    for (surrogate,) in rows:
        yield Attempt("key", "a row of the vault", lambda one=str(surrogate): _moved(thief, victim, one))


def _moved(thief: Side, victim: Side, surrogate: str) -> str:
    """The row copied under the thief's tenant, its surrogate planted in the thief's CRM, the page asked for."""
    settings = victim.door.stack.settings
    columns = [
        str(name)
        for (name,) in sql(
            settings,
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'vault' "
            "AND column_name <> 'tenant' ORDER BY ordinal_position",
        )
    ]
    listed = ", ".join(columns)
    insert = (
        f"INSERT INTO vault (tenant, {listed}) SELECT %s, {listed} FROM vault "
        "WHERE tenant = %s AND surrogate = %s ON CONFLICT DO NOTHING RETURNING surrogate"
    )
    sql(settings, insert, thief.door.tenant, victim.door.tenant, surrogate)
    target, before = thief.records[0], thief.held(thief.records[0])
    _edited(thief.direct, target, {"last_name": surrogate[:100]}).expect(302)
    try:
        return _shown(victim, thief.browser.get(f"/persons/contact/{target}"))
    finally:
        _edited(thief.direct, target, before).expect(302)
        sql(
            settings,
            "DELETE FROM vault WHERE tenant = %s AND surrogate = %s RETURNING surrogate",
            thief.door.tenant,
            surrogate,
        )


def _console(thief: Side, victim: Side) -> Iterator[Attempt]:
    """Ids of the victim's people and sessions in the console of the thief's company, looked at and acted on."""
    settings = thief.door.stack.settings
    administrator = thief.door.join("administrator")
    stack = thief.door.stack
    console = Browser(stack.home.console_url, stack.home.authority)
    thief.door.opened.append(console)
    given = {"login": administrator.login, "password": administrator.password, "code": administrator.code()}
    console.post_json(API_SIGN_IN, given, headers={"origin": console.base}).expect(200)
    users = [str(one) for (one,) in sql(settings, "SELECT id FROM app_user WHERE tenant = %s", victim.door.tenant)]
    sessions = [
        str(one) for (one,) in sql(settings, "SELECT id FROM app_session WHERE tenant = %s", victim.door.tenant)
    ]
    for template in CONSOLE:
        for one in users if "users" in template else sessions:
            path = template.format(one)
            yield Attempt("console", f"GET {template}", lambda path=path: _looked(console, victim, path))
            yield Attempt("console", f"POST {template}", lambda path=path: _acted(console, victim, path))
    for path in ("/users", "/sessions", "/activity", "/roles", "/"):
        for question in (f"tenant={victim.door.tenant}", f"host={urlsplit(victim.door.base).netloc}"):
            yield Attempt(
                "console", f"{path}?{question}", lambda path=f"{path}?{question}": _listed(console, victim, path, users)
            )


def _looked(console: Browser, victim: Side, path: str) -> str:
    answer = console.get(path, follow=False)
    return "" if answer.status in (303, 403, 404) and not _shown(victim, answer) else f"answered {answer.status}"


def _acted(console: Browser, victim: Side, path: str) -> str:
    about = {"origin": console.base, "referer": console.base + path}
    answer = console.post(path, {"cause": "left", "display_name": "x", "role": "sales"}, follow=False, headers=about)
    if answer.status not in (303, 403, 404):
        return f"answered {answer.status}"
    alive = victim.browser.get(OURS, follow=False)
    return "" if alive.status == 200 else "ended a session of the other company"


def _listed(console: Browser, victim: Side, path: str, users: list[str]) -> str:
    answer = console.get(path, follow=False)
    if any(one in answer.text for one in users):
        return f"lists people of {victim.door.tenant}"
    return _shown(victim, answer)
