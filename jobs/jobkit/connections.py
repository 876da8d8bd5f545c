"""Connections to strangers' hosts: only to addresses that were checked, and kept open between the rows of one host.

A host's addresses are resolved once for each connection, checked, and the connection goes to the checked address
itself, so a name cannot change its meaning in between. Refused: loopback, private, link-local (the metadata server),
multicast and reserved addresses, in whatever form they are written. With `allow_private` loopback and private networks
are open; link-local stays closed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple, Self

MAX_IDLE = 64  # connections kept for the next row, of all hosts together
MAX_IDLE_S = 20.0  # servers close what idles longer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefusedError(Exception):
    """The host has an address where no fetch may go."""


class UnresolvedError(OSError):
    """The host's name has no address, perhaps only now."""


class Origin(NamedTuple):
    """Whom a connection speaks to."""

    secure: bool
    host: str
    port: int


class Connections:
    """Open connections, reused by whoever asks for the same host next. Safe in threads; a context manager."""

    def __init__(self, *, allow_private: bool, timeout_s: float, max_idle: int = MAX_IDLE) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._max_idle = max_idle
        self._idle: OrderedDict[int, tuple[float, Origin, http.client.HTTPConnection]] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes what idles. The object can be used again."""
        with self._lock:
            idle, self._idle = self._idle, OrderedDict()
        for _, _, connection in idle.values():
            connection.close()

    def idle(self, origin: Origin) -> http.client.HTTPConnection | None:
        """A connection to the host that was used before; None where there is none."""
        with self._lock:
            for key in reversed(self._idle):
                since, known, connection = self._idle[key]
                if known == origin:
                    del self._idle[key]
                    break
            else:
                return None
        if time.monotonic() - since <= MAX_IDLE_S:
            return connection
        connection.close()
        return None

    def fresh(self, origin: Origin) -> http.client.HTTPConnection:
        """A new connection, not yet open. Raises AddressRefusedError and UnresolvedError."""
        address = checked_address(origin.host, origin.port, allow_private=self._allow_private)
        kind = _PinnedHttps if origin.secure else _PinnedHttp
        return kind(origin.host, origin.port, address, self._timeout_s)

    def keep(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        """Takes back a connection whose answer was read to its end; the oldest goes where too many idle."""
        surplus = None
        with self._lock:
            self._idle[id(connection)] = time.monotonic(), origin, connection
            if len(self._idle) > self._max_idle:
                _, (_, _, surplus) = self._idle.popitem(last=False)
        if surplus is not None:
            surplus.close()


def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """One address of the host, after all of them were checked. Raises AddressRefusedError and UnresolvedError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnresolvedError("the host's name cannot be resolved") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if not is_allowed(ipaddress.ip_address(address), allow_private):
            raise AddressRefusedError("the URL points to an address that is not public")
    if not addresses:
        raise UnresolvedError("the host's name has no address")
    return addresses[0]


def is_allowed(address: Address, allow_private: bool) -> bool:
    """Whether a fetch may go there; an IPv4 address inside an IPv6 one is judged as what it is."""
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, allow_private)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_global:
        return True
    return allow_private and (address.is_loopback or address.is_private)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside a mapped, 6to4, NAT64 (64:ff9b::/96) or IPv4-compatible IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and int(address) >> 32 in (0x0064FF9B << 64, 0) and int(address) > 1:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _PinnedHttp(http.client.HTTPConnection):
    """Connects to an address that was checked, while Host stays the name."""

    def __init__(self, host: str, port: int, address: str, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _PinnedHttps(_PinnedHttp):
    """The same over TLS; the certificate must be the name's."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = _tls().wrap_socket(self.sock, server_hostname=self.host)
