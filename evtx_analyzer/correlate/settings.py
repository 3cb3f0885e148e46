"""Values of exported configuration objects, as Format-List, JSON or Clixml write them."""

from __future__ import annotations

import ipaddress
import re

from evtx_analyzer.exchange_online import parse_address
from evtx_analyzer.model.events import Setting


def inside(address: str, scope: str) -> bool | None:
    """Return whether ``scope`` (an address or a CIDR range) holds an address; None if either cannot be parsed."""
    seen = parse_address(address)
    try:
        return None if seen is None else seen in ipaddress.ip_network(scope, strict=False)
    except ValueError:
        return None


def listed(value: str) -> list[str]:
    """Return the entries of a list as Format-List, JSON or Clixml write it."""
    return [part for part in re.split(r"[,;\s]+", value.strip().strip("{}")) if part]


def same_text(left: str, right: str) -> bool:
    """Return whether two texts are the same but for case and surrounding blanks."""
    return left.strip().casefold() == right.strip().casefold()


def named_value(setting: Setting, name: str) -> str:
    """Return the name of an enumeration's value; empty if only its number is exported, as ``ConvertTo-Json`` does."""
    value = setting.values.get(name, "").strip()
    return "" if value.lstrip("-").isdecimal() else value
