"""The fields of the view ``certificate-store``, a chain that was built from stores; docs/rules.md lists them.

A store shows the state at the time of its export, and no field claims anything about the time of the refusals. A field
is absent where its value is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from evtx_analyzer.correlate.fields import Field
from evtx_analyzer.distinguished_names import common_name, has_domain_component
from evtx_analyzer.model.evidence import PASSED, HostRelation, Incident, Operation
from evtx_analyzer.model.stores import StoreChain
from evtx_analyzer.public_roots import is_public_root
from evtx_analyzer.stores.assemble import MACHINE, StoreContents
from evtx_analyzer.stores.chain import TRUSTED, Held, Pool, is_self_signed

VIEW = "certificate-store"
CA, _MY = f"{MACHINE}\\CA", f"{MACHINE}\\My"
_PLACES_OF_INTERMEDIATES = frozenset({CA, _MY})
_DAY = timedelta(days=1)


class StoreView(Struct, frozen=True, kw_only=True):
    """A chain with everything that its fields need; ``only`` is whether no other certificate is in question."""

    chain: StoreChain
    held: tuple[Held, ...]
    machine: StoresOfMachine
    operations: Sequence[Operation]
    only: bool

    @property
    def incident(self) -> Incident:
        """The incident whose certificate is in question."""
        return self.machine.incident

    @property
    def leaf(self) -> Held:
        """The certificate in question."""
        return self.held[0]

    @property
    def root(self) -> Held | None:
        """The root of a complete chain; None where the chain is incomplete, or the leaf is self-signed."""
        return self.held[-1] if self.chain.result == "complete" and len(self.held) > 1 else None


class StoresOfMachine(Struct, frozen=True):
    """The stores of the machine of an incident; ``hosts`` is how certain it is that they belong to this machine."""

    incident: Incident
    hosts: HostRelation
    contents: Sequence[StoreContents]
    stores: Pool

    @property
    def exported(self) -> datetime | None:
        """The time of the last export, aware UTC; None where the time of any of them is not known."""
        times = [content.store.exported for content in self.contents]
        return None if None in times else max(time for time in times if time is not None)


# ------------------------------------------------------------------------------------------------------------- fields


def _exported(view: StoreView) -> str | None:
    """Return whether the export was made more than a day before the refusals, more than a day after them, or around."""
    time, incident = view.chain.exported, view.incident
    if time is None or incident.unknown_zone_count:
        return None
    if time < incident.start - _DAY:
        return "before"
    return "after" if time > incident.end + _DAY else "around"


def _private(view: StoreView) -> bool | None:
    """Return True where the name of the missing issuer may be that of a company's own root; None where it is not."""
    missing = view.chain.missing_issuer
    if missing is None or view.chain.missing_issuer_role == "intermediate":
        return None
    rooted = "root" in common_name(missing.subject).casefold().replace("-", " ").split()
    return True if rooted or has_domain_component(missing.subject) else None


def _misplaced(view: StoreView) -> list[str]:
    """Return the stores of those intermediates that are neither in CA nor in My."""
    between = [held for held in view.held[1:] if not is_self_signed(held.certificate)]
    misplaced = [held for held in between if not _PLACES_OF_INTERMEDIATES & set(held.stores)]
    return sorted({store for held in misplaced for store in held.stores})


def _expired(held: Held, incident: Incident) -> bool | None:
    """Return whether a certificate had expired before the first refusal; None where that is not certain."""
    last, first_refusal = held.certificate.not_after, incident.start
    if incident.unknown_zone_count:
        return None
    if last is not None:
        return last < first_refusal
    day = held.entry.last_day if held.entry is not None else None
    if day is None:
        return None
    # The zone of the day is not known, so it may begin and end a day earlier or later.
    if day + _DAY < first_refusal.date():
        return True
    return False if day - _DAY > incident.end.date() else None


def _last_check(view: StoreView) -> str | None:
    """Return how the last check of the certificate on this machine up to the last refusal ended; None without one."""
    chain, end = view.chain, view.incident.end
    of_machine = (check for check in view.operations if check.host == chain.host and check.time <= end)
    of_leaf = [check for check in of_machine if check.thumbprint == chain.thumbprint and check.policy and check.result]
    if not of_leaf:
        return None
    return "passed" if max(of_leaf, key=lambda check: check.time).result == PASSED else "failed"


def _is_public(held: Held | None) -> bool:
    return held is not None and is_public_root(held.certificate.subject, held.certificate.subject_key_id)


def _trusted(view: StoreView) -> bool | None:
    """Return whether the root of a complete chain is trusted; None for an absent public root: Windows may fetch it."""
    if view.root is None:
        return None
    if TRUSTED & set(view.root.stores):
        return True
    return False if view.machine.stores.whole >= TRUSTED and not _is_public(view.root) else None


def _private_root(view: StoreView) -> bool | None:
    root = view.root
    private = root is not None and not _is_public(root) and has_domain_component(root.certificate.subject)
    return True if private and _trusted(view) else None


def _in_my(view: StoreView) -> bool | None:
    stores = view.leaf.stores
    return _MY in stores if stores or _MY in view.machine.stores.whole else None


def _self_signed(view: StoreView) -> bool | None:
    certificate = view.leaf.certificate
    return is_self_signed(certificate) if certificate.subject and certificate.issuer else None


FIELDS = (
    Field("Computer", "the machine of the refusals", lambda view: view.chain.host),
    Field("Thumbprint", "SHA-1 of the certificate in question", lambda view: view.chain.thumbprint),
    Field("Subject", "its subject", lambda view: view.chain.subject),
    Field(
        "Basis",
        "why it: `sent`, `check` (CAPI2), `connector` (the Send connector names it), `name` (IIS: the server's name)",
        lambda view: view.chain.basis,
    ),
    Field("OnlyCandidate", "`true` where no other certificate is in question", lambda view: view.only or None),
    Field("Exported", "`before`, `around` or `after` the refusals; only where a manifest tells the time", _exported),
    Field("WholeStore", "stores that were exported whole", lambda view: sorted(view.machine.stores.whole)),
    Field(
        "Chain",
        "`complete`, `issuer-absent` (LocalMachine\\CA was exported whole), `unknown`",
        lambda view: view.chain.result,
    ),
    Field("Elements", "number of certificates in the chain", lambda view: str(len(view.held))),
    Field("MissingIssuer", "`root`, `intermediate`, `unknown`", lambda view: view.chain.missing_issuer_role),
    Field(
        "MissingIssuerName",
        "subject of the missing issuer",
        lambda view: getattr(view.chain.missing_issuer, "subject", None),
    ),
    Field("MissingIssuerPrivate", "`true` where its name may be that of a company's own root", _private),
    Field("MissingIssuerElsewhere", "stores of a user that hold it", lambda view: view.chain.elsewhere),
    Field("IntermediateIn", "stores of intermediates that lie neither in CA nor in My", _misplaced),
    Field(
        "IntermediateExpired",
        "intermediates that had expired before the first refusal",
        lambda view: [held.certificate.subject for held in view.held[1:] if _expired(held, view.incident)],
    ),
    Field(
        "SameName", "other certificates of LocalMachine\\My with one of its names", lambda view: view.chain.same_name
    ),
    Field(
        "LastCheck", "`passed`, `failed`: its last check by CAPI2 on this machine, up to the last refusal", _last_check
    ),
    Field("InMy", "whether LocalMachine\\My holds it", _in_my),
    Field("SelfSigned", "whether it is its own issuer", _self_signed),
    Field(
        "Expired", "whether it had expired before the first refusal", lambda view: _expired(view.leaf, view.incident)
    ),
    Field("HasPrivateKey", "whether there is a private key", lambda view: getattr(view.chain.key, "present", None)),
    Field(
        "KeyTest", "`passed`, `failed`: certutil's test of the key", lambda view: getattr(view.chain.key, "test", None)
    ),
    Field("KeyProvider", "provider of the key", lambda view: getattr(view.chain.key, "provider", None)),
    Field("KeySpec", "`AT_KEYEXCHANGE`, `AT_SIGNATURE`, `0`", lambda view: getattr(view.chain.key, "key_spec", None)),
    Field("Root", "subject of the root", lambda view: view.root.certificate.subject if view.root else None),
    Field("RootPublic", "`true` where it is a public root", lambda view: _is_public(view.root) or None),
    Field("RootTrusted", "whether Root or AuthRoot holds it; both exported whole where not", _trusted),
    Field("RootPrivate", "`true` where it is trusted here and has domain components in its name", _private_root),
)
