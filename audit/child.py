"""What a process that we start for work on the trail is given of ours."""

import os
import sys


def bare_environment() -> dict[str, str]:
    """Nothing but where its modules are: no settings, no secrets."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": paths}
