"""Asks the CRM whom it takes a person for, with that person's own fresh CRM session, right after the CRM let them in.

Some CRMs name the user only on a page of theirs; the profile says which page and where on it. The question is the
gateway's own, so its answer is evidence (DESIGN, section 1). When it fails nobody is known, which gives no rights.
"""

import re
from collections.abc import Mapping

from gateway.answer import UpstreamError
from gateway.network import Tenant
from policies.profile import Operation, Profile

PAGE_LIMIT_BYTES = 4 * 1024 * 1024
# RFC 6265, section 4.1.1: what a cookie value may hold; anything else could end the line it is written in.
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{1,4096}")


class Whoami:
    """One per process; `tenants` by name."""

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self._tenants = tenants

    async def ask(self, tenant: str, profile: Profile, operation: Operation, token: str) -> str | None:
        """The CRM's key of the user behind a session cookie it has just set; None when it does not tell."""
        question = profile.whoami
        cookie = profile.sign_in.get(operation.id, {}).get("token", {}).get("cookie")
        if question is None or question.method != "GET" or cookie is None or not _COOKIE_VALUE.fullmatch(token):
            return None
        crm = self._tenants[tenant]
        head = (
            f"GET {question.path} HTTP/1.1\r\nhost: {crm.origins.upstream_host}\r\ncookie: {cookie}={token}\r\n"
            "accept: text/html\r\naccept-encoding: identity\r\n\r\n"
        )
        try:
            answer = await crm.pool.request(b"GET", head.encode("ascii"))
            return profile.crm_user_from_whoami(answer.status, await answer.read(PAGE_LIMIT_BYTES))
        except UpstreamError:
            return None
