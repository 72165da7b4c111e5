"""Settings of the demo's BottleCRM: its own, with data and secrets of the folder it runs in.

environment.json (mode 0600) holds what BottleCRM reads from the environment: no secret stands in a process list.
"""

import json
import os
from pathlib import Path

HOME = Path(os.environ["BOTTLE_HOME"])
os.environ.update(json.loads((HOME / "environment.json").read_text()))

from crm.settings import *  # noqa: E402, F403

MEDIA_ROOT = HOME / "media"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = []
