"""Passwords: what is accepted as one, how it is kept, how it is verified.

Kept as Argon2id (RFC 9106) and verified exactly as typed: no trimming, no truncation, no case folding, no Unicode
normalisation (ASVS 6.2.8). No composition rules and no forced change (6.2.5, 6.2.10) unless the settings ask for them
(password_rules); instead length, common and breached passwords checked offline (6.2.4, 6.2.12), a guessing estimate,
and words of the context (6.2.11).
`verify` returns nothing or raises, and costs the same when there is nobody to verify.
"""

import asyncio
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from zxcvbn import zxcvbn

from gateway.access.breached import BreachFile, BreachFileUnusable, is_common
from gateway.access.password_rules import LEAST_CHARS, USUAL, PasswordRules

PASSWORD_MIN_CHARS = LEAST_CHARS
PASSWORD_MAX_CHARS = 256
# zxcvbn scale 0..4; 3 = "safely unguessable, moderate protection from offline guessing" (over 10^8 guesses).
PASSWORD_MIN_SCORE = 3
# zxcvbn takes time quadratic in the length; the rest of a longer password only makes it stronger.
SCORED_CHARS = 72

# The hash is CPU- and memory-bound (64 MiB): more at a time would let a flood of sign-ins take the memory.
HASHES_AT_A_TIME = 4


class PasswordWrong(Exception):  # noqa: N818 - an outcome of verification, named as the audit trail names it
    """The password does not belong to the login, or there is no such login."""

    permanent = True


class PasswordRefused(Exception):  # noqa: N818
    """A new password breaks a rule; `problem` is the id of the rule.

    `too-short`, `too-long`, `too-few-classes`, `used-before`, `too-common` (listed), `too-close` (little but words of
    the context), `too-guessable`, `in-directory` (changed there only), or `not-checked` (the file of breached passwords
    cannot be read: nothing is accepted unchecked).
    """

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def check_new_password(
    password: str,
    context: Sequence[str],
    breached: BreachFile | None = None,
    rules: PasswordRules = USUAL,
) -> None:
    """Raise PasswordRefused unless this may become a password.

    password: as typed. context: words that must not carry it (login, display name, name of the product or company).
    breached: a file of known ones beside the packaged list. rules: what the installation asks for.
    """
    if len(password) < rules.least:
        raise PasswordRefused("too-short")
    if len(password) > PASSWORD_MAX_CHARS:
        raise PasswordRefused("too-long")
    if not rules.composed(password):
        raise PasswordRefused("too-few-classes")
    try:
        if is_common(password) or (breached is not None and breached.has(password)):
            raise PasswordRefused("too-common")
    except BreachFileUnusable as fault:
        raise PasswordRefused("not-checked") from fault
    words = [part for entry in context for part in (entry, *entry.replace("@", " ").replace(".", " ").split()) if part]
    if _leans_on(password, words):
        raise PasswordRefused("too-close")
    if zxcvbn(password[:SCORED_CHARS], user_inputs=words)["score"] < PASSWORD_MIN_SCORE:
        raise PasswordRefused("too-guessable")


def _leans_on(password: str, words: Sequence[str]) -> bool:
    """Whether little is left of a password without the words an attacker tries first (ASVS 6.2.11)."""
    rest = password.casefold()
    for word in sorted({word.casefold() for word in words if len(word) >= 3}, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(rest) < PASSWORD_MIN_CHARS // 2


class Passwords:
    """Argon2id with one set of parameters; hashing runs in worker threads, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        # argon2-cffi's default is RFC 9106's low-memory recommendation: 3 passes, 64 MiB, 4 lanes.
        self._hasher = hasher or PasswordHasher()
        self._dummy = self._hasher.hash("nobody has this password")
        self._room = asyncio.Semaphore(HASHES_AT_A_TIME)

    async def hash(self, password: str) -> str:
        """PHC string of a new password; the rules were checked before."""
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, _as_typed(password))

    async def verify(self, stored: str | None, password: str) -> None:
        """Raise PasswordWrong unless the password is the one behind `stored`.

        stored None (unknown login, no password set yet, disabled) costs one full hash as well, so that time tells
        nothing (ASVS 6.3.8).
        """
        async with self._room:
            try:
                typed = _as_typed(password[: PASSWORD_MAX_CHARS + 1])
                await asyncio.to_thread(self._hasher.verify, stored or self._dummy, typed)
            except (VerifyMismatchError, VerificationError, InvalidHashError) as fault:
                raise PasswordWrong from fault
        if not stored or len(password) > PASSWORD_MAX_CHARS:
            raise PasswordWrong

    def outdated(self, stored: str) -> bool:
        """Whether the stored hash was made with other parameters and should be renewed at this sign-in."""
        return self._hasher.check_needs_rehash(stored)


def _as_typed(password: str) -> bytes:
    """Exactly what was typed; JSON can carry lone surrogates, which are a wrong password and not a fault."""
    return password.encode("utf-8", "surrogatepass")
