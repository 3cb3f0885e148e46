"""One incident as causes look at it: refusals by signal, links by rule, and the names that sentences use.

``Case`` is what all incidents of an analysis share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from evtx_analyzer import clock
from evtx_analyzer.clock import Moment
from evtx_analyzer.diagnose.wording import (
    _FROM_VIEW,
    _OF_REJECTION,
    delta,
    fill,
    handshake_names,
    issuer_text,
    operation_names,
    placeholders_of,
    store_names,
)
from evtx_analyzer.model.alike import Alike
from evtx_analyzer.model.certificate import Certificate
from evtx_analyzer.model.evidence import Context, Incident, Link, Operation, Rejection
from evtx_analyzer.model.findings import Coverage
from evtx_analyzer.model.handshake import Handshake
from evtx_analyzer.model.origin import Fields, Origin
from evtx_analyzer.model.stores import StoreChain
from evtx_analyzer.normalize import capi2
from evtx_analyzer.rules.definitions import ObservationKind
from evtx_analyzer.rules.placeholders import PLACEHOLDERS

IDENTITY = ("thumbprint", "subject")
PAIRED = ("same", "assumed")


def _no_view(rejection: Rejection) -> Fields:  # noqa: ARG001  the signature of ``Case.view``
    return {}


class Case(Struct, frozen=True, kw_only=True):
    """What the diagnosis looks at besides the incident itself.

    ``unread`` are the kinds of which the input holds logs, none of which could be read. ``settings`` are the places of
    exported objects by cmdlet, ``cut`` the cmdlets of which PowerShell cut an export. ``views`` hold, by id of a
    refusal, what sentences name of its session (``SHOWN_FIELDS``); ``view`` makes it for a folded refusal. ``tz`` is
    the zone of ``--tz``, None without that option. ``wire_facts`` are the facts of the handshakes that belong to a
    refusal, by id of the handshake. ``uncollected`` are pairs of a machine and what the collection script could not
    take there.
    """

    operations: Mapping[str, Operation]
    coverage: Sequence[Coverage]
    kinds: frozenset[str]
    unread: frozenset[str] = frozenset()
    settings: Mapping[str, Origin] = {}
    cut: frozenset[str] = frozenset()
    schannel: Mapping[str, Sequence[Context]] = {}
    views: Mapping[str, Fields] = {}
    view: Callable[[Rejection], Fields] = _no_view
    certificates: Mapping[str, Certificate] = {}
    handshakes: Sequence[Handshake] = ()
    wire_facts: Mapping[str, Fields] = {}
    tz: str | None = None
    stores: Sequence[StoreChain] = ()
    uncollected: Sequence[tuple[str, str]] = ()

    def view_of(self, rejection: Rejection) -> Fields:
        """Return what sentences name of the session of a refusal."""
        view = self.views.get(rejection.id)
        return self.view(rejection) if view is None else view


class Fact(Struct, frozen=True, kw_only=True):
    """What one sentence of evidence is about, with its place and time; only the facts that are shown are worded."""

    origin: Origin | None = None
    time: datetime | None = None
    link: Link | None = None
    operation: Operation | None = None
    rejection: Rejection | None = None
    handshake: Handshake | None = None
    store: StoreChain | None = None


class Scene:
    """An incident, prepared for the causes: its refusals are gone through once, not once for each cause."""

    def __init__(self, incident: Incident, case: Case) -> None:
        self.incident, self.case = incident, case
        self.sound = [link for link in incident.every_link if link.broken_by is None and link.basis in IDENTITY]
        self.first_link = next((link for link in incident.every_link if link.basis in IDENTITY), None)
        self._refused: dict[tuple[str, str], list[Fact]] = {}
        self._paired: dict[tuple[str, str], tuple[list[Fact], bool]] = {}
        self._texts: dict[tuple[object, ...], str] = {}
        self._views: dict[str, tuple[str, ...]] = {}
        self._equal: dict[tuple[str, ...], tuple[str, ...]] = {}

    @cached_property
    def hits(self) -> Mapping[str, list[Rejection]]:
        """The refusals that have each signal."""
        hits: dict[str, list[Rejection]] = {}
        for rejection in self.incident.rejections:
            for name in set(rejection.signals):
                hits.setdefault(name, []).append(rejection)
        return hits

    @cached_property
    def links(self) -> Mapping[str, list[Link]]:
        """The links that each rule made."""
        by_rule: dict[str, list[Link]] = {}
        for link in self.incident.every_link:
            by_rule.setdefault(link.rule, []).append(link)
        return by_rule

    @cached_property
    def free(self) -> frozenset[str]:
        """Ids of the checks that are joined by thumbprint on the same machine; only these may carry a grade freely."""
        return frozenset(
            link.operation for link in self.incident.every_link if link.basis == "thumbprint" and link.host in PAIRED
        )

    @cached_property
    def anchors(self) -> list[datetime]:
        """Times of the handshakes, in order; both readings of a time in the hour that a clock showed twice."""
        rejections = self.incident.rejections
        late = [each.other_time for each in rejections if each.time_basis == "ambiguous" and each.other_time]
        folded = (row.handshake_time or row.time for group in self.incident.alike for row in group.differing())
        return sorted([*(each.handshake_time or each.time for each in rejections), *late, *folded])

    @cached_property
    def handshakes(self) -> tuple[Handshake, ...]:
        """The handshakes of a network trace that belong, or may belong, to refusals of the incident."""
        ids = {rejection.id for rejection in self.incident.rejections}
        return tuple(handshake for handshake in self.case.handshakes if handshake.rejection in ids)

    @cached_property
    def shown(self) -> tuple[Handshake, ...]:
        """The handshakes of refused connections themselves that show all that the client sent."""
        return tuple(shown for shown in self.handshakes if self._holds(shown, "RefusedConnection", "Conclusive"))

    def _holds(self, handshake: Handshake, *fields: str) -> bool:
        facts = self.case.wire_facts.get(handshake.id, {})
        return all(facts.get(field) == ("true",) for field in fields)

    def on_wire(self, signal: str, kind: ObservationKind) -> tuple[list[Fact], bool]:
        """Return the handshakes with a signal as facts, and whether they are surely of refused connections.

        For ``every-handshake`` and ``some-handshakes`` only those count that show all of a refused connection: all of
        them must have the signal, or some of them and not all.
        """
        rejections = {rejection.id: rejection for rejection in self.incident.rejections}
        among = self.handshakes if kind == "handshake" else self.shown
        having = [shown for shown in among if signal in shown.signals]
        if kind != "handshake" and (len(having) == len(among)) != (kind == "every-handshake"):
            return [], False
        sure = [shown for shown in having if self._holds(shown, "RefusedConnection")]
        facts = [
            Fact(origin=shown.origin, time=shown.start, rejection=rejections[shown.rejection or ""], handshake=shown)
            for shown in sure or having
        ]
        return facts, bool(sure)

    def refused(self, signal: str, shown_by: str) -> list[Fact]:
        """Return the refusals with a signal as facts, without the folded ones, which ``folded`` returns.

        Their origin is that of ``shown_by``, where the case has such an export.
        """
        key = (signal, shown_by)
        if key not in self._refused:
            self._refused[key] = [self.fact(rejection, shown_by) for rejection in self.hits.get(signal, ())]
        return self._refused[key]

    def fact(self, rejection: Rejection, shown_by: str) -> Fact:
        """Return a refusal as a fact at the place of what shows it: its own row where ``shown_by`` is empty."""
        if shown_by == "earlier-sessions":
            return Fact(rejection=rejection)
        if shown_by == "schannel" and (event := self._nearest_event(rejection)) is not None:
            return Fact(origin=event.origin, time=event.first, rejection=rejection)
        origin = self.case.settings.get(shown_by) or rejection.origin
        return Fact(origin=origin, time=rejection.time, rejection=rejection)

    def _nearest_event(self, rejection: Rejection) -> Context | None:
        """Return the Schannel events of the refused machine that begin nearest to the handshake."""
        moment = rejection.handshake_time or rejection.time
        events = self.case.schannel.get(rejection.host, ())
        timed = [(abs(event.first - moment), event) for event in events if event.first]
        return min(timed, key=lambda pair: (pair[0], pair[1].code), default=(None, None))[1]

    def folded(self, signal: str) -> list[Alike]:
        """Return the folded refusals that have a signal."""
        return [group for group in self.incident.alike if signal in group.shared.signals]

    def paired(self, rule: str, kind: str) -> tuple[list[Fact], bool]:
        """Return the sound or broken links of a rule as facts, one per check, and whether one may carry any grade."""
        key = (rule, kind)
        if key not in self._paired:
            links = self.links.get(rule, [])
            sound = [link for link in links if link.broken_by is None]
            # Where one pair of the rule is sound, broken pairs of other sessions do not speak against it.
            wanted = sound if kind == "link" else ([] if sound else links)
            nearest = _nearest_per_operation(wanted)
            rejections = self._by_id({link.rejection for link in nearest})
            facts = []
            for link in nearest:
                check = self.case.operations[link.operation]
                place = link.broken_by if kind == "broken-link" else check.origin
                refused = rejections[link.rejection]
                facts.append(Fact(origin=place, time=check.time, link=link, operation=check, rejection=refused))
            free = any(link.basis == "thumbprint" and link.host in PAIRED for link in wanted)
            self._paired[key] = facts, free
        return self._paired[key]

    def _by_id(self, wanted: set[str]) -> dict[str, Rejection]:
        """Return refusals by their ids; folded ones are unpacked only if an id is still missing."""
        by_id = {rejection.id: rejection for rejection in self.incident.rejections if rejection.id in wanted}
        if len(by_id) < len(wanted):
            folded = (rejection for group in self.incident.alike for rejection in group.rejections())
            by_id |= {rejection.id: rejection for rejection in folded if rejection.id in wanted}
        return by_id

    @cached_property
    def stores(self) -> list[StoreChain]:
        """The chains that were built from stores for this incident."""
        return [store for store in self.case.stores if store.incident == self.incident.id]

    def stored(self, signal: str) -> tuple[list[Fact], bool]:
        """Return the chains from stores that have a signal as facts, and whether one may carry any grade.

        A chain that was chosen by a name, or comes from stores of an unknown machine, may not.
        """
        stores = [store for store in self.stores if signal in store.signals]
        free = any(store.host_relation in PAIRED and store.basis in ("sent", "connector") for store in stores)
        return [Fact(origin=store.origin, time=store.exported, store=store) for store in stores], free

    def worded(self, text: str, fact: Fact) -> str:
        """Return the sentence of a fact; refusals that agree in everything that it names share one text."""
        others = (fact.handshake, fact.link, fact.operation, fact.store)
        if fact.rejection is None or any(other is not None for other in others):
            return fill(text, self.names(fact))
        used = placeholders_of(text)
        values = [get(fact.rejection, {}) for name, get in _OF_REJECTION.items() if name in used]
        key = (text, *values, () if used.isdisjoint(_FROM_VIEW) else self._of_view(fact.rejection))
        if key not in self._texts:
            self._texts[key] = fill(text, self.names(fact))
        return self._texts[key]

    def _of_view(self, rejection: Rejection) -> tuple[str, ...]:
        """Return what sentences name of a session's view, in the order of ``_FROM_VIEW``.

        Equal tuples are held once: an outage has hundreds of thousands of refusals with the same view.
        """
        known = self._views.get(rejection.id)
        if known is None:
            view = self.case.view_of(rejection)
            values = tuple(_OF_REJECTION[name](rejection, view) for name in _FROM_VIEW)
            known = self._views[rejection.id] = self._equal.setdefault(values, values)
        return known

    def names(self, fact: Fact | None = None) -> dict[str, str]:
        """Return the values of all placeholders; an unknown one reads as an instruction to fill it in.

        Without a fact they are those of the first refusal and of the first check that is joined by more than time.
        """
        link = (fact.link if fact else None) or self.first_link
        operation = fact.operation if fact else None
        if operation is None and link is not None:
            operation = self.case.operations[link.operation]
        rejection = (fact.rejection if fact else None) or self.incident.rejections[0]
        certificate = self.incident.certificate
        known = self.case.certificates.get(certificate.thumbprint) if certificate else None
        view = self.case.view_of(rejection)
        # Without one of its own, a fact has the first handshake and the first chain of the incident.
        shown = (fact.handshake if fact else None) or next(iter(self.handshakes), None)
        store = (fact.store if fact else None) or next(iter(self.stores), None)
        return {
            **dict.fromkeys(PLACEHOLDERS, "?"),
            "accepted_since_handshake": "no message",
            **self._of_incident,
            **{name: get(rejection, view) for name, get in _OF_REJECTION.items()},
            **(operation_names(operation) if operation else {}),
            "missing_issuer": issuer_text(
                operation, self._last_element(operation) or known, certificate.issuer if certificate else ""
            ),
            **({"delta": delta(link, operation)} if link else {}),
            **(handshake_names(shown, self.case.wire_facts.get(shown.id, {})) if shown else {}),
            **(store_names(store) if store else {}),
        }

    def _last_element(self, operation: Operation | None) -> Certificate | None:
        """Return the certificate at which a chain stops, with all that files and other events show of it."""
        if operation is None or not operation.elements:
            return None
        last = operation.elements[-1].thumbprint
        return self.case.certificates.get(last) or Certificate(thumbprint=last, subject=operation.elements[-1].subject)

    @cached_property
    def _of_incident(self) -> dict[str, str]:
        incident = self.incident
        certificate = incident.certificate
        return {
            "host": incident.host or "<the sending server>",
            "connector": incident.connector or "<the connector>",
            "thumbprint": certificate.thumbprint if certificate else "<thumbprint of the SMTP certificate>",
            "subject": certificate.subject if certificate else "<subject of the SMTP certificate>",
            "issuer": certificate.issuer if certificate and certificate.issuer else "<the issuer of the certificate>",
            "start": clock.in_sentence(incident.start, incident.start_basis),
            "end": clock.in_sentence(incident.end, incident.end_basis),
            "refusal_times": clock.between(
                Moment(incident.start, incident.start_basis), Moment(incident.end, incident.end_basis)
            ),
            "refused": str(incident.rejection_count),
            "coverage": _coverage_text(self.case),
        }


def _nearest_per_operation(links: Sequence[Link]) -> list[Link]:
    nearest: dict[str, Link] = {}
    for link in sorted(links, key=lambda link: abs(link.delta_seconds)):
        nearest.setdefault(link.operation, link)
    return list(nearest.values())


def _coverage_text(case: Case) -> str:
    spans = [(span.first, span.last) for span in case.coverage if span.kind == capi2.KIND]
    texts = [clock.between(Moment(first), Moment(last)) for first, last in spans if first and last]
    return "; ".join(texts) or "no CAPI2 record"
