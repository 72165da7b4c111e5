"""Who may frame a page of the CRM, said in the directive that counts (CSP level 3, `frame-ancestors`; ASVS 5.0, 3.4.6).

A CRM that has such a directive keeps it. One that still says it in X-Frame-Options (RFC 7034) means the same
afterwards. One that says nothing is framed by its own host only.
"""

import re
from collections.abc import Iterable

OWN = "frame-ancestors 'self'"
_ORIGIN = re.compile(r"allow-from\s+(https?://[a-z0-9.-]+(?::\d+)?)/?")


def frame_rule(fields: Iterable[tuple[str, str]]) -> str | None:
    """The policy to add to these header fields (names in lower case); None where the CRM has its own directive."""
    said: set[str] = set()
    for name, value in fields:
        if name == "content-security-policy" and _has_directive(value):
            return None
        if name == "x-frame-options":
            said.update(part.strip().lower() for part in value.split(","))
    return _translated(said)


def _has_directive(value: str) -> bool:
    """Policies of one header are separated by commas, directives by semicolons."""
    parts = re.split("[,;]", value.lower())
    return any(part.split(None, 1)[:1] == ["frame-ancestors"] for part in parts)


def _translated(said: set[str]) -> str:
    """X-Frame-Options in the newer directive, which browsers follow instead; what they do not know counts as unsaid."""
    if "deny" in said or ("sameorigin" in said and len(said) > 1):  # a contradiction denies (HTML, section 7.7)
        return "frame-ancestors 'none'"
    named = _ORIGIN.fullmatch(said.pop()) if len(said) == 1 else None
    return f"{OWN} {named[1]}" if named is not None else OWN
