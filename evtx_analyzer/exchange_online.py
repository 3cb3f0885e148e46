"""How Exchange Online is recognized in a session, and which domains are a tenant's own.

Names: front ends and certificates of the worldwide service lie under outlook.com and office365.com, those of the
sovereign clouds under office365.us, partner.outlook.cn and (closed) outlook.de, MX records of new domains under
mx.microsoft. A tenant always has its initial domain, ``NAME.onmicrosoft.com`` or its equal in a sovereign cloud.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from evtx_analyzer.distinguished_names import certificate_names
from evtx_analyzer.model.certificate import Certificate

_SERVICE = (
    "outlook.com",
    "office365.com",
    "office365.us",
    "mx.microsoft",
    "partner.outlook.cn",
    "outlook.de",
    "exchangelabs.com",
)
_INITIAL = ("onmicrosoft.com", "onmicrosoft.us", "onmicrosoft.de", "partner.onmschina.cn")


def is_service_name(name: str) -> bool:
    """Return whether a host or certificate name is one of Exchange Online's own."""
    return below(name, _SERVICE)


def is_service_address(address: str) -> bool:
    """Return whether an address, with or without a port, is one to which Exchange Online's mail servers answer."""
    return _inside(address, _SERVICE_NETWORKS)


def is_host_name(name: str) -> bool:
    """Return whether a word is a host's name with a domain, not a greeting, an address or a status like ``2.0.0``."""
    return "." in name and any(letter.isalpha() for letter in name.rstrip(".").rpartition(".")[2])


def is_initial_domain(domain: str) -> bool:
    """Return whether a domain is one that every tenant gets (``contoso.onmicrosoft.com``) or lies below it."""
    return below(domain, _INITIAL)


def is_remote_side(banner_name: str, received: Certificate | None, remote: str) -> bool | None:
    """Return whether a session's remote side is Exchange Online; None if nothing shows it.

    The names in the certificate received decide, if the log shows them: TLS inspection passes the banner on, but not
    the certificate. Next comes the host name in the banner. If a firewall masks that (``220 ****``), a private
    ``remote`` address still shows that it is not Exchange Online.
    """
    names = certificate_names(received) if received is not None else set()
    if names:
        return any(is_service_name(name) for name in names)
    if is_host_name(banner_name):
        return is_service_name(banner_name)
    return False if is_private(remote) else None


def is_private(address: str) -> bool:
    """Return whether an address, with or without a port, is private, shared, link-local or loopback.

    The networks are those of RFC 1918, RFC 4193, RFC 6598, RFC 3927 and RFC 1122.
    """
    return _inside(address, _PRIVATE)


def _inside(address: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks if network.version == parsed.version)


def parse_address(endpoint: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address of ``192.0.2.1``, ``192.0.2.1:25`` or ``[2001:db8::1]:25``; None if it cannot be parsed.

    An IPv4 address that is mapped to IPv6 (``::ffff:192.0.2.1``, RFC 4291) is the IPv4 address.
    """
    text = endpoint.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# ``is_private`` of the standard library also holds for documentation networks (RFC 5737), which samples use as public.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)


# "Microsoft 365 URLs and IP address ranges", Exchange Online, *.mail.protection.outlook.com, TCP 25.
_SERVICE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "40.92.0.0/15",
        "40.107.0.0/16",
        "52.100.0.0/14",
        "104.47.0.0/17",
        "2a01:111:f400::/48",
        "2a01:111:f403::/48",
    )
)


def below(name: str, domains: Iterable[str]) -> bool:
    """Return whether a name, perhaps a pattern (``*.outlook.com``), is one of the domains or lies below one."""
    folded = name.strip().rstrip(".").casefold()
    return any(f".{folded}".endswith(f".{domain}") for domain in domains)
