"""Where one demo lives: its folder, its ports, its settings file; all of it under .demo and ignored by git."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts import utc_now
from gateway.database import suitable_folder
from gateway.demo.children import free_port, port_is_free
from gateway.first_steps import Start, ensure_secrets, render_file
from gateway.opening import open_certificate
from gateway.settings import Settings
from gateway.settings_file import read_settings

TENANT = "main"


@dataclass(frozen=True, slots=True)
class Stage:
    """Paths and addresses of one CRM's demo; port and console_port are those of the gateway."""

    folder: Path
    port: int = 8443
    console_port: int = 8444

    @property
    def crm_url(self) -> str:
        """Where people reach the CRM."""
        return f"https://crm.localhost:{self.port}"

    @property
    def console_url(self) -> str:
        """Where the console is: a host of its own, because ports share cookies."""
        return f"https://console.localhost:{self.console_port}"

    def busy_ports(self) -> list[int]:
        """Ports of the gateway that something else uses."""
        return [port for port in (self.port, self.console_port) if not port_is_free(port)]

    @property
    def crm(self) -> Path:
        """The CRM's own files."""
        return self.folder / "crm"

    @property
    def staff(self) -> Path:
        """Passwords and secrets."""
        return self.folder / "staff.json"

    @property
    def settings_file(self) -> Path:
        """crmgate.toml of the demo."""
        return self.folder / "crmgate.toml"

    @property
    def seeded(self) -> Path:
        """How many records are in, and since when they all are."""
        return self.folder / "seeded"

    @property
    def authority(self) -> Path:
        """The certificate authority that browsers may import."""
        return self.folder / "state" / "tls" / "authority.pem"

    def crm_ids(self) -> Mapping[str, str]:
        """Login → the CRM's own key of that user; empty before the first start."""
        file = self.folder / "crm_ids.json"
        ids: Mapping[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return ids

    def keep_crm_ids(self, ids: Mapping[str, str]) -> None:
        """Remember that the CRM has its users."""
        (self.folder / "crm_ids.json").write_text(json.dumps(dict(ids)))

    def crm_port(self) -> int:
        """The CRM's port: the one of last time when it is free."""
        file = self.folder / "crm.port"
        if file.exists() and port_is_free(int(file.read_text())):
            return int(file.read_text())
        port = free_port()
        file.write_text(str(port))
        return port

    def write_settings(self, profile: str, port: int) -> Settings:
        """Settings for this start; keyring, certificate and database stay those of the first."""
        text = render_file(Start(f"http://127.0.0.1:{port}", profile, self.crm_url, self.console_url))
        for section, line in (
            (f"tenant.{TENANT}", "migrated = true"),  # whatever is in it came through the gateway
            ("database", f'folder = "{self._database_folder()}"'),
            ("gateway", f'listen = "127.0.0.1:{self.port}"'),
            ("console", f'listen = "127.0.0.1:{self.console_port}"'),
        ):
            text = text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)
        self.settings_file.write_text(text)
        settings = read_settings(self.settings_file)
        ensure_secrets(settings)
        return settings

    def _database_folder(self) -> Path:
        file = self.folder / "database.folder"
        if not file.exists():
            wanted = self.folder / "database"
            file.write_text(str(suitable_folder(wanted, f"demo-{secrets.token_hex(6)}")))
        return Path(file.read_text())


def make_certificate(settings: Settings) -> None:
    """The certificate of both listeners, so that seeding can trust it before the first browser comes."""
    open_certificate(settings, settings.gateway, utc_now())
