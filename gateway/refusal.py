"""Why an exchange ends here: one reason id per case, the status that fits, whether trying again helps.

Reason ids are stable: the audit trail, the console and the messages in two languages all key on them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable reason id with its HTTP status; `retry` says whether the same call may succeed later."""

    id: str
    status: int
    retry: bool = False


class Refusal(Exception):  # noqa: N818 - the field's term; it ends an exchange, it is not a fault
    """Raised by any stage to end an exchange; carries no personal value.

    detail: names of fields, limits or parts, never values. fields: the wire names the message is about.
    """

    def __init__(self, reason: Reason, *, detail: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(reason.id)
        self.reason = reason
        self.detail = detail
        self.fields = fields


def _reason(name: str, status: int, *, retry: bool = False) -> Reason:
    return Reason(name, status, retry)


# Parsing the request
MALFORMED_REQUEST = _reason("malformed-request", 400)
AMBIGUOUS_FRAMING = _reason("ambiguous-framing", 400)
AMBIGUOUS_PATH = _reason("ambiguous-path", 400)
HOST_UNKNOWN = _reason("host-unknown", 421)
UPGRADE_REFUSED = _reason("upgrade-refused", 403)
METHOD_REFUSED = _reason("method-refused", 405)
HEADERS_TOO_LARGE = _reason("headers-too-large", 431)
PROXY_HEADER_INVALID = _reason("proxy-header-invalid", 400)
CLIENT_SLOW = _reason("client-slow", 408, retry=True)
CLIENT_GONE = _reason("client-gone", 400)
OVERLOADED = _reason("overloaded", 503, retry=True)
# Network and access
ADDRESS_NOT_ALLOWED = _reason("address-not-allowed", 403)
PLACE_NOT_ALLOWED = _reason("place-not-allowed", 403)
HOUR_NOT_ALLOWED = _reason("hour-not-allowed", 403)
SIGN_IN_REQUIRED = _reason("sign-in-required", 401)
SESSION_ENDED = _reason("session-ended", 401)
SESSION_LOCKED = _reason("session-locked", 401)
STEP_UP_NEEDED = _reason("step-up-needed", 401)
DEVICE_NEEDED = _reason("device-needed", 401)
DEVICE_PROOF_NEEDED = _reason("device-proof-needed", 401)
CROSS_SITE_REFUSED = _reason("cross-site-refused", 403)
CRM_TOKEN_ENDED = _reason("crm-token-ended", 401)
# Identity towards the CRM
CLIENT_UNKNOWN = _reason("client-unknown", 401)
CLIENT_NOT_HERE = _reason("client-not-here", 403)
CRM_LOGIN_UNKNOWN = _reason("crm-login-unknown", 403)
CRM_LOGIN_MISSING = _reason("crm-login-missing", 403)
CRM_LOGIN_REFUSED = _reason("crm-login-refused", 403)
CRM_SIGN_IN_HERE = _reason("crm-sign-in-here", 403)
CRM_SIGN_IN_UNREADABLE = _reason("crm-sign-in-unreadable", 502, retry=True)
CRM_SESSION_LOST = _reason("crm-session-lost", 503, retry=True)
# Decision
NOT_ALLOWED = _reason("not-allowed", 403)
WRITE_NOT_GRANTED = _reason("write-not-granted", 403)
EXPORT_IN_BACKGROUND = _reason("export-in-background", 403)
JOB_IN_BACKGROUND = _reason("job-in-background", 403)
SEARCH_LANGUAGE_CLOSED = _reason("search-language-closed", 403)
BY_DECISION = {
    one.id: one for one in (WRITE_NOT_GRANTED, EXPORT_IN_BACKGROUND, JOB_IN_BACKGROUND, SEARCH_LANGUAGE_CLOSED)
}
"""Reasons of decisions that are told as they are; every other one means that the role may not."""
FIELD_NOT_WRITABLE = _reason("field-not-writable", 403)
TEXT_PART_NOT_WRITABLE = _reason("text-part-not-writable", 403)
COPY_SHOWS_MORE = _reason("copy-shows-more", 403)
FIELD_NOT_SEARCHABLE = _reason("field-not-searchable", 403)
FIELD_NOT_ORDERED = _reason("field-not-ordered", 403)
SEARCH_WHILE_CLEAR = _reason("search-while-clear", 403)
SEARCH_AMBIGUOUS = _reason("search-ambiguous", 422)
SEARCH_TOO_SHORT = _reason("search-too-short", 422)
SEARCH_TOO_WIDE = _reason("search-too-wide", 422)
SEARCH_WHOLE_ONLY = _reason("search-whole-only", 403)
SEARCH_NOT_READY = _reason("search-not-ready", 503, retry=True)
SEARCH_NOT_MERGED = _reason("search-not-merged", 422)
SEARCH_LEG_FAILED = _reason("search-leg-failed", 502, retry=True)
SEARCH_BUDGET = _reason("search-budget", 429, retry=True)
UNIQUENESS_BUDGET = _reason("uniqueness-budget", 429, retry=True)
# Revealing a masked value with a reason
REVEAL_OFF = _reason("reveal-off", 404)
REVEAL_NOT_ALLOWED = _reason("reveal-not-allowed", 403)
REVEAL_NOT_SHOWN = _reason("reveal-not-shown", 403)
REVEAL_NOTHING = _reason("reveal-nothing", 404)
REVEAL_REASON = _reason("reveal-reason", 422)
REVEAL_CODE_WRONG = _reason("reveal-code-wrong", 403)
REVEAL_LOCKED = _reason("reveal-locked", 429, retry=True)
REVEAL_BUDGET = _reason("reveal-budget", 429, retry=True)
REVEAL_EXPIRED = _reason("reveal-expired", 410)
REVEAL_BY_PROGRAM = _reason("reveal-by-program", 403)
# Bodies
BODY_TOO_LARGE = _reason("body-too-large", 413)
BODY_MALFORMED = _reason("body-malformed", 400)
BODY_UNREADABLE = _reason("body-unreadable", 415)
FILE_NOT_PASSED = _reason("file-not-passed", 403)
ARCHIVE_UNREADABLE = _reason("archive-unreadable", 415)
DECOMPRESSION_LIMIT = _reason("decompression-limit", 413)
VALUE_INVALID = _reason("value-invalid", 422)
DIGITS_INVALID = _reason("digits-invalid", 422)
VALUE_TOO_LONG = _reason("value-too-long", 422)
NEEDS_RECORD = _reason("needs-record", 422)
MASK_RETURNED = _reason("mask-returned", 409)
CRM_NOT_SHOWN = _reason("crm-not-shown", 503, retry=True)
RECORD_UNKNOWN = _reason("record-unknown", 502)
QUERY_UNREADABLE = _reason("query-unreadable", 400)
QUERY_RENAMES = _reason("query-renames", 422)
FIELD_RESPELLED = _reason("field-respelled", 422)
GRAPHQL_UNREADABLE = _reason("graphql-unreadable", 400)
GRAPHQL_TOO_COMPLEX = _reason("graphql-too-complex", 422)
GRAPHQL_PERSISTED = _reason("graphql-persisted", 422)
GRAPHQL_SUBSCRIPTION = _reason("graphql-subscription", 403)
GRAPHQL_UNMAPPED = _reason("graphql-unmapped", 403)
GRAPHQL_INTROSPECTION = _reason("graphql-introspection", 403)
# Upstream
CRM_DOWN = _reason("crm-down", 502, retry=True)
CRM_SLOW = _reason("crm-slow", 504, retry=True)
CRM_CUT_OFF = _reason("crm-cut-off", 502, retry=True)
CRM_ANSWER_UNREADABLE = _reason("crm-answer-unreadable", 502)
ANSWER_TOO_LARGE = _reason("answer-too-large", 502)
ANSWER_NOT_RENDERABLE = _reason("answer-not-renderable", 403)
FILE_ERASED = _reason("file-erased", 410)
# Collaborators
AUDIT_UNAVAILABLE = _reason("audit-unavailable", 503, retry=True)
STORE_UNAVAILABLE = _reason("store-unavailable", 503, retry=True)
KEYS_UNAVAILABLE = _reason("keys-unavailable", 503, retry=True)
INTERNAL_FAULT = _reason("internal-fault", 500)

ALL: tuple[Reason, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Reason))
