"""What certificate stores held when they were exported. The names are the JSON contract, as those in ``evidence``."""

from __future__ import annotations

from msgspec import Struct

from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.origin import Origin


class Store(Struct, frozen=True, kw_only=True):
    """One certificate store of one machine: ``name`` is that of Windows (``My``, ``CA``, ``Root``, ``AuthRoot``)."""

    name: str
    host: str
    certificates: tuple[Certificate, ...]
    origin: Origin
