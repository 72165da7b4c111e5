"""From what a record holds to what it shall hold, and back: the vault side of protecting.

Every change is proved before the CRM is written: the surrogates are read from the vault anew, opened, put back into the
text, and the result must be the text that was there, byte for byte. A field for which that does not hold stays as it is
and is reported.
"""

import hmac
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.access.tokens import Randomness
from gateway.protect.credential import SCOPE
from gateway.protect.judge import SPELLING, Judged, Piece, State, judge, own_hits, restored, spans, written
from gateway.protect.other_forms import OtherForms
from gateway.protect.reading import Reading
from gateway.protect.store import Row
from kms.envelope import DEFAULT, NONCE_BYTES, Context, FieldKey, Sealing, key_id, open_, seal
from kms.keyring import Keyring
from kms.normalise import normalise
from kms.scanner import Scanner
from kms.surrogate import DETERMINISTIC
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.operation import StorageForm
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import known

PAD_TO = 64
NAMED = (str(Kind.NAME), str(Kind.ADDRESS))
CELL = "protect"  # every record is known here, so no origin waits in a cell


class NotRestorable(Exception):  # noqa: N818 - names what is wrong
    """What the vault holds does not give back the text that was there; `problem` is a stable id."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class Change:
    """What shall be written. new: wire name → text; fields, kept: for the row; misfits: name → why; judged: what each
    field was; counts: kind → surrogates."""

    new: dict[str, str] = field(default_factory=dict, repr=False)
    fields: dict[str, Any] = field(default_factory=dict)
    kept: bytes | None = field(default=None, repr=False)
    misfits: dict[str, str] = field(default_factory=dict)
    judged: dict[str, tuple[FieldSpec, Judged]] = field(default_factory=dict, repr=False)
    counts: dict[str, int] = field(default_factory=dict)


class Changer:
    """Surrogates for the values of one tenant's records, and the values again."""

    def __init__(
        self,
        tenant: str,
        vault: SurrogateVault,
        keyring: Keyring,
        scanner: Scanner,
        randomness: Randomness,
        others: OtherForms,
        sealing: Sealing = DEFAULT,
    ) -> None:
        self.tenant = tenant
        self._others = others
        self._vault = vault
        self._keyring = keyring
        self._scanner = scanner
        self._randomness = randomness
        self._sealing = sealing

    def declared(self, reading: Reading) -> dict[str, FieldSpec]:
        """The fields of a record that the profile declares."""
        found = {name: reading.entity.spec_of(name, reading.fields) for name in reading.fields}
        return {name: spec for name, spec in found.items() if spec is not None}

    async def ours(self, texts: Sequence[str]) -> dict[str, VaultEntry]:
        """The surrogates in these texts that the vault knows."""
        found = {hit.canonical for text in texts for hit in self._scanner.find(text.encode("utf-8", "surrogatepass"))}
        return await self._vault.resolve(self.tenant, found) if found else {}

    async def judge(self, readings: Sequence[Reading], *, look_up: bool) -> list[dict[str, tuple[FieldSpec, Judged]]]:
        """What each declared field of each record is. look_up: find known names in free text, too."""
        declared = [self.declared(reading) for reading in readings]
        told = [(reading.fields[name], spec) for reading, specs in zip(readings, declared, strict=True)
                for name, spec in specs.items()]  # fmt: skip
        ours = await self.ours([text for text, _ in told])
        names = await self._names([text for text, spec in told if spec.kind is None]) if look_up else {}
        return [
            {name: (spec, await self._judged(reading, name, spec, ours, names)) for name, spec in specs.items()}
            for reading, specs in zip(readings, declared, strict=True)
        ]

    async def _judged(
        self, reading: Reading, name: str, spec: FieldSpec, ours: Collection[str], names: Mapping[str, str]
    ) -> Judged:
        text = reading.fields[name]
        if spec.form is not StorageForm.SURROGATE:
            return await self._others.judge(spec, self.origin(reading, spec), text, reading.limits.get(name, 0))
        taken = spans(text, own_hits(self._scanner, text, ours))
        return judge(text, spec, reading.limits.get(name, 0), taken, names, self._scanner.shapes)

    async def index(self, readings: Sequence[Reading]) -> None:
        """Put the names and addresses of records into the vault, so that any note naming them finds them."""
        values: list[NewValue] = []
        owners: list[Reading] = []
        for reading, judged in zip(readings, await self.judge(readings, look_up=False), strict=True):
            for spec, one in judged.values():
                if spec.kind is not None and one.state is State.CLEAR:
                    origin = self.origin(reading, spec)
                    values += [NewValue(p.kind, p.clear, origin) for p in one.pieces if p.kind in NAMED]
            owners += [reading] * (len(values) - len(owners))
        if not values:
            return
        placed = await self._vault.tokenise(self.tenant, values, CELL)
        last_names = {
            id(reading): surrogate
            for reading, value, surrogate in zip(owners, values, placed, strict=True)
            if value.origin.field == "last_name"
        }
        aliases = [pair for reading in readings for pair in self._aliases(reading, last_names.get(id(reading), ""))]
        if aliases:
            await self._vault.index_aliases(self.tenant, str(Kind.NAME), aliases)

    async def change(self, readings: Sequence[Reading]) -> list[Change]:
        """Place the values of records in the vault and say what to write; raises KeysUnavailable, StoreUnavailable."""
        changes = [Change(judged=judged) for judged in await self.judge(readings, look_up=True)]
        clear: list[tuple[Reading, FieldSpec, Piece]] = []
        for reading, made in zip(readings, changes, strict=True):
            for name, (spec, one) in made.judged.items():
                if one.state is State.UNFIT:
                    made.misfits[name] = one.why
                elif one.state is State.CLEAR and spec.form is StorageForm.SURROGATE:
                    clear += [(reading, spec, piece) for piece in one.pieces]
        if clear:
            await self._place(clear)
        entries = await self._vault.resolve(self.tenant, {piece.surrogate for _, _, piece in clear}) if clear else {}
        key = await self._keyring.field_key(self.tenant, SCOPE, "equal")
        for reading, made in zip(readings, changes, strict=True):
            await self._write_down(reading, made, entries, key)
        return changes

    async def _write_down(
        self, reading: Reading, made: Change, entries: Mapping[str, VaultEntry], key: FieldKey
    ) -> None:
        """The new texts of a record whose pieces have their surrogates, each proved by going back to the old one."""
        before: dict[str, tuple[str, str]] = {}
        for name, (spec, one) in made.judged.items():
            if one.state is not State.CLEAR:
                continue
            if spec.form is not StorageForm.SURROGATE:
                await self._change_other(reading, name, spec, key, made, before)
                continue
            text = reading.fields[name]
            new, places = written(text, one.pieces)
            origin = self.origin(reading, spec)
            parts = [[start, surrogate] for start, surrogate in places]
            try:
                back = self._rebuilt(new, parts, entries, origin)
            except NotRestorable:
                back = None
            if back != text:
                made.misfits[name] = SPELLING
                continue
            made.new[name] = new
            before[name] = text, new
            for piece in one.pieces:
                made.counts[piece.kind] = made.counts.get(piece.kind, 0) + 1
            made.fields[name] = {
                "field": [origin.entity, origin.field, origin.record],
                "before": digest(key, reading, name, text),
                "after": digest(key, reading, name, new),
                "parts": parts,
            }
        made.kept = await self._sealed(reading, before)

    async def _change_other(
        self,
        reading: Reading,
        name: str,
        spec: FieldSpec,
        key: FieldKey,
        made: Change,
        before: dict[str, tuple[str, str]],
    ) -> None:
        """A field whose form is no surrogate."""
        origin, text = self.origin(reading, spec), reading.fields[name]
        kept = await self._others.keep(spec, origin, text)
        if kept is None:
            made.misfits[name] = SPELLING
            return
        new, remembered = kept
        made.new[name] = new
        before[name] = text, new
        counted = str(spec.kind or "text")
        made.counts[counted] = made.counts.get(counted, 0) + 1
        made.fields[name] = {
            "field": [origin.entity, origin.field, origin.record],
            "before": digest(key, reading, name, text),
            "after": digest(key, reading, name, new),
            "parts": [],
            **remembered,
        }

    async def _place(self, pieces: Sequence[tuple[Reading, FieldSpec, Piece]]) -> None:
        """Give every piece its surrogate. Equal values of one record, or of what hangs on one, may have to keep two
        spellings: they go one after the other, declared ones first, so that the vault sees the first when it is asked
        for the second."""
        rounds: list[list[tuple[Reading, FieldSpec, Piece]]] = []
        met: Counter[tuple[str, str | None, str, str]] = Counter()
        for reading, spec, piece in sorted(pieces, key=lambda one: one[2].verbatim):
            origin = self.origin(reading, spec)
            same = (origin.entity, origin.record, piece.kind, normalise(piece.kind, piece.clear))
            if met[same] == len(rounds):
                rounds.append([])
            rounds[met[same]].append((reading, spec, piece))
            met[same] += 1
        for fitting in rounds:
            values = [await self._new_value(reading, spec, piece) for reading, spec, piece in fitting]
            placed = await self._vault.tokenise(self.tenant, values, CELL)
            for (_, _, piece), surrogate in zip(fitting, placed, strict=True):
                piece.surrogate = surrogate

    async def stands(self, row: Row, reading: Reading, name: str) -> str:
        """How a field of a row stands in the CRM now: "before", "after", "neither"."""
        text = reading.fields.get(name)
        given = row.fields[name]
        if text is None:
            return "neither"
        for stand in ("after", "before"):
            if await self._is(reading, name, text, given[stand]):
                return stand
        return "neither"

    async def kept(self, row: Row, reading: Reading) -> dict[str, tuple[str, str]]:
        """What the fields of a placed row held before, and what was sent; empty when nothing is kept."""
        if row.kept is None:
            return {}
        keys = await self._keyring.by_id(self.tenant, {key_id(row.kept)})
        told = orjson.loads(open_(keys, row.kept, kept_place(self.tenant, reading.entity.entity, reading.record)))
        return {name: (before, sent) for name, (before, sent) in told.items()}

    async def noted(self, given: Mapping[str, Any], reading: Reading, name: str, text: str) -> dict[str, Any]:
        """The entry of a field for a row, with the text the CRM now shows (it may format what it stores)."""
        if "form" in given:
            await self._others.stood(given, text)
        key = await self._keyring.field_key(self.tenant, SCOPE, "equal")
        wanted = [surrogate for _, surrogate in given["parts"]]
        hits = [hit for hit in self._scanner.find(text.encode("utf-8", "surrogatepass")) if hit.canonical in wanted]
        parts = [[start, hit.canonical] for (start, _), hit in zip(spans(text, hits), hits, strict=True)]
        return {**given, "after": digest(key, reading, name, text), "parts": parts}

    def canonical(self, text: str) -> list[str]:
        """The surrogates in a text, in order."""
        return [hit.canonical for hit in self._scanner.find(text.encode("utf-8", "surrogatepass"))]

    async def before(self, row: Row, reading: Reading, name: str) -> tuple[str, bool]:
        """What a field held before, made from what it holds now; and whether that is proved by its digest.

        Raises NotRestorable ("vault": an entry is gone or changed; "digest": the vault gives another text).
        """
        given, text = row.fields[name], reading.fields[name]
        if "form" in given:
            clear = await self._others.before(given, text)
            if clear is None:
                raise NotRestorable("vault")
            # Somebody may have given it another value since, and nothing in the CRM shows that.
            return clear, await self._is(reading, name, clear, given["before"])
        wanted = {surrogate for _, surrogate in given["parts"]}
        entries = await self._vault.resolve(self.tenant, wanted)
        entity, field_name, record = given["field"]
        origin = Origin(entity, field_name, record)
        if await self._is(reading, name, text, given["after"]):
            back = self._rebuilt(text, given["parts"], entries, origin)
            if not await self._is(reading, name, back, given["before"]):
                raise NotRestorable("digest")
            return back, True
        # Somebody changed the text since; what is left of this run's surrogates in it is put back.
        hits = [hit for hit in self._scanner.find(text.encode("utf-8", "surrogatepass")) if hit.canonical in wanted]
        parts = [[start, hit.canonical] for (start, _), hit in zip(spans(text, hits), hits, strict=True)]
        return self._rebuilt(text, parts, entries, origin), False

    async def is_before(self, row: Row, reading: Reading, name: str) -> bool:
        """Whether a field holds exactly what it held before the run."""
        text = reading.fields.get(name)
        return text is not None and await self._is(reading, name, text, row.fields[name]["before"])

    def left(self, row: Row, reading: Reading) -> int:
        """Surrogates of a row that its record still holds."""
        mine = {surrogate for given in row.fields.values() for _, surrogate in given["parts"]}
        return sum(one in mine for name in row.fields for one in self.canonical(reading.fields.get(name, "")))

    async def warm(self, rows: Sequence[Row]) -> None:
        """Open what rows name in the vault at once; what is asked for one by one afterwards is in memory."""
        await self._vault.resolve(self.tenant, {one for row in rows for one, _ in _named(row)})

    async def retire(self, rows: Sequence[Row]) -> None:
        """End the origins of rows whose values are in the CRM again, and forget what is kept beside it for them."""
        for given in (given for row in rows for given in row.fields.values() if "form" in given):
            await self._others.retire(given)
        await self._vault.retire_origins(self.tenant, [pair for row in rows for pair in _named(row)])

    def _rebuilt(
        self, text: str, parts: Sequence[Sequence[Any]], entries: Mapping[str, VaultEntry], origin: Origin
    ) -> str:
        places: list[tuple[int, int, str]] = []
        hits = self._scanner.find(text.encode("utf-8", "surrogatepass"))
        ends = dict(spans(text, hits))
        for start, surrogate in parts:
            entry = entries.get(surrogate)
            if entry is None or start not in ends:
                raise NotRestorable("vault")
            place = (origin.entity, origin.field, origin.record or "")
            places.append((start, ends[start], entry.spellings.get(place, entry.clear)))
        return restored(text, places)

    async def _new_value(self, reading: Reading, spec: FieldSpec, piece: Piece) -> NewValue:
        origin = self.origin(reading, spec)
        verbatim = piece.verbatim
        if reading.parent and piece.kind in DETERMINISTIC and not verbatim:
            # Two entries of one person may hold one number in two spellings; each keeps its own.
            verbatim = await self._spelled_otherwise(origin, piece)
        return NewValue(piece.kind, piece.clear, origin, verbatim=verbatim)

    async def _spelled_otherwise(self, origin: Origin, piece: Piece) -> bool:
        found = await self._vault.find(self.tenant, piece.kind, piece.clear)
        place = (origin.entity, origin.field, origin.record or "")
        for entry in (await self._vault.resolve(self.tenant, found)).values():
            if origin in entry.origins and entry.spellings.get(place, entry.clear) != piece.clear:
                return True
        return False

    def origin(self, reading: Reading, spec: FieldSpec) -> Origin:
        """Where a value of this field stands: the record itself, or the one it hangs on."""
        parent = reading.entity.parent
        hangs = parent is not None and spec.entity == parent[0] and bool(reading.parent)
        return Origin(spec.entity, spec.name, reading.parent if hangs else reading.record)

    async def _names(self, texts: Sequence[str]) -> dict[str, str]:
        """Parts of free texts that are known names or addresses → kind."""
        wanted = sorted({part for text in texts for _, _, part in known.known_candidates(text)})
        kinds: dict[str, str] = {}
        for kind in (str(Kind.ADDRESS), str(Kind.NAME)):
            if wanted:
                kinds |= dict.fromkeys(await self._vault.find_known(self.tenant, kind, wanted), kind)
        return kinds

    def _aliases(self, reading: Reading, placed: str) -> list[tuple[str, str]]:
        """(full name, surrogate) pairs of a record; placed: the surrogate of its last name, or ""."""
        specs = {spec.name: reading.fields[name] for name, spec in self.declared(reading).items()}
        first, last = specs.get("first_name", "").strip(), specs.get("last_name", "").strip()
        return [(alias, placed) for alias in known.full_names(first, last)] if first and last and placed else []

    async def _sealed(self, reading: Reading, before: Mapping[str, tuple[str, str]]) -> bytes | None:
        if not before:
            return None
        key = await self._keyring.field_key(self.tenant, SCOPE, "seal")
        place = kept_place(self.tenant, reading.entity.entity, reading.record)
        nonce = self._randomness(NONCE_BYTES)
        return seal(key, orjson.dumps(dict(before)), place, nonce, pad_to=PAD_TO, sealing=self._sealing)

    async def _is(self, reading: Reading, name: str, text: str, wanted: str) -> bool:
        keys = await self._keyring.by_id(self.tenant, {bytes.fromhex(wanted.partition(":")[0])})
        return any(hmac.compare_digest(digest(key, reading, name, text), wanted) for key in keys.values())


def digest(key: FieldKey, reading: Reading, name: str, text: str) -> str:
    """Keyed digest of what a field of a record holds: HMAC-SHA-256 over place and text, each with its length."""
    parts = []
    for one in (reading.entity.entity, reading.record, name, text):
        part = one.encode("utf-8", "surrogatepass")
        parts += [len(part).to_bytes(4), part]
    return f"{key.id.hex()}:{hmac.digest(key.secret, b'crmgate protect' + b''.join(parts), 'sha256').hex()}"


def _named(row: Row) -> list[tuple[str, Origin]]:
    """The surrogates a row names and where each stands."""
    return [(surrogate, Origin(*given["field"])) for given in row.fields.values() for _, surrogate in given["parts"]]


def kept_place(tenant: str, entity: str, record: str) -> Context:
    """What the values that a record held before are bound to."""
    return Context(tenant, "crmgate", "protect_record", "kept", f"{entity}/{record}")
