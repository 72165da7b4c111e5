"""Walks a CRM of server-rendered pages through its own edit forms: read a form, post it whole with some values changed.

A form is read again right before it is posted, and is posted only when it still says what was decided on, because such
CRMs have no lock: what remains is the time between that reading and the post (a few milliseconds).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from gateway.protect.client import CrmClient, Page
from gateway.protect.credential import Credential
from gateway.protect.html_form import EditForm, attribute_values, read_form, refused_fields
from gateway.protect.reading import CrmRefused, CrmSignInRefused, CrmUnreachable, Listed, Reading, RecordChanged
from gateway.protect.session import Session
from policies.profile import Profile
from policies.walk import Walk, WalkEntity

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Shown:
    """The form a reading was made from."""

    form: EditForm


class HtmlForms:
    """One signed-in session; errors as CrmDriver says."""

    def __init__(
        self, client: CrmClient, profile: Profile, walk: Walk, credential: Credential, at_once: int = 1
    ) -> None:
        self.at_once = at_once
        self.batch = 4 * at_once
        self._client = client
        self._profile = profile
        self._walk = walk
        self._credential = credential
        self._session = Session(self._sign_in)

    async def page(self, entity: WalkEntity, place: str) -> Listed:
        """One page of the list. A page that is not full is the last; some CRMs show the last one again behind it."""
        return await self._listed(entity, entity.list_path, place)

    async def newer(self, entity: WalkEntity, after: int, place: str) -> Listed:
        """One page of the records with a greater id."""
        return await self._listed(entity, entity.newer.replace("{after}", str(after)), place)

    async def _listed(self, entity: WalkEntity, path: str, place: str) -> Listed:
        number, _, first = place.partition(" ")
        page = await self._get(path.replace("{page}", number or "1"))
        if page.status != 200:
            raise CrmUnreachable(f"a list of the CRM answers {page.status}")
        ids = list(dict.fromkeys(attribute_values(page.body, entity.selector, entity.attribute)))
        if any(not one.isascii() or not one.isdecimal() for one in ids):
            raise CrmUnreachable("a list of the CRM shows ids that are no numbers")
        if not ids or ids[0] == first:
            return Listed([], "")
        following = f"{int(number or 1) + 1} {ids[0]}" if len(ids) >= self._walk.page else ""
        return Listed(ids, following)

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        """The edit form of a record."""
        page = await self._get(entity.edit.replace("{record}", record))
        if page.status in (404, 410):
            return None
        if page.status == 409:  # Creme: the record is in the trash
            return None
        if page.status == 403:
            raise CrmRefused("not-allowed")
        form = read_form(page.body, entity.mark, entity.skip) if page.status == 200 else None
        if form is None:
            raise CrmUnreachable(f"an edit form of the CRM answers {page.status}")
        fields = {name: value for name, value in form.pairs if name in form.texts}
        owner = next((value for name, value in form.pairs if name in self._profile.owner_fields), "")
        return Reading(entity, record, fields, form.limits, skipped=form.shows, owner=owner, state=_Shown(form))

    async def gone(self, entity: WalkEntity, record: str) -> bool:
        """Whether the form of a record is nowhere; one in the trash answers otherwise."""
        page = await self._get(entity.edit.replace("{record}", record))
        return page.status in (404, 410)

    async def write(self, reading: Reading, new: Mapping[str, str]) -> None:
        """Post the form with some values changed."""
        before = reading.state
        now = await self.read(reading.entity, reading.record)
        if now is None or not isinstance(before, _Shown) or not isinstance(now.state, _Shown):
            raise RecordChanged
        if now.fields != reading.fields:
            raise RecordChanged
        target = reading.entity.edit.replace("{record}", reading.record)
        answer = await self._post(target, now.state.form.filled(dict(new)))
        self._require_taken(reading.entity, answer)

    async def create(self, entity: WalkEntity, values: Mapping[str, object]) -> str:
        """Fill the form of a new record; the answer redirects to it."""
        page = await self._get(entity.create)
        form = read_form(page.body, entity.mark) if page.status == 200 else None
        if form is None:
            raise CrmUnreachable(f"the form of a new record answers {page.status}")
        answer = await self._post(entity.create, form.filled(_chosen(form, values)))
        self._require_taken(entity, answer)
        record = urlsplit(answer.headers.get("location", "")).path.rstrip("/").rpartition("/")[2]
        if not record.isascii() or not record.isdecimal():
            raise CrmUnreachable("the CRM does not say which record it made")
        return record

    async def remove(self, entity: WalkEntity, record: str) -> None:
        """Delete for good, trash included."""
        if entity.remove is None:
            raise CrmRefused("no-removal")
        path, times = entity.remove
        for _ in range(times):
            answer = await self._post(path.replace("{record}", record), [])
            if answer.status >= 400 and answer.status not in (404, 410):
                raise CrmRefused(f"status-{answer.status}")

    async def close(self) -> None:
        """End the connections; the CRM ends the session by itself."""
        await self._client.close()

    def _require_taken(self, entity: WalkEntity, answer: Page) -> None:
        if answer.status in entity.accepted:
            return
        if answer.status >= 500:
            raise CrmUnreachable(f"a form of the CRM answers {answer.status}")
        named = refused_fields(answer.body) if answer.status == 200 else []
        raise CrmRefused("form" if answer.status == 200 else f"status-{answer.status}", named)

    async def _get(self, target: str) -> Page:
        number = await self._session.current()
        page = await self._client.get(target)
        if self._is_signed_out(page):
            await self._session.instead_of(number)
            page = await self._client.get(target)
            if self._is_signed_out(page):
                raise CrmSignInRefused("the CRM does not keep the session of the service credential")
        return page

    async def _post(self, target: str, pairs: list[tuple[str, str]]) -> Page:
        number = await self._session.current()
        token = self._token()
        if token and not any(name == token[0] for name, _ in pairs):
            pairs = [token, *pairs]
        answer = await self._client.post(target, urlencode(pairs).encode("ascii"), FORM)
        if self._is_signed_out(answer):
            self._session.ended(number)
            raise RecordChanged  # nothing was written; the next reading signs in again
        return answer

    def _token(self) -> tuple[str, str] | None:
        """The token against forged posts, for posts without a form; the profile names its field."""
        name = self._walk.sign_in.get("token")
        cookie = next((one for one in self._profile.csrf_cookies if one in self._client.cookies), None)
        return (name, self._client.cookies[cookie]) if cookie and name else None

    async def _sign_in(self) -> None:
        rules = self._walk.sign_in
        self._client.cookies.clear()
        page = await self._client.get(rules["path"])
        form = read_form(page.body, rules["login"]) if page.status == 200 else None
        if form is None:
            raise CrmUnreachable(f"the sign-in page of the CRM answers {page.status}")
        given = form.filled({})
        known = {rules["login"]: self._credential.login, rules["password"]: self._credential.password}
        pairs = [(name, known.get(name, value)) for name, value in given]
        answer = await self._client.post(rules["path"], urlencode(pairs).encode("ascii"), FORM)
        if answer.status not in rules.get("accepted", (302,)):
            raise CrmSignInRefused("the CRM does not let the service credential in")
        await self._credential.used()

    def _is_signed_out(self, page: Page) -> bool:
        rule = self._profile.signed_out
        if not rule or page.status != rule["status"]:
            return False
        place = rule.get("location")
        return place is None or urlsplit(page.headers.get("location", "")).path.startswith(place)


def _chosen(form: EditForm, values: Mapping[str, object]) -> dict[str, str]:
    """Values for a new record; `{first}` is the first choice the form offers."""
    return {name: form.choices.get(name, "") if value == "{first}" else str(value) for name, value in values.items()}
