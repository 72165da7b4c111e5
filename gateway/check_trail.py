"""What `crmgate check` says of the trail: whether the key on the key server signs, and who may read it over HTTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from audit.note import KeyFileInvalid, NoteInvalid
from audit.signing import SigningUnavailable
from gateway.checkpoint_key import signer_of
from gateway.finding import Finding, Weight, finding
from gateway.settings import KeySigner, Settings
from gateway.toml_tree import SettingInvalid

PROBE, PROBE_NAME = "crmgate check\n", "crmgate-check"


async def check_trail(settings: Settings) -> AsyncIterator[Finding]:
    """Tries a signature over a text that is no checkpoint; asks nobody where the key is in a file."""
    wide = [str(network) for network in settings.audit.tiles_networks if network.prefixlen == 0]
    if wide:
        yield finding("tiles-open", Weight.WARNING, "audit.tiles_networks", networks=", ".join(wide))
    if settings.audit.checkpoint_signer is KeySigner.FILE:
        return
    place = "audit.checkpoint_signer"
    try:
        async with AsyncExitStack() as stack:
            signer = await signer_of(stack, settings)
            await signer.sign_note(PROBE, PROBE_NAME)
    except (KeyFileInvalid, SettingInvalid) as fault:
        yield finding("signing-unusable", Weight.PROBLEM, place, problem=fault)
    except (SigningUnavailable, NoteInvalid) as fault:
        yield finding("signing-waits", Weight.PROBLEM, place, problem=fault)
    else:
        yield finding("signing-fine", Weight.FINE, place)
