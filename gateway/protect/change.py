"""From what a record holds to what it shall hold, and back: the vault side of protecting.

Every change is proved before the CRM is written: the surrogates are read from the vault anew, opened, put back into the
text, and the result must be the text that was there, byte for byte. A field for which that does not hold stays as it is
and is reported.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.access.tokens import Randomness
from gateway.protect.credential import SCOPE
from gateway.protect.judge import SPELLING, Judged, Piece, State, judge, own_hits, restored, spans, written
from gateway.protect.reading import Reading
from gateway.protect.store import Row
from gateway.tokenise import full_names
from kms.envelope import DEFAULT, NONCE_BYTES, Context, FieldKey, Sealing, key_id, open_, seal
from kms.keyring import Keyring
from kms.normalise import normalise
from kms.scanner import Scanner
from kms.surrogate import DETERMINISTIC
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import known

PAD_TO = 64
NAMED = (str(Kind.NAME), str(Kind.ADDRESS))


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
        sealing: Sealing = DEFAULT,
    ) -> None:
        self.tenant = tenant
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

    async def judge(self, reading: Reading, *, look_up: bool) -> dict[str, tuple[FieldSpec, Judged]]:
        """What each declared field is. look_up: find known names in free text, too."""
        specs = self.declared(reading)
        texts = {name: reading.fields[name] for name in specs}
        ours = await self.ours(list(texts.values()))
        names = await self._names([texts[name] for name in specs if specs[name].kind is None]) if look_up else {}
        judged = {}
        for name, spec in specs.items():
            taken = spans(texts[name], own_hits(self._scanner, texts[name], ours))
            limit = reading.limits.get(name, 0)
            judged[name] = spec, judge(texts[name], spec, limit, taken, names, self._scanner.shapes)
        return judged

    async def index(self, reading: Reading) -> None:
        """Put the names and addresses of a record into the vault, so that any note naming them finds them."""
        judged = await self.judge(reading, look_up=False)
        values: list[NewValue] = []
        for spec, one in judged.values():
            if spec.kind is not None and one.state is State.CLEAR:
                origin = self.origin(reading, spec)
                values += [NewValue(p.kind, p.clear, origin) for p in one.pieces if p.kind in NAMED]
        if not values:
            return
        placed = await self._vault.tokenise(self.tenant, values, _cell(reading))
        await self._aliases(reading, dict(zip([value.origin.field for value in values], placed, strict=True)))

    async def change(self, reading: Reading) -> Change:
        """Place the values of a record in the vault and say what to write; raises KeysUnavailable, StoreUnavailable."""
        made = Change(judged=await self.judge(reading, look_up=True))
        clear: list[tuple[str, FieldSpec, Piece]] = []
        for name, (spec, one) in made.judged.items():
            if one.state is State.UNFIT:
                made.misfits[name] = one.why
            elif one.state is State.CLEAR:
                clear += [(name, spec, piece) for piece in one.pieces]
        if not clear:
            return made
        await self._place(reading, [(spec, piece) for _, spec, piece in clear])
        entries = await self._vault.resolve(self.tenant, {piece.surrogate for _, _, piece in clear})
        key = await self._keyring.field_key(self.tenant, SCOPE, "equal")
        before: dict[str, tuple[str, str]] = {}
        for name, (spec, one) in made.judged.items():
            if one.state is not State.CLEAR:
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
        return made

    async def _place(self, reading: Reading, pieces: Sequence[tuple[FieldSpec, Piece]]) -> None:
        """Give every piece its surrogate. Equal values that must keep two spellings go one after the other, declared
        ones first, so that the vault sees the first when it is asked for the second."""
        rounds: list[list[tuple[Piece, NewValue]]] = []
        for spec, piece in sorted(pieces, key=lambda one: one[1].verbatim):
            value = await self._new_value(reading, spec, piece)
            same = (piece.kind, normalise(piece.kind, piece.clear))
            for fitting in rounds:
                if not value.verbatim or all(same != (p.kind, normalise(p.kind, p.clear)) for p, _ in fitting):
                    fitting.append((piece, value))
                    break
            else:
                rounds.append([(piece, value)])
        for fitting in rounds:
            placed = await self._vault.tokenise(self.tenant, [value for _, value in fitting], _cell(reading))
            for (piece, _), surrogate in zip(fitting, placed, strict=True):
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

    async def retire(self, row: Row) -> None:
        """End the origins of a row whose values are in the CRM again."""
        for given in row.fields.values():
            mine = {surrogate for _, surrogate in given["parts"]}
            origin = Origin(*given["field"])
            held = await self._vault.at_origin(self.tenant, origin.entity, origin.field, origin.record or "")
            keep = [entry.surrogate for entry in held if entry.surrogate not in mine]
            await self._vault.retire_origin(self.tenant, origin, keep)

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

    async def _aliases(self, reading: Reading, placed: Mapping[str, str]) -> None:
        specs = {spec.name: reading.fields[name] for name, spec in self.declared(reading).items()}
        first, last = specs.get("first_name", "").strip(), specs.get("last_name", "").strip()
        if first and last and "last_name" in placed:
            aliases = [(alias, placed["last_name"]) for alias in full_names(first, last)]
            await self._vault.index_aliases(self.tenant, str(Kind.NAME), aliases)

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


def _cell(reading: Reading) -> str:
    return f"protect:{reading.entity.entity}:{reading.record}"


def kept_place(tenant: str, entity: str, record: str) -> Context:
    """What the values that a record held before are bound to."""
    return Context(tenant, "crmgate", "protect_record", "kept", f"{entity}/{record}")
