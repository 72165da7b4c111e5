"""Readable words for the ids that the audit trail keeps: reasons, kinds of entries, forms, roles, kinds of data.

The ids are stable and for programs; these sentences are for people and are translated. An id nobody has words for is
shown as it is, never hidden.
"""

from collections.abc import Callable, Mapping

Translate = Callable[[str], str]


def N_(sentence: str) -> str:  # noqa: N802 - the name gettext tools know for "translate later"
    """Mark a sentence for the catalogue; it is translated where it is shown."""
    return sentence


REASONS: Mapping[str, str] = {
    "allowed": N_("Allowed"),
    # gateway.refusal: parsing
    "malformed-request": N_("Request could not be read"),
    "ambiguous-framing": N_("Request could be read in two ways"),
    "ambiguous-path": N_("Address could be read in two ways"),
    "host-unknown": N_("Unknown host name"),
    "upgrade-refused": N_("Protocol upgrade refused"),
    "method-refused": N_("Method refused"),
    "headers-too-large": N_("Headers too large"),
    "proxy-header-invalid": N_("Load balancer without a readable PROXY header"),
    "client-slow": N_("Client sent too slowly"),
    "client-gone": N_("Client left before the end"),
    "overloaded": N_("Too much at a time"),
    # network and access
    "address-not-allowed": N_("Network address not allowed"),
    "place-not-allowed": N_("From a network that the person or role may not use"),
    "hour-not-allowed": N_("Outside the hours of the CRM or the role"),
    "sign-in-required": N_("Not signed in"),
    "session-ended": N_("Session had ended"),
    "session-locked": N_("Session was locked"),
    "step-up-needed": N_("Fresh proof of a factor needed"),
    "session-locked-by-owner": N_("Session locked"),
    "session-unlocked": N_("Session unlocked"),
    "factor-proved": N_("Factor proved anew"),
    "device-needed": N_("Browser has to prove itself"),
    "device-proof-needed": N_("Fresh proof of the browser needed"),
    "device-proof-wrong": N_("Wrong, late or used proof of a browser"),
    "device-new": N_("New browser noted"),
    "device-waits": N_("New browser waits to be let in"),
    "device-bound": N_("Session bound to a browser"),
    "device-approved": N_("Browser let in"),
    "device-shut-out": N_("Browser shut out"),
    "device-revoked": N_("Browser that was shut out"),
    "devices-full": N_("Account has as many browsers as it may have"),
    "sessions-full": N_("Account has as many sessions as it may have"),
    "cross-site-refused": N_("Came from another website"),
    "crm-token-ended": N_("CRM sign-in of an ended session"),
    # identity towards the CRM
    "client-unknown": N_("Program not known"),
    "client-not-here": N_("Program from a network or without a certificate that it needs"),
    "crm-login-unknown": N_("No CRM login known for this person"),
    "crm-login-missing": N_("No CRM login and password stored"),
    "crm-login-refused": N_("CRM refused the stored login"),
    "crm-sign-in-here": N_("CRM's own sign-in page, which is closed"),
    "crm-sign-in-unreadable": N_("CRM sign-in with an answer that makes no sense"),
    "crm-session-lost": N_("CRM session renewed, request not sent"),
    "crm-signing-in": N_("Sign-in to the CRM on behalf begun"),
    "crm-signed-in": N_("Signed in to the CRM on behalf"),
    "crm-signed-out": N_("Signed out of the CRM"),
    "crm-sign-out-failed": N_("CRM did not take the sign-out"),
    "oidc-code-given": N_("OpenID code given"),
    "oidc-signed-in": N_("Signed in to the CRM by OpenID"),
    "oidc-refused": N_("OpenID sign-in refused"),
    "crm-login-stored": N_("CRM login stored"),
    "crm-login-forgotten": N_("CRM login deleted"),
    # decision
    "not-allowed": N_("Role does not allow it"),
    "write-not-granted": N_("Change not granted to the role"),
    "export-in-background": N_("Export made in the background"),
    "job-in-background": N_("Job worked off in the background"),
    "search-language-closed": N_("Search in a language that is closed"),
    "field-not-writable": N_("Field may not be changed"),
    "text-part-not-writable": N_("Personal details in a text may not be changed"),
    "field-not-searchable": N_("Field may not be searched"),
    "field-not-ordered": N_("Order of a protected field asked for"),
    "search-while-clear": N_("Part of a value asked for before everything is protected"),
    "search-ambiguous": N_("Search could mean several values"),
    "search-too-short": N_("Search text too short"),
    "search-too-wide": N_("Search fits too many values"),
    "search-not-merged": N_("Search for several values in an order or page that cannot be merged"),
    "search-leg-failed": N_("CRM answered for some of the values of a search only"),
    "search-budget": N_("Budget of searches for masked values used up"),
    "uniqueness-budget": N_("Budget of answers that a value is taken used up"),
    "uniqueness-told": N_("Told that a value is taken"),
    "search-whole-only": N_("Masked field searched by a part"),
    "search-not-ready": N_("Search index not ready"),
    # revealing with a reason
    "reveal-asked": N_("Asked to reveal a masked value"),
    "reveal-shown": N_("Masked value revealed"),
    "reveal-off": N_("Revealing is switched off"),
    "reveal-not-allowed": N_("Role may not reveal it"),
    "reveal-not-shown": N_("Reveal of a record that was not shown before"),
    "reveal-nothing": N_("Value to reveal is gone"),
    "reveal-reason": N_("Reveal without a reason"),
    "reveal-code-wrong": N_("Reveal with a wrong or used code"),
    "reveal-locked": N_("Reveal after too many wrong codes"),
    "reveal-budget": N_("Budget of reveals used up"),
    "reveal-expired": N_("Reveal came too late"),
    "reveal-by-program": N_("Reveal asked for by a page's script"),
    # bodies
    "body-too-large": N_("Content too large"),
    "body-malformed": N_("Content damaged"),
    "body-unreadable": N_("Content of a kind that cannot be checked"),
    "file-not-passed": N_("File that cannot be looked into"),
    "archive-unreadable": N_("Archive that cannot be checked"),
    "decompression-limit": N_("Compressed content grows too large"),
    "value-invalid": N_("Value cannot be stored in the field"),
    "value-too-long": N_("Value too long for the field"),
    "mask-returned": N_("Mask sent back without its value"),
    "copy-shows-more": N_("Copy would show its maker more"),
    "digits-invalid": N_("Number with a wrong check digit or length"),
    "crm-not-shown": N_("CRM did not say in time what stands there"),
    "needs-record": N_("Value that needs a record of its own"),
    "record-unknown": N_("Record made, but the CRM did not say which"),
    "query-unreadable": N_("Search could not be read"),
    "field-respelled": N_("Field written in other letters than declared"),
    "query-renames": N_("Query gives a protected field another name"),
    "graphql-unreadable": N_("GraphQL request could not be read"),
    "graphql-too-complex": N_("GraphQL request asks for too much at once"),
    "graphql-persisted": N_("GraphQL query named by its hash only"),
    "graphql-subscription": N_("GraphQL subscription"),
    "graphql-unmapped": N_("Part of a GraphQL request that no profile describes"),
    "graphql-introspection": N_("GraphQL schema asked for"),
    # CRM
    "crm-down": N_("CRM did not answer"),
    "crm-slow": N_("CRM took too long"),
    "crm-cut-off": N_("CRM broke off its answer"),
    "crm-answer-unreadable": N_("CRM answer could not be read"),
    "answer-too-large": N_("CRM answer too large to check"),
    "answer-not-renderable": N_("Answer may not be shown"),
    "file-erased": N_("File of an erased person"),
    # collaborators
    "audit-unavailable": N_("Audit trail unavailable"),
    "store-unavailable": N_("Database unavailable"),
    "keys-unavailable": N_("Keys unavailable"),
    "internal-fault": N_("Internal fault"),
    "outcome-unknown": N_("Outcome unknown"),
    # policy
    "policy-simulated": N_("Policy bundle simulated"),
    "reviews-exported": N_("Review exported"),
    # sign-in
    "signed-in": N_("Signed in"),
    "signed-out": N_("Signed out"),
    "password-accepted": N_("Password accepted, code asked for"),
    "password-wrong": N_("Wrong login or password"),
    "directory-unavailable": N_("Company directory not available"),
    "code-wrong": N_("Wrong code"),
    "code-replayed": N_("Code used a second time"),
    "locked": N_("Too many attempts, paused"),
    "not-linked": N_("Not linked to an account"),
    "elsewhere-accepted": N_("Signed in elsewhere, code asked for"),
    "elsewhere-refused": N_("Another provider's word refused"),
    "elsewhere-down": N_("Another provider not reachable"),
    "elsewhere-cancelled": N_("Signing in elsewhere cancelled"),
    "elsewhere-ended": N_("Ended by another provider"),
    "elsewhere-linked": N_("Own identity elsewhere linked"),
    "elsewhere-unlinked": N_("Own identity elsewhere unlinked"),
    "elsewhere-taken": N_("Identity elsewhere not linked: taken"),
    "second-factor-missing": N_("No second factor set up"),
    "sign-in-expired": N_("Sign-in took too long"),
    "invitation-used": N_("Account set up by invitation"),
    "invitation-invalid": N_("Invitation link not valid"),
    "password-changed": N_("Own password changed"),
    "password-expired": N_("Password expired, a new one asked for"),
    "language-changed": N_("Own language changed"),
    "other-sessions-ended": N_("Own other sessions ended"),
    "recovery-codes-made": N_("Own recovery codes made anew"),
    "recovery-code-used": N_("Recovery code used"),
    "recovery-code-wrong": N_("Wrong or used recovery code"),
    "passkey-added": N_("Passkey added"),
    "passkey-removed": N_("Passkey removed"),
    "passkey-kept": N_("Passkey not removed: the last factor"),
    "passkey-wrong": N_("Passkey refused"),
    "passkey-counter-back": N_("Passkey counter went back, maybe a copy"),
    "passkey-invalid": N_("New passkey could not be checked"),
    "passkey-name": N_("Name of a passkey not usable"),
    "passkey-not-added": N_("Passkey there already, or too many"),
    # command line
    "done": N_("Done"),
    # console
    "console-refused": N_("Role does not allow this page"),
    "page-viewed": N_("Page viewed"),
    "activity-viewed": N_("Activity viewed"),
    "reveals-viewed": N_("Ledger of reveals viewed"),
    "entry-viewed": N_("Audit entry viewed"),
    "trail-asked": N_("Trail asked who saw what"),
    "trail-pack-made": N_("Evidence pack asked for"),
    "trail-pack-fetched": N_("Evidence pack fetched"),
    "question-saved": N_("Question to the trail saved"),
    "question-used": N_("Saved question to the trail used"),
    "question-changed": N_("Saved question to the trail changed"),
    "question-deleted": N_("Saved question to the trail deleted"),
    "query-asked": N_("SQL asked of the trail"),
    "query-answered": N_("SQL of the trail answered"),
    "query-refused": N_("SQL of the trail refused"),
    "query-failed": N_("SQL of the trail without an answer"),
    "query-cancelled": N_("SQL of the trail stopped"),
    "query-exported": N_("Result of SQL fetched as a file"),
    "trail-verified": N_("Audit trail verified"),
    "trail-tampered": N_("Audit trail found changed"),
    "tiles-read": N_("Signed log read over HTTP"),
    "audit-key-made": N_("Key for checkpoints made on the key server"),
    "audit-key-changed": N_("Another key signs the audit trail"),
    "database-restarted": N_("Embedded database ended by itself and was started again"),
    "anchor-contradicts": N_("An anchor contradicts the audit trail"),
    "session-ended-by-administrator": N_("Session ended by administrator"),
    "user-created": N_("User added"),
    "user-changed": N_("User changed"),
    "user-networks-changed": N_("Networks of a user changed"),
    "user-invited": N_("Invitation issued"),
    "user-disabled": N_("Account closed"),
    "user-enabled": N_("Account reopened"),
    "reset-started": N_("Reset of factors started"),
    "reset-withdrawn": N_("Reset of factors withdrawn"),
    "reset-refused": N_("Reset of factors refused"),
    "rights-asked": N_("Rights asked for"),
    "rights-agreed": N_("Rights agreed to by a second person"),
    "rights-withdrawn": N_("Rights asked for withdrawn"),
    "rights-refused": N_("Rights not agreed to"),
    "emergency-refused": N_("Step of an emergency role refused"),
    "access:break-glass:asked": N_("EMERGENCY: role asked for"),
    "access:break-glass:approved": N_("EMERGENCY: agreed to by a second person"),
    "access:break-glass:opened": N_("EMERGENCY: role opened"),
    "access:break-glass:ended": N_("EMERGENCY: role ended before its time"),
    "access:break-glass:over": N_("EMERGENCY: role over"),
    "access:break-glass:refused": N_("EMERGENCY: own agreement refused"),
    "user-reset": N_("Password and second factor reset"),
    "rotation-paused": N_("Key rotation paused"),
    "learning-started": N_("Learning of the CRM begun"),
    "learning-stopped": N_("Learning of the CRM stopped"),
    "learning-decided": N_("Decisions about the learnt profile"),
    "learning-accepted": N_("Learnt profile taken"),
    "rotation-resumed": N_("Key rotation resumed"),
    "key-certificate-viewed": N_("Certificate of a destruction fetched"),
}

FAMILIES: Mapping[str, str] = {
    "access": N_("Sign-in, accounts and rights"),
    "audit": N_("Reading and checking the trail"),
    "console": N_("Pages of the console"),
    "crm": N_("Records and pages of the CRM"),
    "egress": N_("What the CRM sends out"),
    "ingress": N_("What comes in for the CRM"),
    "keys": N_("Keys and rotation"),
    "policy": N_("Policy"),
    "privacy": N_("Reveals and erasure"),
    "protect": N_("The gateway's own work in the CRM"),
    "settings": N_("Settings and learning"),
    "unlisted": N_("Events that this version does not know"),
}
"""Sources of events, the first part of a tag (audit.catalogue)."""

KINDS: Mapping[str, str] = {
    "decision": N_("Decision"),
    "outcome": N_("Outcome"),
    "refusal": N_("Refusal"),
    "sign-in": N_("Sign-in"),
    "identity": N_("Identity"),
    "console": N_("Console"),
    "guess": N_("Told about a hidden value"),
    "reveal": N_("Reveal with a reason"),
    "alarm": N_("Alarm"),
    "refusal-count": N_("Refusals counted"),
    "checkpoint": N_("Checkpoint"),
    "protect": N_("Protection"),
    "policy": N_("Policy"),
    "review": N_("Review"),
    "keys": N_("Keys"),
}

ROLES: Mapping[str, tuple[str, str]] = {
    "sales": (N_("Sales"), N_("Works in the CRM with own customers; contact details partly masked.")),
    "manager": (N_("Manager"), N_("Works in the CRM with all customers; sees values in the clear.")),
    "auditor": (N_("Auditor"), N_("Reads the audit trail; no access to the CRM.")),
    "dpo": (N_("Data protection officer"), N_("Handles people's requests; no access to the CRM.")),
    "administrator": (N_("Administrator"), N_("Runs the gateway and its accounts; sees no customer data.")),
    "system-admin": (
        N_("System administrator"),
        N_("Runs the gateway, makes accounts and asks for roles; decides about nobody's rights alone."),
    ),
    "security-admin": (
        N_("Security administrator"),
        N_("Drafts the policy and agrees to roles that others ask for; makes no accounts."),
    ),
    "audit-admin": (N_("Audit administrator"), N_("Reads the trail of what everybody did; changes nothing.")),
}

RIGHTS_REASONS: Mapping[str, str] = {
    "new-person": N_("Somebody new"),
    "new-duty": N_("New duties"),
    "stands-in": N_("Stands in for somebody"),
    "left-duty": N_("Duties have ended"),
    "correction": N_("Correction of a mistake"),
}
"""Why somebody gets rights (gateway.access.role_changes.REASONS)."""

EMERGENCY_REASONS: Mapping[str, str] = {
    "system-down": N_("The gateway or the CRM is down"),
    "data-incident": N_("An incident with data"),
    "customer-harm": N_("A customer would be harmed by waiting"),
    "keeper-away": N_("Whoever usually does this cannot be reached"),
    "drill": N_("A drill"),
}
"""Why somebody takes an emergency role (gateway.access.emergencies.REASONS)."""

REVEAL_REASONS: Mapping[str, str] = {
    "contact": N_("To contact the customer"),
    "order": N_("For an order or a delivery"),
    "complaint": N_("For a complaint"),
    "correction": N_("To check or correct the record"),
    "other": N_("Another reason, in my own words"),
}

REVEAL_MARK = (
    N_("Reveal a masked value"),
    N_("Masked values on this page"),
    N_("Open in a window of its own"),
    N_("Close"),
)
"""What the element in a page of the CRM says: its button, its panel, and what is in the panel beside the frame."""

DATA_KINDS: Mapping[str, str] = {
    "name": N_("Name"),
    "email": N_("E-mail"),
    "phone": N_("Phone"),
    "id_card": N_("ID card"),
    "bank_card": N_("Bank card"),
    "address": N_("Address"),
    "birth_date": N_("Date of birth"),
}

LEARN_QUESTIONS: Mapping[str, str] = {
    "kind": N_("What is the field “%(field)s” of “%(entity)s”?"),
    "unknown-writes": N_(
        "Kinds of requests that may change something, while nothing says what: %(count)s. Let them through?"
    ),
    "unknown-verbs": N_(
        "Verbs of calls that may change something, while nothing says what: %(count)s. Let them through?"
    ),
    "unused-forms": N_("Forms that were shown and never sent: %(count)s. To allow one, send it once while learning."),
    "birth-dates": N_("Dates of birth need rules that learning cannot make. They stay clear: %(fields)s."),
    "creates-by-address": N_(
        "After a new record the CRM leads to its page. May a request choose another page by a parameter nobody used?"
    ),
    "owners": N_("These fields named whoever was at work each time: %(fields)s. Do they say whose a record is?"),
    "owners-through": N_(
        "Records without an owner of their own name another record: %(fields)s. Do they belong to whom that belongs?"
    ),
    "staff": N_("Are the records called “%(entity)s” accounts of your own staff, or customers?"),
}

LEARN_ANSWERS: Mapping[str, str] = {
    "kind.name": N_("A name: always replaced"),
    "kind.address": N_("An address: always replaced"),
    "kind.email": N_("An e-mail address"),
    "kind.phone": N_("A phone number"),
    "kind.text": N_("Free text: its personal parts are replaced"),
    "kind.plain": N_("Nothing personal"),
    "unknown-writes.no": N_("Refuse them"),
    "unknown-writes.yes": N_("Let them through, their texts looked into"),
    "unknown-verbs.no": N_("Refuse them"),
    "unknown-verbs.yes": N_("Let them through, their texts looked into"),
    "unused-forms.refuse": N_("They stay refused"),
    "birth-dates.clear": N_("Describe them by hand (form beside) before going live"),
    "creates-by-address.maybe": N_("Maybe: new values belong to no record, only who may see everything sees them"),
    "creates-by-address.no": N_("No: new values belong to the record of that page"),
    "owners.no": N_("No: nobody has records of their own, and roles that may see only those see nothing in clear"),
    "owners.yes": N_("Yes: a record belongs to that person, whose role may see more of it"),
    "owners-through.no": N_("No: they belong to nobody"),
    "owners-through.yes": N_("Yes: its owner is theirs"),
    "staff.customers": N_("Customers: protected like everybody"),
    "staff.staff": N_("Staff: left alone"),
}

KEY_SCOPES: Mapping[str, str] = {
    "surrogate": N_("Surrogates"),
    "gateway.access": N_("Second factors"),
    "gateway.protect": N_("Protecting what the CRM holds"),
    "gateway.identity": N_("Identity towards the CRM"),
    "gateway.reveal": N_("Reasons of reveals"),
    "egress": N_("Mail of the CRM"),
    "text": N_("Free text"),
}

# Scopes of one field: FORM/ENTITY/FIELD (kms/README.md).
KEY_FORMS: Mapping[str, str] = {
    "cell": N_("Whole field"),
    "file": N_("Files"),
    "beside": N_("Kept beside the CRM"),
    "ff1": N_("Digits"),
}

KEY_PURPOSES: Mapping[str, str] = {
    "seal": N_("Encryption"),
    "equal": N_("Search by the whole value"),
    "prefix": N_("Search by the beginning"),
    "suffix": N_("Search by the end"),
    "part": N_("Search by any part"),
    "token": N_("Recognising surrogates"),
    "ff1": N_("Digits that stay digits"),
}

KEY_STATES: Mapping[str, tuple[str, str]] = {
    "current": ("good", N_("Current")),
    "live": ("warning", N_("Old, still read")),
    "verify": ("good", N_("Old, recognises surrogates")),
    "retired": ("quiet", N_("Nothing under it")),
    "destroyed": ("bad", N_("Destroyed")),
}

JOB_STATES: Mapping[str, tuple[str, str]] = {
    "running": ("good", N_("Running")),
    "paused": ("warning", N_("Paused")),
    "stopped": ("bad", N_("Stopped by a problem")),
    "cancelled": ("quiet", N_("Cancelled")),
    "done": ("good", N_("Done")),
}

KEY_ENDS: Mapping[str, str] = {
    "retired": N_("nothing is left under the old key"),
    "verify": N_("the old key only confirms what was made under it"),
    "standing": N_("the old key stays in use for what stands in the CRM itself"),
}
"""What became of the old key when a rotation ended (kms.rotation.End)."""

DESTRUCTION_STATES: Mapping[str, tuple[str, str]] = {
    "requested": ("warning", N_("Waits for a second person")),
    "approved": ("warning", N_("Approved, waits for its day")),
    "executing": ("bad", N_("Being destroyed")),
    "destroyed": ("bad", N_("Destroyed")),
    "cancelled": ("quiet", N_("Cancelled")),
}

FORMS: Mapping[str, str] = {
    "clear": N_("Clear"),
    "masked": N_("Masked"),
    "hidden": N_("Hidden"),
    "written": N_("Written"),
}


def reason_words(reason: str, translate: Translate) -> str:
    """Words for a reason id."""
    found = REASONS.get(reason)
    return reason if found is None else translate(found)


def kind_words(kind: str, translate: Translate) -> str:
    """Words for the kind of an audit entry."""
    found = KINDS.get(kind)
    return kind if found is None else translate(found)


def role_words(role: str, translate: Translate) -> str:
    """Name of a role."""
    found = ROLES.get(role)
    return role if found is None else translate(found[0])


def role_purpose(role: str, translate: Translate) -> str:
    """What a role is for, "" for roles of the customer's own."""
    found = ROLES.get(role)
    return "" if found is None else translate(found[1])


def right_words(signed: str, translate: Translate) -> str:
    """A role, department or position that comes (+) or goes (-), or the CRM key."""
    if signed == "crm_user":
        return translate(N_("CRM key"))
    return f"{signed[:1].replace('-', '−')} {role_words(signed[1:], translate)}"


def data_kind_words(kind: str, translate: Translate) -> str:
    """Name of a kind of personal data."""
    found = DATA_KINDS.get(kind)
    return kind if found is None else translate(found)


def reveal_reason_words(reason: str, translate: Translate) -> str:
    """Words for a reason to reveal a value; reasons of the customer's own are words already."""
    found = REVEAL_REASONS.get(reason)
    return reason if found is None else translate(found)


def key_scope_words(scope: str, translate: Translate) -> str:
    """What a field key is for: a kind of data, or a purpose of the gateway's own."""
    form, _, place = scope.partition("/")
    if place and form in KEY_FORMS:
        return f"{translate(KEY_FORMS[form])} · {place.replace('/', '.')}"
    found = KEY_SCOPES.get(scope) or DATA_KINDS.get(scope)
    return scope if found is None else translate(found)


def key_purpose_words(purpose: str, translate: Translate) -> str:
    """What a key does."""
    found = KEY_PURPOSES.get(purpose)
    return purpose if found is None else translate(found)


def form_words(form: str, translate: Translate) -> str:
    """Word for the form in which a value is shown."""
    found = FORMS.get(form)
    return form if found is None else translate(found)
