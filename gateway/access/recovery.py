"""Recovery codes: ten single-use codes for the day the phone is lost.

Twelve characters of Crockford's alphabet (60 bits; no I, L, O, U, and what looks alike is read as what it looks like),
shown once. They have less than 112 bits, so they are kept like passwords: Argon2id under a random salt (ASVS 6.5.2).
The salt is one for the ten of a set, which costs nothing against random codes and lets one hash find the code, so that
one SQL statement both looks and uses up.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from argon2.low_level import Type, hash_secret_raw

from gateway.access.factor import FactorWrong
from gateway.access.factor_store import FactorStore, RecoveryState
from gateway.access.tokens import Randomness
from gateway.access.user import AppUser

CODES = 10
CODE_CHARS = 12
GROUP_CHARS = 4
SALT_BYTES = 16
HASH_BYTES = 32
TYPED_LIMIT_CHARS = 64
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011")
# Each hash takes 64 MiB for a moment.
HASHES_AT_A_TIME = 2


class RecoveryCodeWrong(FactorWrong):
    """It is none of this person's codes, or it was used before."""

    reason = "recovery-code-wrong"


@dataclass(frozen=True, slots=True)
class Cost:
    """Argon2id parameters; RFC 9106's low-memory recommendation. memory_kib: KiB."""

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


def new_code(randomness: Randomness) -> str:
    """A fresh code as it is shown: three groups of four characters, 60 random bits."""
    number = int.from_bytes(randomness(8), "big")
    plain = "".join(ALPHABET[number >> 5 * place & 31] for place in range(CODE_CHARS))
    return "-".join(plain[at : at + GROUP_CHARS] for at in range(0, CODE_CHARS, GROUP_CHARS))


def read_code(typed: str) -> str:
    """The twelve characters of a code as typed: any case, width, spaces and hyphens; raises RecoveryCodeWrong."""
    if len(typed) > TYPED_LIMIT_CHARS:
        raise RecoveryCodeWrong
    plain = "".join(char for char in unicodedata.normalize("NFKC", typed).upper() if not char.isspace() and char != "-")
    plain = plain.translate(_READ_AS)
    if len(plain) != CODE_CHARS or any(char not in ALPHABET for char in plain):
        raise RecoveryCodeWrong
    return plain


def looks_like_code(typed: str) -> bool:
    """Whether something typed can be a recovery code, where the app's code would do as well."""
    try:
        return bool(read_code(typed))
    except RecoveryCodeWrong:
        return False


class RecoveryCodes:
    """The recovery codes of all accounts; one object per process."""

    def __init__(
        self, store: FactorStore, *, clock: Callable[[], datetime], randomness: Randomness, cost: Cost | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._cost = cost or Cost()
        self._room = asyncio.Semaphore(HASHES_AT_A_TIME)

    async def renew(self, tenant: str, user_id: str) -> tuple[str, ...]:
        """Ten new codes, as shown to the person this once; the old ones stop working. Raises StoreUnavailable."""
        codes: list[str] = []
        while len(codes) < CODES:
            code = new_code(self._randomness)
            if code not in codes:
                codes.append(code)
        salt = self._randomness(SALT_BYTES)
        hashes = [await self._hash(read_code(code), salt) for code in codes]
        await self._store.replace_codes(tenant, user_id, salt, hashes, self._clock())
        return tuple(codes)

    async def state(self, tenant: str, user_id: str) -> RecoveryState:
        """How many are left, and when one was last used."""
        return await self._store.recovery_state(tenant, user_id)

    async def use(self, user: AppUser, typed: str) -> None:
        """Use up a code; raises RecoveryCodeWrong, StoreUnavailable.

        An account without codes costs a hash, too.
        """
        code = read_code(typed)
        salt = await self._store.recovery_salt(user.tenant, user.id)
        hashed = await self._hash(code, salt or bytes(SALT_BYTES))
        if salt is None or not await self._store.use_code(user.tenant, user.id, salt, hashed, self._clock()):
            raise RecoveryCodeWrong

    async def _hash(self, code: str, salt: bytes) -> bytes:
        cost = self._cost
        async with self._room:
            return await asyncio.to_thread(
                hash_secret_raw,
                code.encode("ascii"),
                salt,
                time_cost=cost.passes,
                memory_cost=cost.memory_kib,
                parallelism=cost.lanes,
                hash_len=HASH_BYTES,
                type=Type.ID,
            )
