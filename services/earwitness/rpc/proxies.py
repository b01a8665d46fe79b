"""Which HTTP proxy of the environment stands between us and a server: none to this machine; errors name others.

gRPC takes the first of `grpc_proxy`, `https_proxy` and `http_proxy` that is set, in lower case, for all hosts but those
of `no_grpc_proxy` or `no_proxy`: for 127.0.0.1 too. Here what is on this machine is asked without, and `NO_PROXY` and
`*` hold, as they do elsewhere.
"""

import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
"""The first of each that is set holds."""
LOCAL_SCHEMES = ("unix", "unix-abstract", "vsock")
LOOPBACK = "localhost,127.0.0.1,::1"
"""For the `no_proxy` of programs of others."""
_SCHEME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock):(?://[^/]*/)?(.+)")


def proxy_options(target: str) -> list[tuple[str, Any]]:
    """Options of a channel to `target`, an address as gRPC takes them: those that keep it from a proxy."""
    return [] if _proxy_of(target) else [("grpc.enable_http_proxy", 0)]


def told(target: str) -> str:
    """What to add to the words for a failed call to a `target` that is asked through a proxy; "" where it is not."""
    found = _proxy_of(target)
    return _words(*found, ",".join(_hosts(target))) if found else ""


def past_proxy(url: str) -> bool:
    """True for an HTTP URL that is asked without any proxy, for its server is on this machine."""
    return on_this_machine(urlsplit(url).hostname or "")


def told_of_url(url: str) -> str:
    """The same as `told` for an HTTP URL, for which other variables hold."""
    parts = urlsplit(url)
    host, proxy = parts.hostname or "", getproxies().get(parts.scheme)
    if not proxy or on_this_machine(host) or proxy_bypass(host):
        return ""
    return _words(f"{parts.scheme}_proxy", proxy, host)


def on_this_machine(host: str) -> bool:
    """True for localhost, and for any address that this machine has."""
    name = host.strip("[]").rstrip(".").lower()
    if name in ("localhost", "ip6-localhost", "ip6-loopback") or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    with suppress(OSError), socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
        probe.bind((name, 0))  # only an address of this machine can be
        return True
    return False


def _proxy_of(target: str) -> tuple[str, str] | None:
    """The variable that holds and the proxy that it names; None where the target is reached without."""
    variable = next((name for name in VARIABLES if name in os.environ), None)
    if variable is None or urlsplit(os.environ[variable]).scheme != "http":  # gRPC passes over all other kinds
        return None
    hosts = _hosts(target)
    if all(on_this_machine(host) or _excepted(host) for host in hosts):
        return None
    return variable, os.environ[variable]


def _hosts(target: str) -> Sequence[str]:
    """The hosts of an address of gRPC's, which may be several; none for a socket in the file system."""
    scheme = _SCHEME.fullmatch(target)
    if scheme is None:
        return [target.rpartition(":")[0].strip("[]") or target]
    kind, rest = scheme.groups()
    return [] if kind in LOCAL_SCHEMES else [each.rpartition(":")[0].strip("[]") or each for each in rest.split(",")]


def _excepted(host: str) -> bool:
    """True for a host that the environment keeps from proxies: by name, domain, address or network, or with all."""
    listed = next((os.environ[name] for name in EXCEPTIONS if name in os.environ), "")
    for entry in (each.strip().lower() for each in listed.split(",")):
        domain = entry.lstrip("*").lstrip(".")
        if entry == "*" or (domain and (host.lower() == domain or host.lower().endswith(f".{domain}"))):
            return True
        with suppress(ValueError):
            if ip_address(host) in ip_network(entry, strict=False):
                return True
    return False


def _words(variable: str, proxy: str, hosts: str) -> str:
    parts = urlsplit(proxy)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # never its password
    return f"; it is asked through the proxy {shown} ({variable}): for a server that needs none, set no_proxy={hosts}"
