"""Settings of the Creme that the demo and the tests start; data for that process, never imported by crmgate.

The file is copied into a project package beside a file `port` and a file `secret`.
"""

from pathlib import Path

from creme.settings import *  # noqa: F403

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = (BASE_DIR / "secret").read_text()
DEBUG = True  # else its development server serves no static files
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
SITE_DOMAIN = "http://127.0.0.1:" + (BASE_DIR / "port").read_text().strip()
LANGUAGE_CODE, TIME_ZONE = "en", "UTC"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        # Writers wait for one another from the start of a transaction; else two of them can fail half-way.
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
    }
}
GENERATED_MEDIA_NAMES_FILE = BASE_DIR / "_generated_media_names.py"
GENERATED_MEDIA_NAMES_MODULE = "crmproj._generated_media_names"
MEDIA_ROOT, STATIC_ROOT = BASE_DIR / "media" / "upload", BASE_DIR / "media" / "static"
JOBMANAGER_BROKER = f"unix_socket://{BASE_DIR}/jobs/"  # replaces Redis
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
