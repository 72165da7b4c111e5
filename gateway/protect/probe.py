"""Proves the storage form of each declared field on a scratch record: write, read back, compare; reports the limits.

What the CRM answers is not believed, only what it shows afterwards. The scratch record is made through the CRM and
deleted afterwards, whatever happens.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from gateway.protect.reading import CrmDriver, CrmRefused, Reading, RecordChanged
from gateway.protect.work import Trail
from kms import cell as text_form
from kms.envelope import Context, FieldKey
from kms.marked_digits import Check, is_clear, is_shaped, sealings
from kms.suites.aes_gcm import AES_256_GCM
from kms.surrogate import ADDRESS, BANK_CARD, EMAIL, ID_CARD, NAME, PHONE, make_email, make_serial, make_short_text
from policies.operation import StorageForm
from policies.placeholder import DAYS as GENERATIONS
from policies.placeholder import placeholder
from policies.profile import FieldSpec
from policies.walk import Walk, WalkEntity

HAN4 = "\U00020bb7\U0002cd4d"  # characters of four bytes in UTF-8, as in rare Chinese names
LENGTHS = (46, 100, 255, 1_000, 10_000)
DAYS = (date(1800, 2, 28), date(2000, 2, 29), date(9999, 12, 31))
CELL_BYTES = (16, 256, 4_096)
_ATTEMPTS = 5
CHANGED = "changed"
_CELL_HEAD = 5 + 8 + 28  # key id and type, cell id, nonce and tag


@dataclass(slots=True)
class FieldProof:
    """One field. holds: whether what protecting writes there comes back as it was; problems: form → what happened;
    limits: what else was found, in words."""

    entity: str
    name: str
    kind: str
    holds: bool = True
    problems: dict[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)


def forms_of(spec: FieldSpec) -> dict[str, str]:
    """What protecting writes into a field: surrogates that belong to nobody, cells of nobody's key, placeholders."""
    if spec.form is StorageForm.BESIDE and spec.placeholder is not None:
        days = {"first": 0, "last": GENERATIONS - 1}
        return {
            f"{which} placeholder {one.text}": one.write(placeholder(spec.placeholder, number))
            for one in spec.dates[:1]
            for which, number in days.items()
        }
    if spec.form is StorageForm.CELL:
        cells = {f"cell of {size} bytes": _cell(size) for size in CELL_BYTES}
        return {name: text for name, text in cells.items() if len(text) <= spec.max_chars}
    if spec.form is StorageForm.FF1:
        return _digits(spec)
    kind = "text" if spec.kind is None else str(spec.kind)
    key = secrets.token_bytes(32)
    samples = {
        EMAIL: make_email(key, secrets.token_bytes(16)),
        PHONE: make_serial(key, PHONE, 1),
        ID_CARD: make_serial(key, ID_CARD, 1),
        BANK_CARD: make_serial(key, BANK_CARD, 1),
        NAME: make_short_text(key, NAME, secrets.token_bytes(6)),
        ADDRESS: make_short_text(key, ADDRESS, secrets.token_bytes(6)),
    }
    if kind == ADDRESS:
        return {ADDRESS: samples[ADDRESS], "lines": f"{samples[ADDRESS]}\r\n{samples[ADDRESS]}"}
    if kind == "text":
        return {**samples, "prose": f"a {samples[NAME]}, {samples[PHONE]}.\r\n{samples[EMAIL]}\n{samples[ADDRESS]}"}
    # A value that is not what its field is for is stored as short text, where the CRM's own validator lets it pass.
    return {kind: samples[kind]}


def _digits(spec: FieldSpec) -> dict[str, str]:
    """Sealed digits of nobody's key in each length, and some that begin with zeros: a number column would drop them."""
    key = FieldKey(secrets.token_bytes(4), secrets.token_bytes(32))
    place, check, forms = Context("probe", "probe", spec.entity, spec.name), Check(spec.check), {}
    for size in spec.digits:
        body = "".join(str(secrets.randbelow(10)) for _ in range(size - 1))
        right = next(body + last for last in "0123456789X" if is_clear(check, body + last))
        forms[f"{size} digits with a wrong check digit"] = next(iter(sealings(key, right, place, check)))
        zeros = "00" + body[2:]
        forms[f"{size} digits after zeros"] = next(
            zeros + last for last in "0123456789" if is_shaped(check, zeros + last)
        )
    return forms


def _cell(size: int) -> str:
    """The text form of a cell with so many bytes of (padded) text in it."""
    return text_form.write(bytes([AES_256_GCM.number]) + secrets.token_bytes(_CELL_HEAD + size))


async def probe(walk: Walk, driver: CrmDriver, trail: Trail) -> list[FieldProof]:
    """Prove every declared field; errors as CrmDriver says."""
    proofs: list[FieldProof] = []
    made: list[tuple[WalkEntity, str]] = []
    records: dict[str, str] = {}
    left: list[FieldProof] = []
    try:
        for entity in walk.entities:
            if not entity.probe:
                proofs.append(_unproved(entity, "no scratch record is described for it"))
                continue
            values = _filled(entity.probe, records.get(entity.parent[0] if entity.parent else "", ""))
            await trail("protect.probe", entity.entity, "", {})
            try:
                record = await driver.create(entity, values)
            except CrmRefused as fault:
                proofs.append(_unproved(entity, f"the CRM does not make a scratch record ({fault.problem})"))
                continue
            made.append((entity, record))
            records[entity.entity] = record
            proofs += await _prove_record(entity, driver, record)
    finally:
        for entity, record in reversed(made):
            try:
                await driver.remove(entity, record)
            except CrmRefused as fault:
                what = f"the CRM does not delete the scratch record {record} ({fault.problem})"
                left.append(FieldProof(entity.entity, "*", "", holds=False, limits=[what]))
    return [*proofs, *left]


async def _prove_record(entity: WalkEntity, driver: CrmDriver, record: str) -> list[FieldProof]:
    proofs = []
    reading = await driver.read(entity, record)
    names = [one.name for one in entity.fields if "*" not in one.name]
    for name in names:
        if reading is None:
            break
        for decider, spec in _variants(entity, name):
            proofs.append(await _prove(entity, driver, record, name, spec, decider))
    return proofs


def _variants(entity: WalkEntity, name: str) -> Sequence[tuple[Mapping[str, str], FieldSpec]]:
    """Each kind a column may hold, with what decides it."""
    one = next(one for one in entity.fields if one.name == name)
    if one.by is None:
        return [({}, one.spec)]
    return [*(({one.by[0]: value}, spec) for value, spec in one.by[1].items())]


async def _prove(
    entity: WalkEntity, driver: CrmDriver, record: str, name: str, spec: FieldSpec, decider: Mapping[str, str]
) -> FieldProof:
    kind = "text" if spec.kind is None else str(spec.kind)
    label = name if not decider else f"{name} ({', '.join(decider.values())})"
    proof = FieldProof(entity.entity, label, kind if spec.form is StorageForm.SURROGATE else f"{kind} ({spec.form})")
    before = await driver.read(entity, record)
    if before is None:
        return _unproved(entity, "the scratch record is gone")
    old = before.fields.get(name, "")
    lines = spec.form not in (StorageForm.BESIDE, StorageForm.FF1) and not await _try(
        entity, driver, record, {name: "a\nb", **decider}
    )
    for form, text in forms_of(spec).items():
        if not lines:  # the field never holds several lines, so protecting never writes any there
            if form == "lines":
                continue
            text = " ".join(text.split())
        if 0 < spec.max_chars < len(text):
            continue  # the profile says that it has no room, and protecting reports that instead of trying
        found = await _try(entity, driver, record, {name: text, **decider})
        if found:
            proof.problems[form] = found
            proof.holds = False
    if spec.form is StorageForm.BESIDE:
        proof.limits = await _date_limits(entity, driver, record, name, spec)
    elif spec.form is StorageForm.FF1:
        proof.limits = await _digit_limits(entity, driver, record, name, spec, decider)
    else:
        proof.limits = await _limits(entity, driver, record, name, kind, decider)
    if old:
        await _try(entity, driver, record, {name: old})
    return proof


async def _date_limits(entity: WalkEntity, driver: CrmDriver, record: str, name: str, spec: FieldSpec) -> list[str]:
    """Which spellings of the profile the form takes besides its own, and which days; no verdict."""
    found = []
    tried = {f"spelling {one.text}": one.write(date(1999, 8, 23)) for one in spec.dates}
    tried |= {
        f"day {day}": spec.dates[0].write(day) for day in (date(1800, 2, 28), date(2000, 2, 29), date(9999, 12, 31))
    }
    for what, text in tried.items():
        problem = await _try(entity, driver, record, {name: text})
        if problem:
            found.append(f"{what}: {problem}")
    return found


async def _digit_limits(
    entity: WalkEntity, driver: CrmDriver, record: str, name: str, spec: FieldSpec, decider: Mapping[str, str]
) -> list[str]:
    """How many values FF1 has here, and which other lengths the form takes; no verdict."""
    values = "1" + "0" * (spec.digits[0] - 1)
    found = [f"FF1 over 10^{size - 1} values, 10^6 are the least" for size in spec.digits]
    for size in (spec.digits[0] - 1, spec.digits[-1] + 1):
        problem = await _try(entity, driver, record, {name: (values + "00")[:size], **decider})
        found.append(f"{size} digits: {problem or 'taken by the CRM, refused by the gateway'}")
    return found


async def _limits(
    entity: WalkEntity, driver: CrmDriver, record: str, name: str, kind: str, decider: Mapping[str, str]
) -> list[str]:
    """How the field treats long text, rare characters, line breaks and white space; no verdict."""
    if kind in (EMAIL, PHONE):
        return []
    found = []
    for length in LENGTHS:
        problem = await _try(entity, driver, record, {name: "x" * length, **decider})
        if problem:
            found.append(f"{length} characters: {problem}")
            break
    for what, text in (
        ("four-byte characters", f"a{HAN4}b"),
        ("line breaks CR LF", "a\r\nb"),
        ("line breaks LF", "a\nb"),
        ("white space around", " a "),
        ("upper and lower case", "aB"),
    ):
        problem = await _try(entity, driver, record, {name: text, **decider})
        if problem:
            found.append(f"{what}: {problem}")
    return found


async def _try(entity: WalkEntity, driver: CrmDriver, record: str, new: Mapping[str, str]) -> str:
    """Write and read back; "" when the same text came back, else what happened.

    Another text counts the second time only: our own look at new records may have written between write and read.
    """
    found = await _once(entity, driver, record, new)
    return await _once(entity, driver, record, new) if found == CHANGED else found


async def _once(entity: WalkEntity, driver: CrmDriver, record: str, new: Mapping[str, str]) -> str:
    for _ in range(_ATTEMPTS):
        reading = await driver.read(entity, record)
        if reading is None:
            return "gone"
        try:
            await driver.write(reading, new)
        except CrmRefused as fault:
            return f"refused ({fault.problem})"
        except RecordChanged:
            continue  # perhaps by our own look at new records, which takes the scratch record for one
        break
    else:
        return "changed by somebody else"
    back = await driver.read(entity, record)
    if back is None:
        return "gone"
    name, sent = next(iter(new.items()))
    return difference(sent, back, name)


def difference(sent: str, back: Reading, name: str) -> str:
    """What became of a text, "" when nothing."""
    got = back.fields.get(name)
    if got == sent:
        return ""
    if not got:
        return "not stored"
    if got == sent.strip():
        return "white space trimmed"
    if sent.startswith(got):
        return f"truncated at {len(got)}"
    if got.casefold() == sent.casefold():
        return "case changed"
    if got.replace("\r\n", "\n") == sent.replace("\r\n", "\n"):
        return "line breaks changed"
    return CHANGED


def _unproved(entity: WalkEntity, why: str) -> FieldProof:
    return FieldProof(entity.entity, "*", "", holds=not entity.probe, limits=[f"not proved: {why}"])


def _filled(values: Mapping[str, object], parent: str) -> dict[str, object]:
    return {name: parent if value == "{parent}" else value for name, value in values.items()}
