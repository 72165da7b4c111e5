"""A directory server of documented shapes, and of broken ones: what no real server here says on demand.

Not an Active Directory: it speaks LDAP (sansldap) and answers a failed bind with the texts that Active Directory is
documented to send (result 49, "AcceptSecurityContext error, data 52e, v4563"), a search below a root with references
first, an objectGUID as 16 bytes. `mode` says what else goes wrong. It runs in threads of the test's own process.
"""

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from sansldap import (
    BindRequest,
    ExtendedRequest,
    LDAPMessage,
    LDAPResultCode,
    LDAPServer,
    PartialAttribute,
    SearchRequest,
    SimpleCredential,
)

GUID = uuid.UUID("6f2d1e0c-0000-4000-8000-0000000000aa")
OWN_DN, OWN_SECRET = "CN=crmgate,DC=ad,DC=example", "own-secret-4-tests"
PERSON_DN = "CN=Li Si,OU=Staff,DC=ad,DC=example"
PASSWORD = "Ad-password-4-tests"
RAW = {
    "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "huge": b"\x30\x84\x7f\xff\xff\xff",
    "indefinite": b"\x30\x80\x02\x01\x01",
    "deep": b"\x30\x81\xfa" + b"\x30\x81\xf0" * 50 + b"\x00" * 100,
    "zeros": b"\x00" * 4096,
    "foreign-id": b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00",  # a success nobody asked for
}
"""What is sent instead of the answer to the first question."""
# A bind's success as message 2, hidden behind the answer to StartTLS.
_INJECTED = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"


@dataclass(slots=True)
class BentDirectory:
    """The running server. binds: (DN, password) of every bind that reached it; data: sub-code for wrong passwords."""

    port: int
    mode: str = ""
    data: str = "52e"
    code: LDAPResultCode = LDAPResultCode.INVALID_CREDENTIALS
    entries: int = 1
    dn: str = PERSON_DN
    binds: list[tuple[str, str]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"ldap://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        """Answer one client until it hangs up."""
        server = LDAPServer()
        with connection, contextlib.suppress(OSError):
            while received := connection.recv(65536):
                for message in server.receive(received):
                    if not self._answer(connection, server, message):
                        return
                    connection.sendall(server.data_to_send())

    def _answer(self, connection: socket.socket, server: LDAPServer, message: LDAPMessage) -> bool:
        if self.mode in RAW:
            connection.sendall(RAW[self.mode])
            self.let_go.wait()
            return False
        if self.mode == "hang":
            self.let_go.wait()
            return False
        if self.mode == "drip":
            connection.sendall(b"\x30\x82\xff\xff")
            while not self.let_go.wait(0.02):
                connection.sendall(b"\x00")
            return False
        if isinstance(message, BindRequest):
            return self._bind(server, message)
        if isinstance(message, SearchRequest):
            self._search(server, message)
        elif isinstance(message, ExtendedRequest):
            return self._start_tls(connection, server, message)
        return True

    def _start_tls(self, connection: socket.socket, server: LDAPServer, message: ExtendedRequest) -> bool:
        if self.mode == "inject":
            server.extended_response(message.message_id)
            connection.sendall(server.data_to_send() + _INJECTED)
            while received := connection.recv(65536):  # a handshake, or what a client without TLS would send now
                self.binds.append(("after StartTLS", received.hex()))
            return False
        server.extended_response(message.message_id, result_code=LDAPResultCode.PROTOCOL_ERROR)
        return True

    def _search(self, server: LDAPServer, message: SearchRequest) -> None:
        if self.mode == "endless":
            for _ in range(100):
                server.search_result_reference(message.message_id, ["ldap://elsewhere.ad.example/DC=ad"])
            return
        server.search_result_reference(message.message_id, ["ldap://ForestDnsZones.ad.example/DC=ForestDnsZones"])
        for _ in range(self.entries):
            attribute = PartialAttribute("objectGUID", [GUID.bytes_le])
            server.search_result_entry(message.message_id, self.dn, [attribute])
        server.search_result_reference(message.message_id, ["ldap://ad.example/CN=Configuration"])
        server.search_result_done(message.message_id)

    def _bind(self, server: LDAPServer, message: BindRequest) -> bool:
        assert isinstance(message.authentication, SimpleCredential)
        password = message.authentication.password
        self.binds.append((message.name, password))
        if (message.name, password) == (OWN_DN, OWN_SECRET):
            server.bind_response(message.message_id)
            return True
        if self.mode == "hang-at-password":
            self.let_go.wait()
            return False
        if self.mode == "cut-at-password":
            return False
        if self.mode == "right" and password == PASSWORD:
            server.bind_response(message.message_id)
            return True
        told = f"80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data {self.data}, v4563\x00"
        server.bind_response(message.message_id, result_code=self.code, diagnostics_message=told)
        return True


@contextlib.contextmanager
def bent_directory(mode: str = "") -> Iterator[BentDirectory]:
    """A running one on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = BentDirectory(listener.getsockname()[1], mode)
        accepting = threading.Thread(target=_accept, args=(listener, server), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.let_go.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, server: BentDirectory) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=server.serve, args=(connection,), daemon=True).start()
