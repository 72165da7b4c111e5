"""Every place in the source that writes an audit entry, as the kinds, operations, reasons and statuses it can write.

Read from the syntax trees. A helper that makes entries is named in `HELPERS` with where its arguments stand. What is no
literal has to be told in `TOLD`, by the file and the expression; what is in neither makes the test fail.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from audit.entry import AuditEntry
from gateway import refusal
from gateway.access import emergencies
from gateway.access.pages import REASONS as SIGN_IN_REASONS
from gateway.job import Wanted
from gateway.reviews.round import Decided

ROOT = Path(__file__).parents[2]
PACKAGES = ("audit", "gateway", "privacy", "kms", "policies", "rules")
REFUSED = tuple(one.id for one in refusal.ALL)
ACCOUNT_REFUSED = (
    "login-invalid",
    "changed-meanwhile",
    "placement-invalid",
    "language-unknown",
    "role-unknown",
    "name-invalid",
    "crm-user-invalid",
    "duties-joined",
    "two-people",
)
"""Problems of `AccountRefused`; a test compares them with the source."""


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that makes an entry. files: where its callers are; fixed: what it writes by itself.

    places: name of what it takes → position among the arguments; what the call leaves out is taken from `missing`.
    """

    files: str
    places: Mapping[str, int]
    fixed: Mapping[str, tuple[str | int, ...]]
    missing: Mapping[str, str | int]


def _helper(files: str, at: str, **fixed: str) -> Helper:
    """at: "operation=1 reason=2": where these stand among the arguments."""
    places = {name: int(place) for name, _, place in (one.partition("=") for one in at.split())}
    return Helper(files, places, {name: (value,) for name, value in fixed.items()}, {"status": 0})


ACCESS_NOTE = Helper(
    "gateway/", {"reason": 2, "status": 3}, {}, {"operation": "access.sign_in", "kind": "sign-in", "status": 0}
)
HELPERS: Mapping[str, tuple[Helper, ...]] = {
    "note": (
        ACCESS_NOTE,
        _helper("gateway/identity/", "operation=1 reason=2", kind="identity"),
    ),
    "note_account": (_helper("gateway/", "reason=3 status=4", kind="sign-in", operation="access.account"),),
    "_note": (
        _helper("gateway/access/", "reason=2 status=3", kind="sign-in", operation="access.account"),
        _helper("gateway/federation/", "reason=2 status=3", kind="sign-in", operation="access.account"),
        _helper("gateway/console/", "operation=2 reason=3 status=4", kind="console"),
        _helper("gateway/identity/", "reason=1", kind="identity", operation="identity.credential"),
        _helper("gateway/destroying.py", "reason=0", kind="keys", operation="keys.destroy"),
        _helper("gateway/shredding.py", "reason=0", kind="keys", operation="keys.person"),
    ),
    "entry": (_helper("gateway/", "operation=1 reason=2", kind="keys"),),
    "_record": (
        _helper("gateway/bundles/", "operation=0 reason=1", kind="policy"),
        _helper("gateway/reviews/", "operation=0 reason=1", kind="review"),
        _helper("gateway/rotation.py", "operation=1", kind="console", reason="done"),
        _helper("gateway/archiving.py", "operation=1", kind="console", reason="done"),
        _helper("gateway/rewrap.py", "operation=1", kind="console", reason="done"),
    ),
    "record": (
        _helper("gateway/cli_archive.py", "operation=1", kind="console", reason="done"),
        _helper("gateway/cli_hold.py", "operation=1", kind="console", reason="done"),
        _helper("gateway/archiving.py", "operation=1", kind="console", reason="done"),
        _helper("gateway/cli_", "operation=0", kind="console", reason="done"),
        _helper("gateway/rights_desk.py", "operation=0", kind="console", reason="done"),
        _helper("gateway/demo/", "operation=0", kind="console", reason="done"),
        _helper("gateway/rotation_desk.py", "operation=1", kind="console", reason="done"),
    ),
    "trail": (_helper("gateway/protect/", "operation=0", kind="protect", reason="done"),),
    "_trail": (_helper("gateway/composition_arrivals.py", "operation=0", kind="protect", reason="done"),),
    "_write": (_helper("gateway/protect/work.py", "operation=0", kind="protect", reason="done"),),
    "_append": (_helper("gateway/disclosure/", "reason=3 status=4", kind="reveal", operation="access.reveal"),),
    "note_reading": (_helper("gateway/", "operation=2", kind="console", reason="done"),),
}
NOT_OURS = frozenset(
    {
        "deps.refusals.note",
        "app.refusals.note",
        "self.refusals.note",
        "refusals.note",
        "self._deliveries.note",
        "self._holding.note",
        "self._numbers.note",
        "self._doubts.note",
        "self._records.note",
        "self._digits.note",
        "watcher.note",
        "learner.note",
        "brought.note",
        "stat.note",
        "gw.learner.note",
        "note",
        "passage.gw.learner.note",
        "self._driver.record",
        "deps.trail.entry",
    }
)
"""Other things of the same names: they write into no trail. `note` alone is read by its arguments."""
_QUERIED = ("query-asked", "query-answered", "query-refused", "query-failed", "query-cancelled")
MAKERS = {
    # Functions that call AuditEntry with arguments of their own: read at their callers (HELPERS), or told in full here.
    "gateway/accounts.py": (),
    "gateway/identity/events.py": (),
    "gateway/bundles/desk.py": (),
    "gateway/bundles/installing.py": (("policy", "policy.install", "published", 0),),
    "gateway/protect/desk.py": (),
    "gateway/reviews/desk.py": (),
    "gateway/key_step.py": (),
    "gateway/composition_arrivals.py": (),
    "gateway/rotation_desk.py": (),
    "gateway/access/events.py": (),
    "gateway/trail_reading.py": (),
    "gateway/settings_seen.py": (("console", "settings.load", "settings-changed", 0),),
    "gateway/access/emergencies.py": tuple(
        ("alarm", emergencies.OPERATION, f"{emergencies.TAG}:{step}", 0)
        for step in ("asked", "approved", "opened", "ended", "over", "refused")
    ),
    "gateway/composition_integrity.py": (
        ("alarm", "audit.watch", "trail-tampered", 0),
        ("alarm", "audit.anchor", "anchor-contradicts", 0),
        ("keys", "audit.key", "audit-key-changed", 0),
    ),
    "gateway/supervisor.py": (("alarm", "database.restart", "database-restarted", 0),),
    "gateway/cli_proof.py": (("keys", "audit.key", "audit-key-made", 0),),
    "gateway/cli_query.py": tuple(("console", "audit.query", one, 200) for one in _QUERIED),
    "gateway/trail_site.py": (("console", "audit.tiles", "tiles-read", 200),),
    "audit/cold/plan.py": (),  # invented entries, in no trail
    "audit/entry.py": (),  # copies one that was made elsewhere
    "gateway/disclosure/desk.py": (("alarm", "access.reveal", "reveal-budget", 0),),
    "gateway/guesses.py": (
        ("guess", "contact.create", "uniqueness-told", 409),
        ("alarm", "contact.create", "uniqueness-budget", 0),
        ("alarm", "contact.list", "search-budget", 0),
    ),
    "gateway/entries.py": tuple(
        (kind, "contact.list", reason, status)
        for kind, (reason, status) in product(
            ("decision", "outcome", "refusal"), (("", 0), ("allowed", 200), ("not-allowed", 403), ("lead", 201))
        )
    ),
    "gateway/egress/relay.py": tuple(
        (kind, "egress.smtp", reason, status)
        for kind, reason, status in (
            ("decision", "person", 0),
            ("outcome", "sent", 250),
            ("outcome", "smart-host-refused", 550),
        )
    ),
    "gateway/egress/reception.py": (
        ("decision", "ingress.smtp", "inbound-mail", 0),
        ("outcome", "ingress.smtp", "inbound-mail", 250),
    ),
    "gateway/egress/forward.py": (("decision", "egress.http", "listed", 0), ("outcome", "egress.http", "listed", 200)),
    "gateway/passage.py": (),  # gateway/entries.py
    "gateway/egress/leads.py": tuple((kind, "lead.create", "lead", 0) for kind in ("decision", "outcome")),
    "audit/siem/forwarder.py": (("alarm", "siem-gap", "", 0), ("alarm", "siem-altered", "", 0)),
    "audit/flood.py": tuple(("refusal-count", "", one, 403) for one in REFUSED),
}
_FACTOR = tuple(SIGN_IN_REASONS.values())
TOLD: Mapping[tuple[str, str], tuple[str | int, ...]] = {
    ("gateway/access/account_pages.py", "reason"): ("password-wrong", "code-wrong", "locked", "password-unfit"),
    ("gateway/access/app.py", "reason.id"): REFUSED,
    ("gateway/access/app.py", "reason.status"): (401, 403),
    ("gateway/access/device_pages.py", "reason"): ("device-new", "device-waits", "device-approved", "device-shut-out"),
    ("gateway/access/factor_pages.py", "reason"): _FACTOR,
    ("gateway/access/factor_pages.py", "refused.problem"): ("passkey-invalid", "passkey-name", "passkey-not-added"),
    ("gateway/access/pages.py", "_half_open: reason"): ("password-accepted", "elsewhere-accepted"),
    ("gateway/access/pages.py", "_failed: reason"): (*_FACTOR, *REFUSED),
    ("gateway/access/pages.py", "status"): (401, 403, 429, 503),
    ("gateway/access/proof_pages.py", "reason"): _FACTOR,
    ("gateway/access/proof_pages.py", "status"): (401, 422, 429, 503),
    ("gateway/access/proof_pages.py", "_DONE[path]"): ("session-unlocked", "factor-proved"),
    ("gateway/bundles/desk.py", "operation"): ("policy.draft", "policy.propose", "policy.publish", "policy.rollback"),
    ("gateway/cli_accounts.py", "refused"): ("user.reset_refused", "user.rights_refused"),
    ("gateway/console/device_pages.py", "_REASONS[action]"): ("device-approved", "device-shut-out"),
    ("gateway/console/emergency_pages.py", "right"): ("console.emergency",),
    ("gateway/console/key_pages.py", "REASONS[step]"): ("rotation-paused", "rotation-resumed"),
    ("gateway/console/people_pages.py", "reason"): ("user-disabled", "user-enabled"),
    ("gateway/cli_who.py", "AT_THE_TERMINAL"): ("audit.who",),
    ("gateway/console/query_pages.py", "reason"): _QUERIED,
    ("gateway/console/query_pages.py", "status"): (200, 422, 499, 503),
    ("gateway/console/role_change_pages.py", "right"): ("console.users",),
    ("gateway/console/role_change_pages.py", "reason"): ("rights-agreed", "rights-withdrawn"),
    ("gateway/console/pages.py", "right"): (
        "console.live",
        "console.keys",
        "console.users",
        "console.policy",
        "console.settings",
        "console.audit",
    ),
    ("gateway/console/pages.py", "refused.right.operation"): ("console.live", "console.keys", "console.users"),
    ("gateway/disclosure/desk.py", "reason"): ("reveal-shown", *(one for one in REFUSED if one.startswith("reveal"))),
    ("gateway/disclosure/desk.py", "status"): (403, 422, 429),
    ("gateway/federation/pages.py", "reason"): (
        "elsewhere-down",
        "elsewhere-refused",
        "elsewhere-cancelled",
        "sign-in-expired",
    ),
    ("gateway/federation/pages.py", "status"): (401, 503),
    ("gateway/federation/link_pages.py", "reason"): ("elsewhere-down", "elsewhere-refused"),
    ("gateway/identity/carried.py", "_sign_out: reason"): ("crm-signed-out", "crm-sign-out-failed"),
    ("gateway/identity/carried.py", "reason.id"): (
        "crm-login-missing",
        "crm-login-refused",
        "crm-sign-in-unreadable",
        "crm-down",
        "crm-session-lost",
    ),
    ("gateway/identity/carried.py", "reason.status"): (403, 502, 503),
    ("gateway/identity/oidc_pages.py", "reason"): ("oidc-refused",),
    ("gateway/protect/work.py", "operation"): ("protect.write", "protect.put_back"),
    ("gateway/reviews/desk.py", "reason"): ("own-item", *(one.value for one in Decided)),
    ("gateway/reviews/desk.py", "refused.problem"): ACCOUNT_REFUSED,
    ("gateway/reviews/desk.py", "operation"): ("review.start", "review.decide", "review.close"),
    ("gateway/rotation_desk.py", "f'keys.rotate.{wanted}'"): tuple(f"keys.rotate.{one.value}" for one in Wanted),
}
"""What an expression that is no literal can be. A refusal's reason stands for itself and its status."""


@dataclass(frozen=True, slots=True)
class Site:
    """One way in which one line writes an entry."""

    place: str
    kind: str
    operation: str
    reason: str
    status: int


def sites() -> Iterator[Site]:
    """Everything the source can write; raises AssertionError for what it cannot tell."""
    for path in sorted(one for package in PACKAGES for one in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants, within = _constants(tree), _functions(tree)
        for call in (one for one in ast.walk(tree) if isinstance(one, ast.Call)):
            called = ast.unparse(call.func)
            if called in (AuditEntry.__name__, "describe"):
                assert name in MAKERS, f"{name}:{call.lineno} makes an entry nobody lists"
                yield from (Site(f"{name}:{call.lineno}", *told) for told in MAKERS[name])
                continue
            helper = _helper_for(name, called)
            if helper is not None and not (called in NOT_OURS and called != "note"):
                yield from _written(name, call, helper, constants, within.get(call, ""))


def _helper_for(name: str, called: str) -> Helper | None:
    found = [one for one in HELPERS.get(called.rpartition(".")[2], ()) if name.startswith(one.files)]
    if called.endswith("trail.note"):
        return next((one for one in found if one.files == "gateway/identity/"), None)
    if called == "note":
        return ACCESS_NOTE
    return next((one for one in found if one is not ACCESS_NOTE), None)


def _functions(tree: ast.Module) -> Mapping[ast.AST, str]:
    """Calls with the name of the innermost function they stand in."""
    found: dict[ast.AST, str] = {}
    for node in ast.walk(tree):  # from outside in, so the innermost comes last
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {one: node.name for one in ast.walk(node) if isinstance(one, ast.Call)}
    return found


def _written(name: str, call: ast.Call, helper: Helper, constants: Mapping[str, object], within: str) -> Iterator[Site]:
    if _passes_on(name, call):
        return
    named = {one.arg: one.value for one in call.keywords if one.arg}
    options: dict[str, tuple[str | int, ...]] = {}
    for part in ("kind", "operation", "reason", "status"):
        at = helper.places.get(part)
        given = named.get(part) or (call.args[at] if at is not None and at < len(call.args) else None)
        if part in helper.fixed:
            options[part] = helper.fixed[part]
        elif given is None:
            if part not in helper.missing:
                return  # another function of this name
            options[part] = (helper.missing[part],)
        else:
            options[part] = _values(name, given, constants, within)
    for kind, operation, reason, status in product(*options.values()):
        yield Site(f"{name}:{call.lineno}", str(kind), str(operation), str(reason), int(status))


def _passes_on(name: str, call: ast.Call) -> bool:
    """A helper that hands its own arguments to another helper: read where it is called."""
    text = ast.unparse(call)
    return (name, text.partition("(")[0]) in {
        ("gateway/access/events.py", "note"),
        ("gateway/access/factor_pages.py", "note_account"),
        ("gateway/access/proof_pages.py", "note_account"),
        ("gateway/access/account_pages.py", "note_account"),
        ("gateway/identity/pages.py", "self._deps.trail.note"),
        ("gateway/destroying.py", "entry"),
        ("gateway/query_desk.py", "note"),
        ("gateway/shredding.py", "entry"),
    } or (name == "gateway/console/pages.py" and text.startswith("note(self."))


def _values(name: str, given: ast.expr, constants: Mapping[str, object], within: str) -> tuple[str | int, ...]:
    if isinstance(given, ast.Constant):
        return (given.value,)  # type: ignore[return-value]
    if isinstance(given, ast.IfExp):
        return (*_values(name, given.body, constants, within), *_values(name, given.orelse, constants, within))
    text = ast.unparse(given)
    if isinstance(given, ast.Call) and text.startswith("_alone("):
        alone = ast.literal_eval(given.args[1])
        return (alone, f"{alone}_alone")
    told = TOLD.get((name, f"{within}: {text}")) or TOLD.get((name, text)) or constants.get(text)
    assert told is not None, f"{name}:{given.lineno} {within} writes an entry with `{text}`: tell in TOLD what it is"
    return told if isinstance(told, tuple) else (told,)  # type: ignore[return-value]


def _constants(tree: ast.Module) -> Mapping[str, object]:
    """Literal constants of the module, and the rights and names it takes from where they are defined."""
    from gateway import trail_reading
    from gateway.access import events as access_events
    from gateway.console import permissions
    from gateway.identity import events as identity_events

    found: dict[str, object] = {}
    for module in (permissions, access_events, identity_events, trail_reading):
        for key, value in vars(module).items():
            found[key] = value.operation if isinstance(value, permissions.Right) else value
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        ):
            found[node.targets[0].id] = node.value.value
    return {key: value for key, value in found.items() if isinstance(value, str)}
