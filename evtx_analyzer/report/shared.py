"""What several outputs show in the same way: rows of tables, and lines that say what a picture or table leaves out."""

from __future__ import annotations

from evtx_analyzer import clock
from evtx_analyzer.model.evidence import CommonTrait, Context, Incident, OtherError, ReplyText
from evtx_analyzer.model.findings import Coverage, RepairResult
from evtx_analyzer.model.handshake import Handshake, WireCertificate
from evtx_analyzer.model.origin import display_name
from evtx_analyzer.model.stores import Store
from evtx_analyzer.normalize.kinds import TITLES
from evtx_analyzer.report.bounds import LISTED_WHOLE
from evtx_analyzer.report.document import Report
from evtx_analyzer.report.language import Language
from evtx_analyzer.report.merged import place_text
from evtx_analyzer.report.pairs import Pair
from evtx_analyzer.report.timeline import Lane
from evtx_analyzer.report.times import clock_time, difference, limit_cells, moment, span_times, when
from evtx_analyzer.smtp.replies import joined

COMMON_TITLES = ("trait", "refusals", "accepted messages with it", "what it says")
HANDSHAKE_TITLES = ("time (UTC)", "connection", "TLS", "certificate asked for", "sent", "received", "alert", "refusal")
_FAR = 60.0  # seconds
_AHEAD = "The clock of $host stands $span ahead of the remote side's; times are shown as logged."
_BEHIND = "The clock of $host stands $span behind the remote side's; times are shown as logged."
STORE_TITLES = ("host", "store", "certificates", "file")
STORES = {"My": "personal", "CA": "intermediate authorities", "Root": "trusted roots", "AuthRoot": "third-party roots"}
REPAIRS: dict[RepairResult, str] = {
    "fixed": "The fix has worked: what the cause names has changed, and mail to outside recipients is accepted again.",
    "still-refused": "Mail is still refused.",
    "not-shown": "Neither is shown: that the fix has worked, or that mail is still refused.",
}
KIND_TITLES = {
    **TITLES,
    "certificate-store": "certificate store",
    "collector-manifest": "the collector's manifest",
    "network-trace": "network trace",
    "unknown": "unknown",
}
TRAITS = {
    "null-sender": "an empty sender (MAIL FROM:<>)",
    "sender-domain": "the sender's domain: $value",
    "outside-recipients": "recipients outside of the own tenant",
    "host": "the sending server: $value",
    "connector": "the connector: $value",
    "certificate": "the certificate sent: $value",
    "no-tls": "no TLS",
    "seen-address": "the address that Exchange Online saw: $value",
}


def spans(report: Report) -> dict[str, list[Coverage]]:
    """Return the coverage of each source, by its path; a file with logs of several kinds has several."""
    by_source: dict[str, list[Coverage]] = {}
    for span in report.coverage:
        by_source.setdefault(span.source, []).append(span)
    return by_source


def pair_cells(pair: Pair, say: Language) -> tuple[str, ...]:
    """Return a pair as the cells of a row: both times, their difference, and what joins them."""
    passed = f"; {say('passed later')}" if pair.link.broken_by else ""
    return (
        moment(pair.rejection.time),
        clock_time(pair.rejection.handshake_time) or say("not known"),
        clock_time(pair.operation.time),
        difference(pair.link.delta_seconds, say),
        say(pair.link.basis),
        say(pair.link.host),
        say("passed") if pair.operation.result == "0" else f"{pair.operation.result}{passed}",
    )


def count_cell(incident: Incident, say: Language) -> str:
    """Return the number of an incident's refusals, and of those without UTC time, which lie outside of its times."""
    if not incident.unknown_zone_count or incident.unknown_zone_count == incident.rejection_count:
        return say.number(incident.rejection_count)
    return say(
        "$count ($unknown without UTC time)",
        count=say.number(incident.rejection_count),
        unknown=say.number(incident.unknown_zone_count),
    )


def replies(report: Report) -> list[ReplyText]:
    """Return the replies of all incidents, each distinct text once, in the order of time."""
    return joined(reply for incident in report.incidents for reply in incident.replies)


def more_replies(report: Report, say: Language) -> list[str]:
    """Return a line if refusals have replies that are not listed; else nothing."""
    count = sum(incident.more_replies for incident in report.incidents)
    if not count:
        return []
    return [say("Other replies are not listed (refusals: $count); the CSV table of refusals holds all.", count=count)]


def folded_texts(report: Report, say: Language) -> list[str]:
    """Return a line if refusals that are like the listed ones are only counted; else nothing.

    A second line says if the report was read from JSON, so that no output can list the others.
    """
    folded = sum(incident.folded_count for incident in report.incidents)
    total = report.rejection_count
    if not folded:
        return []
    texts = [
        say(
            "Of $total refusals $listed are listed: the first, the last and the most telling ones. The others are like "
            "them.",
            total=total,
            listed=total - folded,
        )
    ]
    if not any(incident.alike for incident in report.incidents):
        texts.append(say("This report was made from a saved one: tables and time lines hold the listed refusals only."))
    return texts


def more_text(shown: int, count: int, say: Language) -> str:
    """Return how many members of a list are shown, and where to find the others."""
    # A saved report lists everything only up to a limit.
    if count <= LISTED_WHOLE:
        return say("$shown of $count are shown; the JSON report holds all.", shown=shown, count=count)
    return say("$shown of $count are shown; the JSON report holds more.", shown=shown, count=count)


def not_listed_texts(report: Report, say: Language) -> list[str]:
    """Return a line for each list that a saved report does not hold completely."""
    return [say.sentence(not_listed.text) for not_listed in report.not_listed]


def lane_title(lane: Lane, say: Language) -> str:
    """Return the name of a lane with its count; with the total too in an excerpt: ``Refusals (1 of 3)``."""
    if lane.count == lane.total:
        return f"{say(lane.title)} ({say.number(lane.count)})"
    count = say("$shown of $count", shown=say.number(lane.count), count=say.number(lane.total))
    return f"{say(lane.title)} ({count})"


def unplaced_texts(report: Report, say: Language) -> list[str]:
    """Return a line if refusals have no place on the time line; else nothing."""
    count = sum(incident.unknown_zone_count for incident in report.incidents)
    if not count:
        return []
    return [say("Not on the time line, because the UTC time is not known: refusals ($count).", count=count)]


def excerpt_texts(report: Report, say: Language) -> list[str]:
    """Return a line for each incident whose sessions lack rows, because nothing follows from what an excerpt lacks."""
    return [
        say(
            "$file: an excerpt: rows of the session are missing ($count of $total refusals), so what is not in it is "
            "not known. Give the whole log file, unfiltered, as the server wrote it.",
            file=_excerpt_file(incident),
            count=incident.excerpt_count,
            total=incident.rejection_count,
        )
        for incident in report.incidents
        if incident.excerpt_count
    ]


def _excerpt_file(incident: Incident) -> str:
    excerpts = (rejection for rejection in incident.rejections if not rejection.from_start)
    return next((display_name(rejection.origin) for rejection in excerpts), incident.kind)


def kind_text(kind: str, say: Language) -> str:
    """Return what readers call a kind of log."""
    return say(KIND_TITLES[kind]) if kind in KIND_TITLES else kind


def compared_traits(report: Report) -> tuple[CommonTrait, ...]:
    """Return the traits of all refused mail; none where no accepted message can be compared with any of them.

    Mail to own recipients is accepted whatever the attribution, so it alone is nothing to compare with.
    """
    compared = any(trait.compared for trait in report.common if trait.trait != "outside-recipients")
    return report.common if compared else ()


def uncompared_text(report: Report, say: Language) -> str:
    """Return in a sentence what several refusals share where no accepted message can be compared; else nothing."""
    if compared_traits(report) or not any(trait.refused > 1 for trait in report.common):
        return ""
    names = "; ".join(common_cells(trait, say)[0] for trait in report.common)
    text = "All refusals share: $names. The logs show no accepted mail to outside recipients to compare it with."
    return say(text, names=names)


def common_cells(trait: CommonTrait, say: Language) -> tuple[str, str, str, str]:
    """Return a trait of all refused mail as the cells of a row: the trait, refusals, accepted mail, what follows."""
    name = f"{trait.trait} {trait.value}".rstrip()
    if trait.trait in TRAITS:
        name = say(TRAITS[trait.trait], value=trait.value)
    refused = say.number(trait.refused)
    if not trait.compared:
        return name, refused, say("not shown"), ""
    accepted = say("$shown of $count", shown=say.number(trait.accepted), count=say.number(trait.compared))
    meaning = say("no clue") if trait.accepted else say("a clue")
    return name, refused, accepted, meaning


def incident_cells(incident: Incident, say: Language) -> tuple[str, ...]:
    """Return an incident as the cells of a row: its times, count, host, log, connector and certificate."""
    basis = incident.rejections[0].host_basis if incident.rejections else "row"
    host = incident.host or say("not known")
    return (
        *limit_cells(incident, say, to_second=True),
        count_cell(incident, say),
        host if basis in ("row", "unknown") else f"{host} ({say(basis)})",
        kind_text(incident.kind, say),
        incident.connector,
        incident.certificate.thumbprint if incident.certificate else say("not shown by the log"),
    )


def handshake_cells(handshake: Handshake, say: Language) -> tuple[str, ...]:
    """Return a handshake of a network trace as the cells of a row."""
    requested = {True: say("yes"), False: say("no"), None: say("cannot be seen")}[handshake.requested]
    return (
        moment(handshake.start),
        f"{handshake.local} > {handshake.remote}",
        handshake.tls or say("not known"),
        requested,
        # TLS 1.3 encrypts the certificates of both sides (RFC 8446 1.2).
        _on_the_wire(handshake.sent, say, seen=handshake.requested is not None and "1.3" not in handshake.tls),
        # A server always sends its certificate, so if none is seen the trace lacks it.
        _on_the_wire(handshake.received, say, seen=False),
        handshake.alert,
        say("yes") if handshake.rejection else "",
    )


def _on_the_wire(certificates: tuple[WireCertificate, ...], say: Language, *, seen: bool) -> str:
    """Return the number of certificates and the name of the first; "none" only if they would have been ``seen``."""
    if certificates:
        return f"{len(certificates)}: {certificates[0].subject}"
    return say("none") if seen else say("cannot be seen")


def store_cells(store: Store, say: Language) -> tuple[str, ...]:
    """Return a certificate store as the cells of a row: host, name, number of certificates, and file."""
    name = f"{store.location}\\{store.name}" if store.location else store.name
    name = f"{name} ({say(STORES[store.name])})" if store.name in STORES else name
    return store.host or say("not known"), name, say.number(len(store.certificates)), place_text(store.origin, say)


def span_text(span: Coverage, say: Language) -> str:
    """Return what a source covers: ``116 records, 2016-12-01 03:00:55.394 UTC - ..., CORP-SMTP1``."""
    count = say("1 record") if span.records == 1 else say("$count records", count=say.number(span.records))
    host = f", {span.host}" if span.host else ""
    if span.first is None or span.last is None:
        return f"{count}{host}"
    return f"{count}, {span_times(span.first, span.last, span.time_basis, say)}{host}"


def bundle_texts(report: Report, say: Language) -> list[str]:
    """Return lines on collector bundles: their collector and server, what it never takes, and what it did not get."""
    texts = []
    for bundle in report.bundles:
        never = "; ".join(say.sentence(kind) for kind in bundle.never_collected)
        known = {"path": bundle.path or ".", "collector": bundle.collector, "server": bundle.server or "?"}
        whole = say(
            "$path is a bundle of $collector ($server). The collector never takes: $never.", never=never, **known
        )
        texts.append(whole if never else say("$path is a bundle of $collector ($server).", **known))
        if bundle.failed:
            texts.append(say("The collector says that it did not get: $steps.", steps="; ".join(bundle.failed)))
        if bundle.markers:
            texts.append(say("The collector says that it got nothing here: $places.", places=", ".join(bundle.markers)))
    return texts


def other_errors(report: Report) -> list[OtherError]:
    """Return the failures that are not 5.7.64: first those with a meaning that we know, then by count."""
    return sorted(report.other_errors, key=lambda error: (not error.meaning, -error.count))


def other_error_text(error: OtherError, say: Language) -> str:
    """Return a failure in a line: ``3 x 451 4.4.62 ATTR35 (Send connector log, EX01): mail was sent to ...``."""
    meaning = say.sentence(error.meaning) if error.meaning else error.text.removeprefix(f"{error.code} ")
    where = f", {error.host}" if error.host else ""
    name = f"{say.number(error.count)} x {error.code} {error.attribution}".rstrip()
    return f"{name} ({kind_text(error.kind, say)}{where}): {meaning}"


def clock_texts(report: Report, say: Language) -> list[str]:
    """Return a line for each clock of a refused machine that is a minute or more away from the remote side's."""
    refused = {(incident.host, incident.kind) for incident in report.incidents if not incident.unknown_zone_count}
    texts = []
    for skew in report.clocks:
        if (skew.host, skew.kind) in refused and abs(skew.seconds) >= _FAR:
            hours = clock.whole_hours(skew.seconds)
            span = f"{abs(hours)} h" if hours else f"{say.number(round(abs(skew.seconds)))} s"
            label = _AHEAD if skew.seconds > 0 else _BEHIND
            texts.append(say(label, host=skew.host or say("the server"), span=span))
    return list(dict.fromkeys(texts))


def context_text(context: Context, say: Language) -> str:
    """Return supporting events in a line: ``2 x schannel 36887, 2016-12-01 ...: the remote side sent an alert``."""
    times = f", {when(context.first, say)}" if context.first else ""
    code = f" {context.code}" if context.code else ""
    return f"{say.number(context.count)} x {context.kind}{code}{times}: {say.sentence(context.title)}"
