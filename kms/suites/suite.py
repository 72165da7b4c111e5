"""What a cipher suite is to the envelope: a number, a name and three functions.

A suite derives its keys from the 32-byte secret of a field key; labels keep the keys of different suites and uses
apart. `record` is the record key or cell id, empty for a suite that is not bound to the record. A body that does not
open raises `cryptography.exceptions.InvalidTag`; the envelope turns that into its one error.
"""

from collections.abc import Callable
from dataclasses import dataclass

NONCE_BYTES = 12
TAG_BYTES = 16
COMMITMENT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite.

    number: first byte of an envelope; least: bytes of its shortest body; bound: whether the record takes part;
    legacy: whether it encrypts only behind the explicit switch; encrypt(secret, record, nonce, plaintext, additional)
    gives the body with what is needed to open it; decrypt(secret, record, body, additional) gives the plaintext;
    commit(secret, record) gives the 16-byte commitment to the key.
    """

    number: int
    name: str
    least: int
    bound: bool
    legacy: bool
    encrypt: Callable[[bytes, bytes, bytes, bytes, bytes], bytes]
    decrypt: Callable[[bytes, bytes, bytes, bytes], bytes]
    commit: Callable[[bytes, bytes], bytes]
