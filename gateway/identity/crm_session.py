"""Signing in to a CRM and out of it for somebody, as the profile's `carried` says; what a session then bears.

An answer is a session, a refusal, or nonsense; nothing else counts as success. No error carries what was sent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gateway.binding import signed_out
from gateway.identity.bearing import Bearing, flat
from gateway.protect.client import CrmClient, Page
from gateway.protect.html_form import read_form
from policies.carried import Carried, Step
from policies.profile import Profile

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
# RFC 6265, section 4.1.1: what a cookie's name and value may hold.
_COOKIE = re.compile(r"\s*([!#-'*+\-.0-9A-Z^-z|~]{1,256})=\"?([!#-+\--:<-\[\]-~]{0,4096})\"?\s*(?:;|$)")
_EXPIRED = re.compile(r";\s*max-age\s*=\s*0+\s*(?:;|$)", re.IGNORECASE)


class CrmLoginWrong(Exception):  # noqa: N818 - what the CRM said
    """The CRM says that login or secret is wrong."""

    permanent = True


class CrmSignInUnreadable(Exception):  # noqa: N818 - what the CRM did
    """The CRM answers a sign-in with something that is neither yes nor no."""

    permanent = True


@dataclass(frozen=True, slots=True)
class CrmSession:
    """An open session. given: everything its templates need; user: the CRM's own key of the person, "" when unknown."""

    given: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    others: Mapping[str, str] = field(repr=False)
    user: str = ""

    def bearing(self, carried: Carried) -> Bearing:
        """What its requests bear; raises ValueError for what no header can hold."""
        drops = {"authorization"} | ({flat(carried.header)} if carried.header else set())
        return Bearing(carried.line(self.given), tuple(self.cookies.items()), frozenset(drops))


async def sign_in(client: CrmClient, profile: Profile, login: str, secret: str, database: str) -> CrmSession:
    """Open a session; raises CrmLoginWrong, CrmSignInUnreadable, CrmUnreachable."""
    carried = profile.carried
    if carried is None:
        raise CrmSignInUnreadable("the profile does not say how to sign in")
    given = {"login": login, "secret": secret, "db": database}
    if carried.sign_in is None:
        return CrmSession(given, {}, {})
    hidden = await _hidden(client, carried, carried.sign_in)
    answer = await _send(client, carried.sign_in, given, hidden)
    fields = [("location", answer.headers["location"])] if "location" in answer.headers else []
    if answer.status in carried.refused:
        if carried.refused_field and read_form(answer.body, carried.refused_field) is None:
            raise CrmSignInUnreadable("the page after a sign-in is not the one that says no")
        raise CrmLoginWrong
    if signed_out(profile, answer.status, fields):
        raise CrmLoginWrong
    told = carried.told(answer.status, answer.body, client.cookies) if answer.status in carried.accepted else None
    if told is None:
        raise CrmSignInUnreadable(f"the CRM answers a sign-in with {answer.status} and no session")
    kept = {name: client.cookies[name] for name in carried.cookies}
    others = {name: value for name, value in client.cookies.items() if name not in kept}
    # The secret has done its work where there is a sign-in: what is kept in memory is the session.
    session = {name: value for name, value in {**given, **told}.items() if name != "secret"}
    user = told.get(carried.user, "") if carried.user else await _asked(client, profile)
    made = CrmSession(session, kept, others, user)
    try:
        made.bearing(carried)
    except (ValueError, KeyError):
        raise CrmSignInUnreadable("the CRM gives a session that no request can bear") from None
    return made


async def sign_out(client: CrmClient, carried: Carried, session: CrmSession) -> bool:
    """End a session at the CRM; whether the CRM took it. Raises CrmUnreachable."""
    if carried.sign_out is None:
        return False
    bearing = session.bearing(carried)
    client.cookies = {**session.others, **session.cookies}
    if bearing.lines:
        name, _, value = bearing.lines.rstrip("\r\n").partition(": ")
        client.headers = {name: value}
    answer = await _send(client, carried.sign_out, session.given, [])
    return answer.status < 400


def cookie_of(text: str) -> tuple[str, str | None] | None:
    """Name and value that a Set-Cookie sets, None for the value where it takes the cookie back; None for nonsense."""
    found = _COOKIE.match(text)
    if found is None:
        return None
    return found[1], None if not found[2] or _EXPIRED.search(text) else found[2]


async def _hidden(client: CrmClient, carried: Carried, step: Step) -> list[tuple[str, str]]:
    """The fields of the sign-in form that nobody types into."""
    if not carried.page:
        return []
    page = await client.get(carried.page)
    form = read_form(page.body, next(iter(step.form), "")) if page.status == 200 else None
    if form is None:
        raise CrmSignInUnreadable(f"the sign-in page of the CRM answers {page.status} and shows no such form")
    return [(name, value) for name, value in form.pairs if name not in step.form]


async def _send(client: CrmClient, step: Step, given: Mapping[str, str], hidden: list[tuple[str, str]]) -> Page:
    target = step.target(given)
    if step.method == "GET":
        return await client.get(target)
    if step.json is not None:
        return await client.post(target, step.document(given), JSON)
    pairs = [*hidden, *step.filled(given)]
    return await client.post(target, urlencode(pairs).encode(), FORM)


async def _asked(client: CrmClient, profile: Profile) -> str:
    """The CRM's own key of the person, from the page that names it; "" where none does."""
    who = profile.whoami
    if who is None:
        return ""
    page = await client.get(who.path)
    return profile.crm_user_from_whoami(page.status, page.body) or ""
