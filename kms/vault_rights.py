"""What a token may do beyond serving, as the server itself says it (`sys/capabilities-self`).

Serving wraps and opens. Whoever can also forget, delete, export or import keys can undo or forge an erasure, so that is
for a token of its own (deploy/openbao).
"""

from collections.abc import Collection
from typing import Any

from kms.provider import KeysUnavailable
from kms.vault import TransitProvider
from kms.vault_epochs import epochs_name

_UNDER_KEY = ("config", "rotate", "trim", "import", "import_version", "soft-delete", "soft-delete-restore")
_BESIDE_KEY = ("export/encryption-key", "backup", "restore")
_NOTHING = frozenset({"deny"})
_OF_KEY = frozenset({"create", "update", "read", "list", "patch"})
"""Making a key that is there changes nothing, so only deleting it is too much."""


async def beyond_serving(provider: TransitProvider, tenants: Collection[str]) -> list[str]:
    """Paths that the token of `provider` may use and serving these tenants does not need, sorted.

    Raises KeysUnavailable, KeyringLocked (the token may not ask).
    """
    allowed = _allowed(provider, tenants)
    answer = await provider.ask(
        lambda client: client.adapter.post("/v1/sys/capabilities-self", json={"paths": sorted(allowed)})
    )
    told = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(told, dict) or not allowed.keys() <= told.keys():
        raise KeysUnavailable("vault-nonsense", "the server does not say what the token may do")
    return sorted(path for path, most in allowed.items() if not _within(told[path], most))


def _allowed(provider: TransitProvider, tenants: Collection[str]) -> dict[str, frozenset[str]]:
    """Capabilities that are fine, by path."""
    mount, paths = provider.mount, dict[str, frozenset[str]]()
    for tenant in tenants:
        for name in (provider.key_name(tenant), epochs_name(tenant)):
            paths[f"{mount}/keys/{name}"] = _OF_KEY | _NOTHING
            paths |= {f"{mount}/keys/{name}/{one}": _NOTHING for one in _UNDER_KEY}
            paths |= {f"{mount}/{one}/{name}": _NOTHING for one in _BESIDE_KEY}
    return paths


def _within(capabilities: Any, most: frozenset[str]) -> bool:
    return isinstance(capabilities, list) and set(capabilities) <= most
