"""Adds users to DjangoCRM; run by its own `shell` command with the folder of its settings as working directory.

Reads users.json ([{login, password, admin, first_name, last_name}]) and writes user_ids.json ({login: id}). Everybody
but administrators sells in the same department, so that everybody sees the records of everybody.
"""

import json
from pathlib import Path

from django.contrib.auth.models import Group, User
from settings.models import PublicEmailDomain

# Protected addresses share one domain; DjangoCRM takes people of one domain for colleagues unless it is a public one.
PublicEmailDomain.objects.get_or_create(domain="enc.invalid")
groups = Group.objects.filter(name__in=["managers", "co-workers", "Global sales"])
ids = {}
for wanted in json.loads(Path("users.json").read_text()):
    user = User.objects.filter(username=wanted["login"]).first()
    if user is None:
        user = User(username=wanted["login"], email=wanted["login"] + "@staff.example.com")
    user.first_name, user.last_name = wanted["first_name"], wanted["last_name"]
    user.is_staff = True
    user.is_superuser = wanted["admin"]
    user.set_password(wanted["password"])
    user.save()
    user.groups.set([] if wanted["admin"] else groups)
    ids[wanted["login"]] = str(user.pk)
Path("user_ids.json").write_text(json.dumps(ids))
