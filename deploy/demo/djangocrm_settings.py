"""Settings of the DjangoCRM that the demo and the tests start; data for that process, never imported by crmgate.

The file is copied beside a file `secret`.
"""

from pathlib import Path

from webcrm.settings import *  # noqa: F403

HERE = Path(__file__).resolve().parent
SECRET_KEY = (HERE / "secret").read_text()
DEBUG = True  # else its development server serves no static files
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "db.sqlite3",
        # Writers wait for one another from the start of a transaction; else two of them can fail half-way.
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
MEDIA_ROOT, STATIC_ROOT = HERE / "media", HERE / "static"
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
