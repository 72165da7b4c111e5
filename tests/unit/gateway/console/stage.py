"""A whole console and the sign-in pages of a CRM host on a real database, driven without sockets."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from http.cookies import SimpleCookie
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette

from audit.anchor import Anchors
from audit.anchor_folder import FolderAnchor
from audit.archive import NoArchive
from audit.checkpoint import Keeper
from audit.log import AuditLog
from audit.note import Signer
from audit.watch import Watch
from gateway.access.app import make_sign_in_app
from gateway.access.deps import AccessDeps
from gateway.access.device import DeviceRules
from gateway.access.emergencies import Emergencies
from gateway.access.emergency_store import EmergencyStore
from gateway.access.giving import Giving
from gateway.access.role_change_store import RoleChangeStore
from gateway.access.role_changes import RoleChanges
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.access.tokens import new_id
from gateway.bundles.bundle import Act, Wording
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.installing import policy_text, wording_of
from gateway.bundles.store import BundleStore
from gateway.console.app import make_console_app
from gateway.console.deps import ConsoleDeps, Crm
from gateway.console.look import Look, read_look
from gateway.console.trail import TrailReader
from gateway.directory.directory import Directory
from gateway.duties import asking_of, emergency_rules_of, giving_of
from gateway.guesses import Budgets
from gateway.job import Json, Slice
from gateway.job_store import JobStore
from gateway.query_desk import QueryDesk
from gateway.settings import AccessSettings
from kms.connections import Pool
from kms.destruction import Person
from kms.destruction_store import DestructionStore
from kms.keyring import KeyringStatus, KeyStatus
from kms.provider import KeysUnavailable
from policies.enforcer import DEFAULT_POLICY, Enforcer
from policies.operation import FieldSpec
from policies.profile import Profile, load_profile
from policies.taxonomy import Kind
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in

CRM_HOST, CONSOLE_HOST = "crm.example", "console.example"
CRM_COOKIE = "crm_sessionid"
FIELDS = (
    FieldSpec("contact", "last_name", Kind.NAME, 100),
    FieldSpec("contact", "email", Kind.EMAIL, 100),
    FieldSpec("contact", "id_card", Kind.ID_CARD, 30),
    FieldSpec("contact", "note", None, 5000),
)
DAY_S = 86400.0
KEYS = (
    KeyStatus("0a0a0a01", "email", "seal", "local", 3 * DAY_S, False, True),
    KeyStatus("0a0a0a02", "email", "seal", "local", 90 * DAY_S, True, True, state="live"),
    KeyStatus("0a0a0a03", "name", "equal", "local", 400 * DAY_S, False, True),
    KeyStatus("0a0a0a04", "phone", "seal", "local", 40 * DAY_S, True, False, True, "destroyed"),
    KeyStatus("0a0a0a06", "file/document/filedata", "seal", "local", 2 * DAY_S, False, True),
    KeyStatus("0a0a0a05", "surrogate", "token", "local", 1 * DAY_S, False, True),
)


@dataclass
class Answer:
    """One answer; headers by lower-case name, cookies by name."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cookies(self) -> dict[str, str]:
        jar: dict[str, str] = {}
        for key, value in self.headers:
            if key == "set-cookie":
                parsed: SimpleCookie = SimpleCookie(value)
                jar |= {name: morsel.OutputString() for name, morsel in parsed.items()}
        return jar


@dataclass
class Browser:
    """What a browser does: keeps cookies, says where a form comes from."""

    app: Starlette
    host: str
    tenant: str = "t1"
    client: str = "192.0.2.7"
    jar: dict[str, str] = field(default_factory=dict)

    async def get(self, address: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self._ask("GET", address, {"sec-fetch-site": "none"} | dict(headers or {}), b"")

    async def post(self, address: str, form: object = (), headers: Mapping[str, str] | None = None) -> Answer:
        usual = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": f"https://{self.host}",
            "sec-fetch-site": "same-origin",
        }
        body = form if isinstance(form, bytes) else urlencode(form, doseq=True).encode()  # type: ignore[call-overload]
        return await self._ask("POST", address, usual | dict(headers or {}), body)

    async def bare(self, method: str, address: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """A request with exactly these headers besides host and cookies."""
        return await self._ask(method, address, dict(headers), body)

    async def _ask(self, method: str, address: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(address)
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        everything = {"host": self.host} | ({"cookie": cookies} if cookies else {}) | headers
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in everything.items() if v is not None],
            "client": (self.client, 1),
            "server": (self.host, 443),
            "state": {"tenant": self.tenant, "exchange": "x-1"},
        }
        sent: list[dict[str, object]] = []
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, object]:
            return given.pop(0) if given else {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        start = sent[0]
        pairs = [(k.decode(), v.decode("latin-1")) for k, v in start["headers"]]  # type: ignore[attr-defined]
        answer = Answer(start["status"], pairs, b"".join(m.get("body", b"") for m in sent[1:]))  # type: ignore
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        for key, value in answer.headers:
            if key == "set-cookie":
                for name, morsel in SimpleCookie(value).items():
                    if morsel["max-age"] == "0":
                        self.jar.pop(name, None)
                    else:
                        self.jar[name] = morsel.value


@dataclass
class Stage:
    """Everything the tests of the pages hold."""

    access: Access
    pool: Pool
    audit: AuditLog
    trail: TrailReader
    keeper: Keeper
    crm: AccessDeps
    console: ConsoleDeps
    clock: Clock
    faults: dict[str, Exception]
    learnable: set[str] = field(default_factory=set)

    def browser(self, audience: str = AUDIENCE_CRM, client: str = "192.0.2.7") -> Browser:
        if audience == AUDIENCE_CRM:
            return Browser(make_sign_in_app(self.crm), CRM_HOST, client=client)
        return Browser(make_console_app(self.console), CONSOLE_HOST, client=client)

    async def enrol(self, login: str, *roles: str) -> Enrolled:
        users = self.access.users
        giving, users.giving = users.giving, Giving()
        try:
            return await enrol_in(self.access, login, *roles)
        finally:
            users.giving = giving

    async def signed_in(self, person: Enrolled, audience: str = AUDIENCE_CONSOLE) -> Browser:
        """A browser in which this person is signed in."""
        browser = self.browser(audience)
        self.clock.advance(seconds=30)
        first = {"login": person.user.login, "password": person.password}
        await browser.post("/.crmgate/sign-in", first)
        answer = await browser.post("/.crmgate/sign-in/code", {"code": self.access.code(person.secret)})
        assert answer.status == 303, answer.text
        return browser

    async def reasons(self) -> list[tuple[str, str, int]]:
        """(actor login, reason, status) of every entry, oldest first."""
        from audit.store import Filters

        rows = await self.trail.recent("t1", 1000, Filters())
        return [(r.content["actor_login"], r.content["reason"], r.content["status"]) for r in reversed(rows)]


async def make_stage(
    pool: Pool,
    dsn: str,
    folder: Path,
    clock: Clock,
    look: Look | None = None,
    at: Mapping[str, str] | None = None,
    policy: Path = DEFAULT_POLICY,
    settings: AccessSettings | None = None,
    devices: DeviceRules | None = None,
    directories: Mapping[str, Directory] = MappingProxyType({}),
) -> Stage:
    """settings: what they say about giving rights; accounts are enrolled as if they asked for nothing."""
    access = build(pool, clock, devices=devices, directories=directories)
    audit = AuditLog(dsn)
    await audit.start()
    signer = Signer(bytes(range(32)))
    given = settings or AccessSettings()
    bundle = Enforcer(FIELDS, clock=lambda: clock().timestamp(), separated=given.separated).load(policy)
    access.users.roles = tuple(sorted(bundle.roles))
    access.users.giving = giving_of(given, lambda _tenant: bundle, clock)
    access.role_changes = RoleChanges(
        RoleChangeStore(pool),
        access.users,
        clock=clock,
        randomness=secrets.token_bytes,
        may_ask=asking_of(lambda _tenant: bundle),
    )
    shown = look or read_look()
    faults: dict[str, Exception] = {}
    hosts = {AUDIENCE_CRM: CRM_HOST, AUDIENCE_CONSOLE: CONSOLE_HOST} | dict(at or {})

    def deps(audience: str) -> AccessDeps:
        return AccessDeps(
            sessions=access.sessions,
            users=access.users,
            sign_in=access.sign_in,
            recovery=access.recovery,
            passkeys=access.passkeys,
            resets=access.resets,
            role_changes=access.role_changes,
            gate=access.gate,
            audit=audit,
            look=shown,
            clock=clock,
            new_id=lambda: new_id("a", secrets.token_bytes),
            audience=audience,
            tenant="t1",
            crm_cookies=lambda _tenant: (CRM_COOKIE,) if audience == AUDIENCE_CRM else (),
            public_url=lambda _tenant: f"https://{hosts[audience]}",
            devices=access.devices,
        )

    def failing(name: str):  # type: ignore[no-untyped-def]
        async def check() -> None:
            if name in faults:
                raise faults[name]

        return check

    async def key_status(tenant: str) -> KeyringStatus:
        assert tenant == "t1"
        fault = faults.get("keys")
        problem = fault.problem if isinstance(fault, KeysUnavailable) else ""
        return KeyringStatus("local", problem, "", KEYS)

    trail = TrailReader(pool, dsn, signer.verifier, folder / "checkpoints")
    learnable: set[str] = set()
    watch = Watch(pool, signer.verifier, folder / "checkpoints", now=clock)
    kept = FolderAnchor(folder / "kept", signer.verifier, every_s=60, outside=True)
    anchors = Anchors(pool, signer.verifier, [kept], now=clock, interval_s=3)
    console = ConsoleDeps(
        access=deps(AUDIENCE_CONSOLE),
        desk=partial(policy_desk, pool, access, audit, clock, policy, given.separated),
        pool=pool,
        trail=trail,
        policy=lambda _tenant: bundle,
        fields=lambda _tenant: FIELDS,
        check_keys=failing("keys"),
        key_provider="local",
        key_status=key_status,
        crm=lambda _tenant: Crm("creme", f"https://{CRM_HOST}", failing("crm")),
        console_url=f"https://{CONSOLE_HOST}",
        data_folder=folder,
        version="0.1.0",
        budgets=Budgets(30, 1000),
        learnable=learnable.__contains__,
        directories=lambda _tenant: list(directories.values()),
        emergencies=Emergencies(
            EmergencyStore(pool),
            access.users,
            audit,
            clock=clock,
            randomness=secrets.token_bytes,
            rules=emergency_rules_of(given),
        ),
        trail_watch=watch,
        anchors=anchors,
        queries=QueryDesk(dsn, NoArchive(), clock, partial(new_id, "q", secrets.token_bytes)),
    )
    keeper = Keeper(pool, signer, folder / "checkpoints", now=clock)
    (folder / "checkpoints").mkdir(exist_ok=True)
    return Stage(access, pool, audit, trail, keeper, deps(AUDIENCE_CRM), console, clock, faults, learnable)


@cache
def described() -> Profile:
    """The profile the policy pages know, read once."""
    return load_profile("tryton")


def policy_desk(
    pool: Pool, access: Access, audit: AuditLog, clock: Clock, policy: Path, separated: bool, tenant: str
) -> PolicyDesk:
    """Where the bundles of the shipped policy are worked on."""
    store, new = BundleStore(pool), partial(new_id, "a", secrets.token_bytes)
    in_force = partial(policy_text, store, tenant, policy)
    return PolicyDesk(
        tenant, store, access.sign_in, audit, in_force, described(), clock, new, separated, access.store.role_sets
    )


ASKED, APPROVED = Person("u-1", "zhao.min"), Person("u-2", "qian.hua")


async def rotation(stage: Stage, name: str, tenant: str = "t1", kind: str = "rotate", done: int = 25) -> JobStore:
    """A rotation of the encryption key of e-mails, a quarter done."""
    jobs = JobStore(stage.pool)
    arguments: Mapping[str, Json] = {"scope": "email", "purpose": "seal", "old": "0a0a0a02"}
    job = await jobs.add(name, kind, tenant, arguments, 100, None)
    await jobs.save(job, Slice("x", done, 100), 5.0)
    return jobs


async def destroyed(stage: Stage, name: str, record: str, tenant: str = "t1") -> DestructionStore:
    """A destruction that has come to its end."""
    store, now = DestructionStore(stage.pool), stage.clock()
    await store.open_request(tenant, name, "phone", ASKED, now)
    await store.approve(tenant, name, APPROVED, now, now)
    await store.begin(tenant, name, now)
    await store.finish(tenant, name, now, record)
    return store


async def bundles(stage: Stage) -> BundleStore:
    """Bundle 1 from the settings, 2 proposed by somebody with a check, 3 a draft that may not come into force."""
    store, by = BundleStore(stage.pool), Act("u-9", "sun.yu", stage.clock())
    await store.install("t1", wording_of(DEFAULT_POLICY), None, stage.clock())
    rows = DEFAULT_POLICY.read_text(encoding="utf-8").replace("p, sales, *, op:*, export, any\n", "")
    rows += "p, sales, *, op:*, delete, any\ng, position:lead, manager, *\n"
    checks = """
- {given: {roles: [sales]}, ask: field:party.phone own, expect: masked}
- {given: {roles: [sales]}, ask: op:party.delete delete, expect: allow}
"""
    number = await store.draft("t1", Wording(rows, checks, "0123456789abcdef", "Sales may delete, not export"), by)
    await store.propose("t1", number, by)
    wrong = checks.replace("masked", "clear")
    await store.draft("t1", Wording(rows + "p, sales, *, op:x\n", wrong, "", "", restores=1), by)
    return store
