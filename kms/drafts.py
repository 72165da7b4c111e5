"""From clear values to what is written: terms, candidate surrogates, sealed blobs. Pure; keys and randomness are given.

Deterministic kinds have one draft a value however often it is written; names and addresses have one a record, and one
for each writing while the record is not known, because many people share them.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kms import index
from kms import surrogate as shapes_of
from kms.entry import NewValue, Origin
from kms.envelope import DEFAULT, NONCE_BYTES, Context, FieldKey, Sealing, key_id, seal
from kms.holder_store import APART, LOOSE, Place
from kms.index import IndexRow
from kms.normalise import VERSION, exact, folded, normalise
from kms.rotation_store import RenewedValue, SealedRow, TermRow
from kms.surrogate import DETERMINISTIC, EMAIL, SERIALS, Shapes
from kms.value_key import KEY_BYTES
from kms.value_key import sealing as sealing_key
from kms.work_store import EntryRow, OriginRow, StoredRow

_PAD_TO = 16
_DRAWS = 256  # six of 32 endings are digits: that none comes in so many draws does not happen
NO_CELL = "-"
"""Instead of the exchange where there is none: such origins are never bound."""
EXACT, FOLDED, NORMALISED, SPELLED = "exact", "folded", "normalised", "spelled"


@dataclass(frozen=True, slots=True)
class KindKeys:
    """Keys of one kind: the current one first where there are several; index: purpose → current key."""

    seal: FieldKey
    equal: tuple[FieldKey, ...]
    token: FieldKey
    index: Mapping[str, FieldKey]


@dataclass(slots=True)
class Draft:
    """One value on its way into the vault; `surrogate` and `blob` are set once it has a place there.

    found_by: the term that an entry which was there already is found by; aside: terms of this very spelling, for a
    mention that must stay as it is written; apart: they count now. places: whom it is written for; held: the entry is
    sealed with its value key, too.
    """

    kind: str
    clear: str = field(repr=False)
    terms: tuple[bytes, ...]
    numbers: list[int]
    origins: list[tuple[Origin, str]] = field(repr=False)
    surrogate: str = ""
    blob: bytes = b""
    new: bool = False
    found_by: bytes = b""
    aside: tuple[bytes, ...] = ()
    apart: bool = False
    places: list[Place] = field(default_factory=list)
    held: bool = False
    value_key: bytes | None = field(default=None, repr=False)
    held_in: str = ""

    def take(self, found: StoredRow) -> None:
        """There is an entry of an equal value already."""
        self.surrogate, self.blob, self.held, self.found_by = found.surrogate, found.blob, found.held, found.term

    def set_apart(self) -> None:
        """The stored value is spelled otherwise: look for, or make, an entry of this spelling alone."""
        self.terms, self.aside, self.apart, self.surrogate, self.blob = self.aside, (), True, "", b""
        self.held, self.value_key = False, None

    @property
    def deterministic(self) -> bool:
        """Whether equal values share a surrogate."""
        return self.kind in DETERMINISTIC


def equality_term(key: FieldKey, kind: str, form: str, spelled: str) -> bytes:
    """HMAC-SHA-256 over version, kind, form and spelling, each with its length, cut to 16 bytes."""
    parts = []
    for text in (str(VERSION), kind, form, spelled):
        part = text.encode("utf-8", "surrogatepass")
        parts += [len(part).to_bytes(4), part]
    return hmac.digest(key.secret, b"crmgate equality\0" + b"".join(parts), "sha256")[:16]


def equality_terms(keys: Sequence[FieldKey], kind: str, clear: str, *, fold: bool = True) -> list[bytes]:
    """Terms a value is looked up by, for every live key: normalised, or for short text folded or exact."""
    if kind in DETERMINISTIC:
        return [equality_term(key, kind, NORMALISED, normalise(kind, clear)) for key in keys]
    form, spelled = (FOLDED, folded(clear)) if fold else (EXACT, exact(clear))
    return [equality_term(key, kind, form, spelled) for key in keys]


def written_terms(key: FieldKey, kind: str, clear: str) -> list[bytes]:
    """Terms under which a short text or an alias can be found: exact and folded."""
    return [equality_term(key, kind, EXACT, exact(clear)), equality_term(key, kind, FOLDED, folded(clear))]


def place_of(origin: Origin, cell: str, *, index_only: bool = False) -> Place:
    """Whose value it is that stands there; cell: the exchange that writes it."""
    if origin.record:
        return Place(origin.entity, origin.record, "")
    return LOOSE if index_only else Place(origin.entity, "", cell or NO_CELL)


def draft(
    values: Sequence[NewValue], keys: dict[str, KindKeys], cell: str, apart: Callable[[], str] | None = None
) -> list[Draft]:
    """Drafts of these values; `numbers` says which values each one is for. cell: the exchange that writes them.

    apart: makes names; each value that waits is then held by itself, because the cell covers many records.
    """
    drafts: dict[object, Draft] = {}
    for number, value in enumerate(values):
        kind, origin = value.kind, value.origin
        terms = tuple(equality_terms(keys[kind].equal, kind, value.clear, fold=False))
        place: object = (kind, terms[0])
        if kind not in DETERMINISTIC:
            place = (
                (place, origin.entity, origin.field, origin.record) if origin.record is not None else (place, number)
            )
        aside: tuple[bytes, ...] = ()
        if kind in DETERMINISTIC and value.verbatim:
            aside = tuple(equality_term(key, kind, SPELLED, value.clear) for key in keys[kind].equal)
            place = (place, value.clear)
        made = drafts.get(place)
        if made is None:
            made = drafts[place] = Draft(kind, value.clear, terms, [], [], aside=aside)
            made.held_in = f"{cell}{APART}{apart()}" if apart is not None else cell
        made.numbers.append(number)
        made.places.append(place_of(origin, made.held_in, index_only=value.index_only))
        if not value.index_only:
            made.origins.append((origin, value.clear))
    return list(drafts.values())


def value_context(tenant: str, kind: str, surrogate: str) -> Context:
    """What a sealed value is bound to."""
    return Context(tenant, "vault", kind, "value", surrogate)


def spelling_context(tenant: str, kind: str, surrogate: str, entity: str, field_name: str) -> Context:
    """What a sealed spelling is bound to; not to the record, which may be learnt later."""
    return Context(tenant, "vault spelling", entity, f"{kind}\n{field_name}", surrogate)


def alias_context(tenant: str, kind: str, surrogate: str) -> Context:
    """What a sealed alias is bound to."""
    return Context(tenant, "vault alias", kind, "alias", surrogate)


def sealed_text(clear: str, key: FieldKey, place: Context, entropy: Callable[[int], bytes], sealing: Sealing) -> bytes:
    """A text under a key, its length hidden in steps of 16 bytes."""
    text = clear.encode("utf-8", "surrogatepass")
    return seal(key, text, place, entropy(NONCE_BYTES), pad_to=_PAD_TO, sealing=sealing)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes candidate surrogates and seals values; one a call.

    entropy: n random bytes; below: a random integer below its argument; held: new entries get a value key.
    """

    tenant: str
    keys: dict[str, KindKeys]
    shapes: Shapes
    entropy: Callable[[int], bytes]
    below: Callable[[int], int]
    sealing: Sealing = DEFAULT
    held: bool = False

    def entry(self, one: Draft) -> EntryRow:
        """Give a draft a fresh candidate surrogate and its sealed value."""
        keys = self.keys[one.kind]
        one.surrogate = self._candidate(one, keys.token.secret)
        one.held, one.value_key = self.held, self.entropy(KEY_BYTES) if self.held else None
        key = sealing_key(keys.seal, one.value_key)
        one.blob = self.sealed(one.clear, key, value_context(self.tenant, one.kind, one.surrogate))
        return EntryRow(
            one.surrogate,
            one.kind,
            one.deterministic,
            one.terms[0],
            keys.equal[0].id,
            VERSION,
            keys.seal.id,
            one.blob,
            one.held,
        )

    @property
    def key_ids(self) -> set[bytes]:
        """Ids of every key that is written under."""
        return {
            one.id
            for keys in self.keys.values()
            for one in (keys.seal, keys.equal[0], keys.token, *keys.index.values())
        }

    def terms(self, one: Draft) -> list[TermRow]:
        """Rows by which a new short text is found; deterministic kinds are found by their entry."""
        if one.deterministic:
            return []
        key = self.keys[one.kind].equal[0]
        return [TermRow(one.kind, term, one.surrogate, key.id) for term in written_terms(key, one.kind, one.clear)]

    def renewed(self, one: Draft, stored: str) -> RenewedValue | None:
        """An entry that was there already under the current keys; None when it is there under them."""
        keys, at = self.keys[one.kind], one.terms.index(one.found_by) if one.found_by in one.terms else 0
        if one.new or (key_id(one.blob) == keys.seal.id and at == 0):
            return None
        blob = one.blob
        if key_id(blob) != keys.seal.id:
            key = sealing_key(keys.seal, one.value_key)
            blob = self.sealed(stored, key, value_context(self.tenant, one.kind, one.surrogate))
        was = SealedRow(one.surrogate, one.deterministic, one.found_by, keys.equal[at].id, one.blob)
        return RenewedValue(was, blob, keys.seal.id, one.terms[0], keys.equal[0].id)

    def alias(self, kind: str, alias: str, surrogate: str, value_key: bytes | None) -> list[TermRow]:
        """Rows by which an alias finds an entry; its text is kept sealed, or no new key could ever find it."""
        key = self.keys[kind].equal[0]
        sealing = sealing_key(self.keys[kind].seal, value_key)
        blob = self.sealed(alias, sealing, alias_context(self.tenant, kind, surrogate))
        return [TermRow(kind, term, surrogate, key.id, blob) for term in written_terms(key, kind, alias)]

    def sealed(self, clear: str, key: FieldKey, place: Context) -> bytes:
        """A text under a key."""
        return sealed_text(clear, key, place, self.entropy, self.sealing)

    def index(self, one: Draft, stored: str) -> list[IndexRow]:
        """Terms of the parts of a new value, or of one that is spelled here as it was not before."""
        spelled = {stored, *(clear for _, clear in one.origins)}
        if not one.new and len(spelled) == 1:
            return []
        return index.rows(self.keys[one.kind].index, one.kind, one.surrogate, spelled)

    def origins(self, one: Draft, stored: str, cell: str) -> list[OriginRow]:
        """Origin rows of a draft; a spelling is sealed where it differs from the stored one."""
        return [self._origin(one, origin, clear, stored, cell) for origin, clear in one.origins]

    def _origin(self, one: Draft, origin: Origin, clear: str, stored: str, cell: str) -> OriginRow:
        """One origin row; a bound origin keeps no cell."""
        spelling = None
        if clear != stored:
            place = spelling_context(self.tenant, one.kind, one.surrogate, origin.entity, origin.field)
            spelling = self.sealed(clear, sealing_key(self.keys[one.kind].seal, one.value_key), place)
        cell = "" if origin.record is not None else cell
        return OriginRow(one.surrogate, origin.entity, origin.field, origin.record or "", cell, spelling)

    def _candidate(self, one: Draft, secret: bytes) -> str:
        if one.kind == EMAIL:
            named = f"\0{one.clear}" if one.apart else normalise(EMAIL, one.clear)
            return shapes_of.make_email(secret, shapes_of.email_token(secret, named), self.shapes)
        if one.kind in SERIALS:
            serial = 1 + self.below(SERIALS[one.kind] - 1)  # serial 0 is reserved
            return shapes_of.make_serial(secret, one.kind, serial, self.shapes)
        return self._short_text(one.kind, secret)

    def _short_text(self, kind: str, secret: bytes) -> str:
        """A surrogate that ends in a digit: a CRM that cuts titles ("Dr", "Md") out of names, wherever a space follows
        them, would take its last letters for one."""
        made = ""
        for _ in range(_DRAWS):
            made = shapes_of.make_short_text(secret, kind, self.entropy(shapes_of.NAME_TOKEN_BYTES))
            if made[-1].isdecimal():
                break
        return made
