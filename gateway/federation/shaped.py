"""A provider with a shape of its own (gateway.federation.shapes): a code, a token for it, and who that token is of."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from gateway.access.elsewhere import Elsewhere
from gateway.federation.config import ProviderSettings
from gateway.federation.fetch import Fetched, Fetcher
from gateway.federation.flow import Flow
from gateway.federation.shapes import SHAPES, Call, Style
from gateway.federation.vouched import Vouched, VouchRefused

_TEXT = re.compile(r"[\x21-\x7e]{1,4096}")


class ShapedProvider:
    """One of WeCom, DingTalk and Feishu, for one organisation."""

    def __init__(self, settings: ProviderSettings, secret: str, fetcher: Fetcher) -> None:
        self._settings = settings
        self._secret = secret
        self._fetcher = fetcher
        self._shape = SHAPES[settings.kind]
        self._api = (settings.api_url or self._shape.api_url).rstrip("/")

    async def address(self, flow: Flow, redirect_uri: str) -> str:
        """Where the browser is sent to."""
        base = self._settings.authorize_url or self._shape.authorize_url
        return f"{base}?{urlencode(self._filled(self._shape.authorize, flow, redirect_uri))}"

    async def identify(self, told: Mapping[str, str], flow: Flow, redirect_uri: str) -> Vouched:
        """Redeem the code and ask who it is; raises ProviderDown, VouchRefused."""
        shape = self._shape
        code = told.get(shape.code, "")
        if "error" in told or not code:
            raise VouchRefused("cancelled" if told.get("error") == "access_denied" or not code else "provider-refused")
        if _TEXT.fullmatch(code) is None:
            raise VouchRefused("code-missing")
        given = {"code": code}
        token_answer = await self._ask(shape.token_call, flow, redirect_uri, given, "code-refused")
        token = _at(token_answer, shape.bearer_at)
        if not isinstance(token, str) or _TEXT.fullmatch(token) is None:
            raise VouchRefused("code-refused")
        person = await self._ask(shape.person_call, flow, redirect_uri, given | {"token": token}, "person-refused")
        if shape.organisation_in:
            answer = token_answer if shape.organisation_in == "token" else person
            if _at(answer, shape.organisation_at) != self._settings.organisation:
                raise VouchRefused("organisation-other")
        subject = _at(person, shape.subject_at)
        if not isinstance(subject, str) or not subject:
            raise VouchRefused("person-unknown")
        identity = Elsewhere(self._settings.linked_issuer, subject)
        if not identity.usable:
            raise VouchRefused("person-unknown")
        return Vouched(identity)

    async def ended(self, logout_token: str) -> Elsewhere:
        """None of the three tells of logouts; raises VouchRefused."""
        raise VouchRefused("not-offered")

    async def _ask(
        self, call: Call, flow: Flow, redirect_uri: str, given: Mapping[str, str], refused: str
    ) -> Mapping[str, Any]:
        values = self._filled(call.given, flow, redirect_uri, given)
        headers = self._filled(call.headers, flow, redirect_uri, given)
        url = self._api + call.path
        answer: Fetched
        if call.style is Style.GET:
            answer = await self._fetcher.get(f"{url}?{urlencode(values)}" if values else url, headers)
        else:
            answer = await self._fetcher.post_json(url, values)
        ok = self._shape.ok
        # True == 0 is false and False == 0 is true in Python: a vendor's 0 is a number.
        if answer.status != 200 or (ok and (answer.body.get(ok) != 0 or isinstance(answer.body.get(ok), bool))):
            raise VouchRefused(refused)
        return answer.body

    def _filled(
        self, templates: Mapping[str, str], flow: Flow, redirect_uri: str, given: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        known = {
            "organisation": self._settings.organisation,
            "agent": self._settings.agent,
            "client_id": self._settings.client_id,
            "secret": self._secret,
            "redirect_uri": redirect_uri,
            "state": flow.state,
            "challenge": flow.challenge,
            "verifier": flow.verifier,
            **(given or {}),
        }
        return {name: re.sub(r"\{(\w+)\}", lambda found: known[found[1]], text) for name, text in templates.items()}


def _at(answer: Mapping[str, Any], path: str) -> object:
    """What stands at a path of names, None where nothing does."""
    found: object = answer
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
