"""Protecting fields that are not surrogates: dates go beside the CRM, whole texts into cells, numbers stay digits.

A date is kept before the CRM gets its placeholder, so nothing is lost whatever stops in between; it is given back in
the spelling that was there. A number with a wrong check digit is reported and stays: sealed digits are known by theirs.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from gateway.digits import digit_field, number_of
from gateway.protect.judge import NO_ROOM, Judged, State
from kms import cell as text_form
from kms.beside import Beside, standing
from kms.cells import Cells
from kms.digits import DigitField, Digits
from kms.fpe import DigitsRefused
from kms.marked_digits import Check
from kms.tokens import Origin
from policies.date_format import DateFormat, read_date
from policies.field_file import PLACEHOLDER
from policies.operation import FieldSpec, StorageForm
from policies.placeholder import DAYS, generation, placeholder

NO_DATE = "date"
NO_NUMBER = "check-digit"
_PADDED = 16  # bytes that cells are padded to


class OtherForms:
    """The forms `beside`, `cell` and `ff1` for one tenant's records."""

    def __init__(self, tenant: str, beside: Beside, cells: Cells, digits: Digits | None = None) -> None:
        self._digits = digits
        self._tenant = tenant
        self._beside = beside
        self._cells = cells

    async def judge(self, spec: FieldSpec, origin: Origin, text: str, limit: int) -> Judged:
        """What a field is; limit: characters the field takes, 0 for unknown."""
        if not text.strip():
            return Judged(State.EMPTY)
        if spec.form is StorageForm.BESIDE:
            read = read_date(spec.dates, text)
            if read is None:
                return Judged(State.UNFIT, why=NO_DATE)
            assert spec.placeholder is not None
            ours = generation(spec.placeholder, read[0]) is not None
            return Judged(State.PROTECTED if ours else State.CLEAR)
        if spec.form is StorageForm.FF1:
            opened = await self._numbers.open(self._tenant, digit_field(spec), [text])
            if opened:
                return Judged(State.PROTECTED)
            return Judged(State.CLEAR) if number_of(spec, text) == text else Judged(State.UNFIT, why=NO_NUMBER)
        row = (await self._cells.places(self._tenant, [text])).get(text)
        if row is not None and (row.entity, row.field, row.record) == (origin.entity, origin.field, origin.record):
            return Judged(State.PROTECTED)
        plain = len(text.encode("utf-8", "surrogatepass"))
        size = text_form.characters(plain - plain % _PADDED + _PADDED, cell=True, committed=True)
        room = min((one for one in (spec.max_chars, limit) if one > 0), default=0)
        return Judged(State.UNFIT, why=NO_ROOM) if 0 < room < size else Judged(State.CLEAR)

    async def keep(self, spec: FieldSpec, origin: Origin, text: str) -> tuple[str, dict[str, Any]] | None:
        """What the CRM gets instead of a clear text, and what the row remembers of it; None: it would not come back.

        Raises KeysUnavailable, StoreUnavailable.
        """
        record = origin.record or ""
        if spec.form is StorageForm.BESIDE:
            read = read_date(spec.dates, text)
            if read is None or spec.placeholder is None or read[1].write(read[0]) != text:
                return None
            day, spelled = read
            place = (self._tenant, origin.entity, origin.field)
            number = await self._beside.offer(*place, day, [record], DAYS)
            kept = (await self._beside.candidates(*place, [record])).get(record, [])
            if not any(one.generation == number and one.value == day for one in kept):
                return None
            return spelled.write(placeholder(spec.placeholder, number)), {
                "form": "beside",
                "date": [spelled.text, list(spelled.months)],
                "placeholder": spec.placeholder.isoformat(),
            }
        if spec.form is StorageForm.FF1:
            return await self._keep_digits(spec, origin, text)
        value = (text, record)
        (made,) = await self._cells.seal(self._tenant, origin.entity, origin.field, [value], exchange="protect")
        await self._cells.bind(self._tenant, origin.entity, origin.field, record, [made])
        (back,) = await self._cells.open(self._tenant, origin.entity, origin.field, [(made, record)])
        if back != text:
            return None
        await self._cells.stand(self._tenant, origin.entity, origin.field, record, made)
        return made, {"form": "cell"}

    async def before(self, given: Mapping[str, Any], text: str) -> str | None:
        """The clear text of a field that holds `text` now; `text` itself where it is clear, None: it does not open."""
        entity, name, record = given["field"]
        if given["form"] == "beside":
            spelled = DateFormat(given["date"][0], tuple(given["date"][1]))
            number = _generation(given, spelled, text)
            if number is None:
                return text
            some = (await self._beside.candidates(self._tenant, entity, name, [record])).get(record, [])
            kept = standing(some, number)
            return spelled.write(kept.value) if kept is not None and isinstance(kept.value, date) else None
        if given["form"] == "ff1":
            field = DigitField(entity, name, Check(given["check"]))
            return (await self._numbers.open(self._tenant, field, [text])).get(text, text)
        if text_form.read(text) is None:
            return text
        (back,) = await self._cells.open(self._tenant, entity, name, [(text, record)])
        return back if isinstance(back, str) else None

    async def stood(self, given: Mapping[str, Any], text: str) -> None:
        """The CRM was read back and holds this: what was kept for it counts. Raises StoreUnavailable."""
        if given["form"] != "beside":
            return
        entity, name, record = given["field"]
        number = _generation(given, DateFormat(given["date"][0], tuple(given["date"][1])), text)
        if number is not None:
            await self._beside.accept(self._tenant, entity, name, [record], number)

    async def retire(self, given: Mapping[str, Any]) -> None:
        """Forget what is kept for a field whose value is in the CRM again."""
        entity, name, record = given["field"]
        if given["form"] == "beside":
            await self._beside.forget(self._tenant, entity, name, record)
        elif given["form"] == "ff1":
            await self._numbers.note(self._tenant, {(entity, name, record): False})
        else:
            await self._cells.stand(self._tenant, entity, name, record, "")

    async def _keep_digits(self, spec: FieldSpec, origin: Origin, text: str) -> tuple[str, dict[str, Any]] | None:
        """A number under FF1, opened again before the CRM gets it."""
        field = digit_field(spec)
        try:
            made = await self._numbers.seal(self._tenant, field, text)
        except DigitsRefused:
            return None
        if (await self._numbers.open(self._tenant, field, [made])).get(made) != text:
            return None
        await self._numbers.note(self._tenant, {(origin.entity, origin.field, origin.record or ""): True})
        return made, {"form": "ff1", "check": spec.check}

    @property
    def _numbers(self) -> Digits:
        if self._digits is None:
            raise RuntimeError("nobody is there to seal digits that the profile declares")
        return self._digits


def _generation(given: Mapping[str, Any], spelled: DateFormat, text: str) -> int | None:
    """Which generation a text stands for; None where it is no placeholder. Rows of before name none of theirs."""
    day = spelled.read(text)
    return None if day is None else generation(date.fromisoformat(given.get("placeholder", PLACEHOLDER)), day)
