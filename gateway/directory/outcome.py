"""What a directory's answer comes down to, as ids for the audit trail; what it says in words is kept nowhere.

A refusal's text (diagnosticMessage, RFC 4511, 4.1.9) may carry names and DNs. From Active Directory only the sub-code
behind "data" is read (Windows error codes, as AD has them in its answer to a failed bind).
"""

import re

from sansldap import LDAPResult, LDAPResultCode

_DATA = re.compile(r"\bdata ([0-9a-fA-F]{1,8})\b")
# Active Directory's sub-code of result 49 → id.
SUB_CODES = {
    0x525: "directory-unknown",
    0x52E: "directory-wrong",
    0x530: "directory-hours",
    0x531: "directory-workstation",
    0x532: "directory-password-expired",
    0x533: "directory-disabled",
    0x701: "directory-expired",
    0x773: "directory-password-must-change",
    0x775: "directory-locked",
}
# Results of a bind that are a verdict on this person, not on the state of the directory (RFC 4511, appendix A).
_VERDICTS = {
    LDAPResultCode.INVALID_CREDENTIALS: "directory-wrong",
    LDAPResultCode.INAPPROPRIATE_AUTHENTICATION: "directory-no-password",
    LDAPResultCode.NO_SUCH_OBJECT: "directory-unknown",
    LDAPResultCode.CONSTRAINT_VIOLATION: "directory-refused",  # what 389 DS says of a locked account
    LDAPResultCode.INSUFFICIENT_ACCESS_RIGHTS: "directory-refused",
    LDAPResultCode.UNWILLING_TO_PERFORM: "directory-refused",  # and of a closed one
}


class DirectoryRefused(Exception):  # noqa: N818 - an outcome of verification
    """The directory does not vouch for this person with this password; `reason` is an id for the trail.

    Outside it is told like any wrong password.
    """

    permanent = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DirectoryUnavailable(Exception):  # noqa: N818
    """Nobody can be checked now; `reason` says why, as an id.

    `unreachable`, `tls` (certificate, name or version), `slow` (past the deadline), `nonsense` (no LDAP, or an answer
    that fits no question), `busy`, `secret` (the file with crmgate's own secret), `own-account` (the directory refuses
    crmgate's own bind), `search` (the search fails: base, rights, or the server).
    """

    permanent = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def judge_bind(result: LDAPResult) -> None:
    """Return for a success only; raises DirectoryRefused, DirectoryUnavailable (referrals too: none is followed)."""
    code = result.result_code
    if code is LDAPResultCode.SUCCESS:
        return
    verdict = _VERDICTS.get(code)
    if verdict is None:
        raise DirectoryUnavailable("busy" if code in (LDAPResultCode.BUSY, LDAPResultCode.UNAVAILABLE) else "nonsense")
    if code is LDAPResultCode.INVALID_CREDENTIALS and (told := _DATA.search(result.diagnostics_message)):
        verdict = SUB_CODES.get(int(told[1], 16), "directory-refused")
    raise DirectoryRefused(verdict)
