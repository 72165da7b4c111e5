"""Where to go after signing in: only to a path of this very host (ASVS 3.7.2).

Anything a browser could read as another host, another scheme or a header line is replaced by the start page.
"""

import re

NEXT_LIMIT_CHARS = 2_048
# Visible ASCII without backslash, double quote and angle brackets; browsers read a backslash as a slash.
_PATH = re.compile(r"/(?![/\\])[!#-;=?-\[\]-~]*")
_OWN_PAGES = "/.crmgate/"
_MAY_FOLLOW = frozenset(
    {
        "/.crmgate/account",
        "/.crmgate/account/crm",
        "/.crmgate/account/devices",
        "/.crmgate/account/passkeys/new",
        "/.crmgate/account/recovery",
        "/.crmgate/oidc/authorize",
    }
)


def safe_next(wanted: str) -> str:
    """The wanted path with its query, or "/" when it is not a plain path of this host."""
    if len(wanted) > NEXT_LIMIT_CHARS or _PATH.fullmatch(wanted) is None:
        return "/"
    # A path such as /..//host is resolved by the browser before it is asked for; keep to paths without dot segments.
    path = wanted.partition("?")[0].partition("#")[0]
    if any(step in (".", "..") for step in path.lower().replace("%2e", ".").split("/")) or "//" in path:
        return "/"
    return "/" if path.startswith(_OWN_PAGES) and path not in _MAY_FOLLOW else wanted
