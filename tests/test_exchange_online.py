"""Names and addresses by which Exchange Online is recognized, and domains that every tenant has."""

from __future__ import annotations

import pytest

from evtx_analyzer.exchange_online import (
    is_host_name,
    is_initial_domain,
    is_private,
    is_remote_side,
    is_service_name,
    parse_address,
)
from evtx_analyzer.model.certificate import Certificate


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DB8EUR05FT032.mail.protection.outlook.com", True),
        ("contoso-com.mail.protection.outlook.com", True),
        ("mail.protection.outlook.com.", True),
        ("*.mail.protection.outlook.com", True),
        ("outlook.com", True),
        ("contoso-com.a-v1.mx.microsoft", True),  # MX of domains added from 2026-07
        ("x.office365.us", True),
        ("x.partner.outlook.cn", True),
        ("x.mail.protection.outlook.de", True),
        ("outlook.com.evil.example", False),
        ("notoutlook.com", False),
        ("mx.microsoft.com", False),
        ("microsoft.com", False),
        ("gw.contoso.com", False),
        ("", False),
    ],
)
def test_names_of_the_service(name, expected):
    assert is_service_name(name) is expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("contoso.onmicrosoft.com", True),
        ("contoso.mail.onmicrosoft.com", True),
        ("CONTOSO.ONMICROSOFT.US", True),
        ("contoso.partner.onmschina.cn", True),
        ("contoso.com", False),
        ("onmicrosoft.com.example", False),
        ("xonmicrosoft.com", False),
    ],
)
def test_initial_domains(domain, expected):
    assert is_initial_domain(domain) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gw.contoso.com", True),
        ("gw.contoso.com.", True),
        ("x.xn--p1ai", True),
        ("2.0.0", False),
        ("203.0.113.7", False),
        ("ready", False),
        ("****", False),
        ("**.***.**", False),
        ("", False),
    ],
)
def test_host_names(name, expected):
    assert is_host_name(name) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.20.30.40:25", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("169.254.1.1", True),
        ("127.0.0.1:25", True),
        ("[fd00::1]:25", True),
        ("fe80::1", True),
        ("[2001:db8::1]:25", False),
        ("203.0.113.7", False),  # a documentation network stands for a public address
        ("216.32.181.234:25", False),
        ("x.x.x.x:25", False),
        ("", False),
    ],
)
def test_private_addresses(address, expected):
    assert is_private(address) is expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("192.0.2.1:25", "192.0.2.1"),
        ("[2001:db8::1]:25", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("host:25", None),
    ],
)
def test_addresses_with_and_without_a_port(endpoint, expected):
    address = parse_address(endpoint)
    assert (address and str(address)) == expected


def certificate(*names):
    return Certificate(subject=f"CN={names[0]}, O=x", alternate_names=names)


@pytest.mark.parametrize(
    ("banner", "received", "remote", "expected"),
    [
        ("x.mail.protection.outlook.com", certificate("mail.protection.outlook.com"), "216.32.181.234:25", True),
        ("x.mail.protection.outlook.com", None, "10.1.1.1:25", True),  # a static translation
        ("x.mail.protection.outlook.com", certificate("inspection.contoso.com"), "216.32.181.234:25", False),
        ("gw.contoso.com", certificate("gw.contoso.com", "mail.protection.outlook.com"), "10.1.1.1:25", True),
        ("gw.contoso.com", None, "216.32.181.234:25", False),
        ("", None, "10.1.1.1:25", False),
        ("", None, "216.32.181.234:25", None),
        ("2.0.0", None, "216.32.181.234:25", None),
    ],
)
def test_the_remote_side(banner, received, remote, expected):
    assert is_remote_side(banner, received, remote) is expected
