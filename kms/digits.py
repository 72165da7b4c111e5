"""Digits that stay digits in the CRM: sealed under FF1, told from clear ones by their check digit, opened if ours.

Nothing but the digits is needed to read a value again, so nothing is lost between the CRM's answer and whatever we do
after it. A mark (keyed digest) of what is made is kept before it leaves: FF1 opens any digits to something, so what
bears no mark is not ours and stays what it is. The mark names the key; a number that was sealed before keeps its digits
when the key changes, so that one number has one spelling in the CRM and its search and uniqueness go on working.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kms import fpe, marked_digits
from kms.digit_store import DigitStore
from kms.envelope import Context, FieldKey
from kms.keyring import Keyring
from kms.marked_digits import Check
from kms.provider import KeysUnavailable
from kms.store import KeysChanged

APPLICATION = "digits"
SCOPE, PURPOSE = "ff1", "ff1"
_KEY_CHANGES = 5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DigitField:
    """A field of this form. check: how its last digit follows from the others."""

    entity: str
    name: str
    check: Check

    @property
    def scope(self) -> str:
        """The scope of its keys."""
        return f"{SCOPE}/{self.entity}/{self.name}"

    def place(self, tenant: str) -> Context:
        """What its values are bound to."""
        return Context(tenant, APPLICATION, self.entity, self.name)


class Digits:
    """Digits of all tenants; one per process.

    taken: whether digits look like something else, so that others should be made; most: marks remembered (they never
    change).
    """

    def __init__(
        self, store: DigitStore, keyring: Keyring, taken: Callable[[str], bool], *, most: int = 50_000
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._taken = taken
        self._most = most
        self._known: OrderedDict[tuple[str, str, str, str], bytes] = OrderedDict()

    async def seal(self, tenant: str, field: DigitField, clear: str) -> str:
        """The digits for the CRM, marked; raises DigitsRefused, KeysUnavailable, StoreUnavailable."""

        async def attempt() -> str:
            keys = await self._keys(tenant, field)
            before = await self._made_before(tenant, field, keys, clear)
            if before is not None:
                return before
            key, place = keys[0], field.place(tenant)
            sealed = marked_digits.seal(key, clear, place, field.check, self._taken)
            mark = fpe.mark_of(key, sealed, place)
            await self._store.mark(tenant, field.entity, field.name, key.id, [mark])
            self._remember(tenant, field, sealed, key.id)
            return sealed

        return await self._with_keys_of_now(tenant, attempt)

    async def sealed(self, tenant: str, field: DigitField, clear: str) -> str | None:
        """The digits that stand for a number in the CRM, None where it was never sealed; marks nothing.

        Raises DigitsRefused, KeysUnavailable, StoreUnavailable.
        """

        async def attempt() -> str | None:
            return await self._made_before(tenant, field, await self._keys(tenant, field), clear)

        return await self._with_keys_of_now(tenant, attempt)

    async def nobodys(self, tenant: str, field: DigitField, clear: str) -> str:
        """Digits that stand for a number which was never sealed, so that a search for it finds nothing; marks nothing.

        Raises DigitsRefused, KeysUnavailable.
        """
        key = await self._keyring.field_key(tenant, field.scope, PURPOSE)
        return next(iter(marked_digits.sealings(key, clear, field.place(tenant), field.check)))

    async def open(self, tenant: str, field: DigitField, texts: Iterable[str]) -> dict[str, str]:
        """Clear numbers by the digits that stand for them; absent: what was not made here for this field.

        Raises KeysUnavailable, StoreUnavailable.
        """
        wanted = [one for one in dict.fromkeys(texts) if marked_digits.is_shaped(field.check, one)]
        if not wanted:
            return {}

        async def attempt() -> dict[str, str]:
            keys = {key.id: key for key in await self._keys(tenant, field)}
            made = await self._makers(tenant, field, list(keys.values()), wanted)
            place = field.place(tenant)
            return {
                text: marked_digits.open_(keys[key], text, place, field.check)
                for text, key in made.items()
                if key in keys
            }

        return await self._with_keys_of_now(tenant, attempt)

    async def note(self, tenant: str, places: Mapping[tuple[str, str, str], bool]) -> None:
        """Where digits stand now, (entity, field, record), and where no more; for counting. Raises StoreUnavailable."""
        await self._store.note(tenant, places)

    async def _keys(self, tenant: str, field: DigitField) -> tuple[FieldKey, ...]:
        return await self._keyring.field_keys(tenant, field.scope, PURPOSE)

    async def _made_before(self, tenant: str, field: DigitField, keys: Sequence[FieldKey], clear: str) -> str | None:
        """The digits that this number already has, under whatever key and in whatever turn."""
        place = field.place(tenant)
        ways = [
            (fpe.mark_of(key, one, place), one)
            for key in keys
            for one in marked_digits.sealings(key, clear, place, field.check)
        ]
        made = await self._made(tenant, field, keys, [mark for mark, _ in ways])
        return next((one for mark, one in ways if mark in made), None)

    async def _makers(
        self, tenant: str, field: DigitField, keys: Sequence[FieldKey], texts: Sequence[str]
    ) -> dict[str, bytes]:
        """Which key made which digits."""
        found: dict[str, bytes] = {}
        for text in texts:
            key = self._known.get((tenant, field.entity, field.name, text))
            if key is not None:
                found[text] = key
        place = field.place(tenant)
        marks = {fpe.mark_of(key, one, place): one for one in texts if one not in found for key in keys}
        if marks:
            for mark, key in (await self._made(tenant, field, keys, list(marks))).items():
                found[marks[mark]] = key
                self._remember(tenant, field, marks[mark], key)
        return found

    async def _made(
        self, tenant: str, field: DigitField, keys: Sequence[FieldKey], marks: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        ids = [key.id for key in keys]
        return await self._store.made(tenant, field.entity, field.name, marks, field.scope, ids)

    def _remember(self, tenant: str, field: DigitField, sealed: str, key: bytes) -> None:
        self._known[tenant, field.entity, field.name, sealed] = key
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    async def _with_keys_of_now(self, tenant: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try again with the keys of now while a change of keys comes in between."""
        for _ in range(_KEY_CHANGES):
            try:
                return await attempt()
            except KeysChanged:
                self._keyring.refresh(tenant)
        raise KeysUnavailable("keys-changing", "the keys change faster than values can be written")
