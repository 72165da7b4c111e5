"""Adds users to Creme; run by its own `shell` command with the project folder as working directory.

Reads users.json ([{login, password, admin, first_name, last_name}]) and writes user_ids.json ({login: id}).
"""

import json
from pathlib import Path

from creme.creme_core.models import CremeUser, UserRole

folder = Path("crmproj")
role = UserRole.objects.order_by("id").first()
ids = {}
for wanted in json.loads((folder / "users.json").read_text()):
    user = CremeUser.objects.filter(username=wanted["login"]).first()
    if user is None:
        user = CremeUser(username=wanted["login"], email=wanted["login"] + "@staff.example.com")
    user.first_name, user.last_name = wanted["first_name"], wanted["last_name"]
    user.is_superuser = user.is_staff = wanted["admin"]
    user.role = None if wanted["admin"] else role
    user.set_password(wanted["password"])
    user.save()
    if not wanted["admin"]:
        user.roles.set([role])
    ids[wanted["login"]] = str(user.pk)
(folder / "user_ids.json").write_text(json.dumps(ids))
