"""A real OpenLDAP server of its own: Debian's slapd as a process on free ports; data, CA and people in a folder.

No service of the system is started or touched. The binary is copied first, since a confinement by path (AppArmor on
Ubuntu) would keep it from a configuration outside /etc/ldap. It takes simple binds under TLS only, and locks an entry
after five wrong passwords, as companies' directories do. It logs what it is asked (never passwords) into `log`.
"""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo.children import free_port
from tests.real.certificates import Authority

SLAPD = Path("/usr/sbin/slapd")
BASE = "dc=corp,dc=example"
OWN_DN = f"cn=crmgate,{BASE}"
OWN_SECRET = "reader-secret-4-tests"
FILTER = "(&(objectClass=person)(uid={login}))"
PASSWORDS: Mapping[str, str] = {
    "zhao.sales": "Zhao-directory-4-tests",
    "qian.sales": "Qian-directory-4-tests",
    "sun.sales": "Sun-directory-4-tests",
}
IDS: Mapping[str, str] = {
    "zhao.sales": "4b7d0c1e-0000-4000-8000-00000000000a",
    "qian.sales": "4b7d0c1e-0000-4000-8000-00000000000b",
    "sun.sales": "4b7d0c1e-0000-4000-8000-00000000000c",
    "no.password": "4b7d0c1e-0000-4000-8000-00000000000d",
}
WRONG_BEFORE_LOCK = 5
START_S = 120.0
_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {folder}/slapd.pid
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
TLSProtocolMin 3.3
security simple_bind=112
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
directory {folder}/data
overlay ppolicy
ppolicy_default "cn=usual,{base}"
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{own}" read by * none
"""
_LDIF = """
dn: {base}
objectClass: dcObject
objectClass: organization
dc: corp
o: Corp

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=guests,{base}
objectClass: organizationalUnit
ou: guests

dn: cn=usual,{base}
objectClass: pwdPolicy
objectClass: device
cn: usual
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: {failures}

dn: {own}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: crmgate
userPassword: {secret}

dn: uid=twin,ou=people,{base}
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: Twin
userPassword: Twin-directory-4-tests

dn: uid=twin,ou=guests,{base}
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: Twin
userPassword: Twin-directory-4-tests

dn: uid=no.password,ou=people,{base}
objectClass: inetOrgPerson
uid: no.password
cn: None
sn: None
entryUUID: {without}
"""
_PERSON = """
dn: uid={login},ou=people,{base}
objectClass: inetOrgPerson
uid: {login}
cn: {login}
sn: {login}
mail: {login}@corp.example
userPassword: {password}
entryUUID: {id}
"""


@dataclass(slots=True)
class Slapd:
    """The running server. other_ca: an authority that has nothing to do with it; secret_file: crmgate's own secret."""

    folder: Path
    authority: Authority
    port: int
    tls_port: int
    other_ca: Path
    secret_file: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def ca(self) -> Path:
        """PEM file of the authority that vouches for it."""
        return self.authority.ca

    @property
    def tls_url(self) -> str:
        """TLS from the first byte."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def start_tls_url(self) -> str:
        """StartTLS."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it wrote about what it was asked."""
        return (self.folder / "out").read_text()

    def start(self) -> None:
        """Start it and wait until it answers; 127.0.0.2 is a name its certificate does not have."""
        listen = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port} ldaps://127.0.0.2:{self.tls_port}"
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [self.folder / "slapd", "-h", listen, "-f", self.folder / "slapd.conf", "-d", "stats"],
                stdout=out,
                stderr=out,
            )
        until = time.monotonic() + START_S
        while True:
            assert self.process.poll() is None, (self.folder / "out").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), timeout=1):
                return
            assert time.monotonic() < until, "slapd does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it; nothing listens afterwards."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_S)
            self.process = None


@contextlib.contextmanager
def slapd() -> Iterator[Slapd]:
    """A running server with its people; ended and removed afterwards."""
    assert SLAPD.exists(), "slapd is missing: make system"
    folder = Path(tempfile.mkdtemp(prefix="crmgate-test-slapd-"))
    try:
        shutil.copy(SLAPD, folder / "slapd")
        (folder / "data").mkdir()
        (folder / "other").mkdir()
        authority, other = Authority(folder), Authority(folder / "other")
        pair = authority.pair("slapd")
        secret = folder / "secret"
        secret.write_text(OWN_SECRET + "\n")
        (folder / "slapd.conf").write_text(
            _CONF.format(
                folder=folder, base=BASE, own=OWN_DN, ca=authority.ca, certificate=pair.certificate, key=pair.key
            )
        )
        ldif = _LDIF.format(
            base=BASE, own=OWN_DN, secret=OWN_SECRET, failures=WRONG_BEFORE_LOCK, without=IDS["no.password"]
        )
        ldif += "".join(
            _PERSON.format(login=login, base=BASE, password=password, id=IDS[login])
            for login, password in PASSWORDS.items()
        )
        (folder / "people.ldif").write_text(ldif)
        subprocess.run(
            [folder / "slapd", "-T", "a", "-f", folder / "slapd.conf", "-l", folder / "people.ldif"],
            check=True,
            capture_output=True,
        )
        server = Slapd(folder, authority, free_port(), free_port(), other.ca, secret)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
