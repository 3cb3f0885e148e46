"""What is shown of another time, clock, machine or state than that of the refusals, and neither proves nor excludes.

Found by a simulator that draws worlds with a truth of their own and takes evidence away.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from faults import FAULTS, inbound, refuse, send_connector
from smtp_case import grades, rules
from worlds import Check, certificate, chain, completed, files, world

import evtx_analyzer as ea

LONG_BEFORE, SINCE = "2026-02-01T10:00:00Z", "2026-03-10T12:00:00Z"
AGAIN = timedelta(hours=6)


def connectors(made, **properties):
    """An export of the inbound connector, apart from those of the world."""
    inbound(made, Guid="6f0c", **properties)
    return json.dumps(made.exports.pop("Get-InboundConnector"))


# --------------------------------------------------------------------------------- exports of before and after a repair


@pytest.mark.parametrize(
    ("later", "grade"),
    [
        (SINCE, "no-evidence"),  # broken since the first export, and mended since the refusals
        (LONG_BEFORE, "contradicted"),  # never changed
    ],
)
@pytest.mark.parametrize("cause", ["certificate-name-mismatch", "connector-not-matching"])
def test_an_earlier_export_that_fits_does_not_exclude_what_was_changed_twice(tmp_path, cause, later, grade):
    made = world(0, "C")
    old, new = (connectors(made, WhenChangedUTC=time) for time in (LONG_BEFORE, later))
    named = grades(tmp_path, {**files(completed(made)), "a/inbound.json": old, "b/inbound.json": new})
    assert named[cause] == grade


def test_an_earlier_export_that_does_not_fit_is_the_state_that_refused(tmp_path):
    made = world(0, "C")
    old = connectors(made, WhenChangedUTC=LONG_BEFORE, TlsSenderCertificateName="mail.other.example")
    new = connectors(made, WhenChangedUTC=SINCE)
    named = grades(tmp_path, {**files(completed(made)), "a/inbound.json": old, "b/inbound.json": new})
    assert named["certificate-name-mismatch"] == "probable"


@pytest.mark.parametrize(
    ("later", "grade"),
    [({}, "probable"), ({"TlsSenderCertificateName": None, "SenderIPAddresses": ["192.0.2.0/28"]}, "possible")],
)
def test_what_both_exports_say_of_the_connector_counts(tmp_path, later, grade):
    """By the certificate before and after: so it is the certificate that decided in between."""
    made = world(0, "C")
    FAULTS["expired"].apply(made)
    old, new = (
        connectors(made, WhenChangedUTC=time, **changes) for time, changes in ((LONG_BEFORE, {}), (SINCE, later))
    )
    named = grades(tmp_path, {**files(completed(made)), "a/inbound.json": old, "b/inbound.json": new})
    assert named["certificate-expired"] == grade


@pytest.mark.parametrize(("later", "grade"), [(SINCE, "no-evidence"), (LONG_BEFORE, "contradicted")])
def test_an_earlier_send_connector_that_fits(tmp_path, later, grade):
    made = world(0, "C")
    send_connector(made, made.leaf.name(made.leaf.issuer), made.leaf.name())
    (exported,) = made.exports.pop("Get-SendConnector")
    pair = [json.dumps([{**exported, "Guid": "6f0d", "WhenChangedUTC": time}]) for time in (LONG_BEFORE, later)]
    named = grades(tmp_path, {**files(completed(made)), "a/send.json": pair[0], "b/send.json": pair[1]})
    assert named["wrong-certificate-selected"] == grade


@pytest.mark.parametrize(("created", "grade"), [(SINCE, "possible"), (LONG_BEFORE, "contradicted")])
def test_a_domain_that_was_removed_and_added_again(tmp_path, created, grade):
    """The earlier export holds it; the later one holds a domain of this name that was created after the refusals."""
    made = world(0, "C")
    refuse(made, sender="x@again.example")
    pair = [
        json.dumps(
            [
                {"DomainName": name, "DomainType": "Authoritative", "WhenCreatedUTC": time}
                for name, time in ((made.tenant, LONG_BEFORE), ("again.example", when))
            ]
        )
        for when in (LONG_BEFORE, created)
    ]
    named = grades(tmp_path, {**files(completed(made)), "a/domains.json": pair[0], "b/domains.json": pair[1]})
    assert named["domain-not-accepted"] == grade


# ------------------------------------------------------------------------------------------------ exports without dates


@pytest.mark.parametrize(
    ("dates", "again", "grade"),
    [
        ({}, True, "no-evidence"),  # exported after whatever ended the refusals, or never changed: which is not known
        ({}, False, "contradicted"),
        ({"WhenChangedUTC": LONG_BEFORE}, True, "contradicted"),
    ],
)
def test_an_export_without_dates_that_fits_where_the_same_mail_is_accepted_again(tmp_path, dates, again, grade):
    made = world(0, "C")
    inbound(made, **dates)
    refuse(made)
    if again:
        made.mails += [made.mail(AGAIN), made.mail(AGAIN + timedelta(minutes=5))]
    named = grades(tmp_path, files(completed(made)))
    assert (named["certificate-name-mismatch"], named["connector-not-matching"]) == (grade, grade)


@pytest.mark.parametrize("changes", [{"recipient": "b@contoso.com"}, {"sent": None}])
def test_other_mail_that_is_accepted_later_says_nothing_of_an_export(tmp_path, changes):
    """To the tenant itself, or with another certificate: that ended nothing."""
    made = world(0, "C")
    if "sent" in changes:
        changes = {"sent": certificate(0xD00F, "mail.contoso.com", "Example Trust TLS CA 9")}
    inbound(made)
    refuse(made)
    made.mails.append(made.mail(AGAIN, **changes))
    assert grades(tmp_path, files(completed(made)))["certificate-name-mismatch"] == "contradicted"


@pytest.mark.parametrize(
    ("dates", "seen", "grade"),
    [
        ({}, "203.0.113.7", "no-evidence"),
        ({"WhenChangedUTC": LONG_BEFORE}, "203.0.113.7", "contradicted"),
        ({}, "203.0.113.8", "contradicted"),
    ],
)
def test_an_address_that_is_accepted_again_with_another_certificate(tmp_path, dates, seen, grade):
    """The certificate was renewed meanwhile; a connector by address may have been of type Partner until then."""
    made = world(0, "C")
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=[made.seen], **dates)
    refuse(made)
    new = certificate(0xD013, "mail.contoso.com", "Example Trust TLS CA 9")
    made.mails.append(made.mail(AGAIN, sent=new, seen=seen))
    assert grades(tmp_path, files(completed(made)))["connector-not-matching"] == grade


@pytest.mark.parametrize(
    ("dates", "named_later", "grade"),
    [
        ({}, False, "probable"),
        ({}, True, "no-evidence"),  # set after the refusals, and sent since
        ({"WhenChangedUTC": LONG_BEFORE}, True, "probable"),
    ],
)
def test_a_send_connector_that_names_what_is_sent_later(tmp_path, dates, named_later, grade):
    made = world(0, "C")
    new = certificate(0xD014, "other.example", "Example Trust TLS CA 9")
    send_connector(made, new.name(new.issuer), new.name())
    made.exports["Get-SendConnector"][0] |= dates
    refuse(made)
    if named_later:
        made.mails.append(made.refusal(AGAIN, sent=new))
    for name, content in files(completed(made)).items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    first = ea.analyze(tmp_path, rules=rules()).incidents[0]
    assert first.certificate.thumbprint == made.leaf.thumbprint
    assert first.grades.get("wrong-certificate-selected", "no-evidence") == grade


@pytest.mark.parametrize(
    ("domain", "reply", "grade"),
    [
        ("contoso.com", "550 5.7.64 Relay Access Denied ATTR36", "possible"),  # it would be enough, were it in date
        ("adatum.example", "550 5.7.64 Relay Access Denied ATTR36", "contradicted"),
        ("contoso.com", "550 5.7.64 TenantAttribution; Relay Access Denied", "contradicted"),
    ],
)
def test_where_addresses_attribute_the_certificate_may_still_be_what_permits(tmp_path, domain, reply, grade):
    made = world(0, "C")
    made.leaf = replace(made.leaf, not_after="2026-03-05T00:00:00Z")
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=[made.seen])
    made.exports["Get-AcceptedDomain"] = [
        {"DomainName": name, "DomainType": "Authoritative"} for name in (made.tenant, domain)
    ]
    refuse(made, sender="", reply=reply)
    assert grades(tmp_path, files(completed(made)))["certificate-expired"] == grade


def test_an_export_without_dates_that_does_not_fit_stays_what_it_is(tmp_path):
    made = world(0, "C")
    inbound(made, Enabled=False)
    refuse(made)
    made.mails.append(made.mail(AGAIN, sender="z@other.example"))
    assert grades(tmp_path, files(completed(made)))["connector-not-matching"] == "probable"


# --------------------------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize(
    ("changed", "ahead", "grade"),
    [
        ("2026-03-10T06:00:00Z", 0, "contradicted"),  # two hours before the refusals of 08:14
        ("2026-03-10T06:00:00Z", 7, "no-evidence"),  # they are of 01:14 by Exchange Online's clock
        ("2026-03-10T10:00:00Z", 0, "no-evidence"),
        ("2026-03-10T10:00:00Z", -3, "contradicted"),  # they are of 11:14
    ],
)
def test_when_a_connector_was_changed_is_told_by_the_clock_of_exchange_online(tmp_path, changed, ahead, grade):
    made = world(0, "C")
    inbound(made, WhenChangedUTC=changed)
    refuse(made)
    written = files(completed(made))
    clock = f"{8 - ahead:02}:14:02"
    banner = f'"220 \\1 Microsoft ESMTP MAIL Service ready at Tue, 10 Mar 2026 {clock} +0000"'
    first, _, rest = written["SEND.LOG"].partition("ready")
    assert "ESMTP" in first
    written["SEND.LOG"] = re.sub(r"220 (\S+) ESMTP ready", banner, first + "ready" + rest, count=1)
    assert grades(tmp_path, written)["certificate-name-mismatch"] == grade


# ---------------------------------------------------------------------------------------------- what arrived, and where


@pytest.mark.parametrize(
    ("remote", "grade"),
    [
        ({}, "contradicted"),
        ({"banner": "gw.dmz.example", "received": (("CN", "gw.dmz.example"),)}, "no-evidence"),
        ({"received": (("CN", "inspection.dmz.example"),)}, "no-evidence"),
    ],
)
def test_a_certificate_that_did_not_arrive_fits_no_connector(tmp_path, remote, grade):
    made = world(0, "C")
    inbound(made)
    made.exports["Get-InboundConnector"].append(
        {**made.exports["Get-InboundConnector"][0], "Name": "2", "TlsSenderCertificateName": None}
        | {"SenderIPAddresses": ["192.0.2.0/28"]}
    )
    refuse(made, **remote)
    named = grades(tmp_path, files(completed(made)))
    assert {named["source-ip-not-allowed"], named["certificate-name-mismatch"]} <= {grade, "possible"}


def test_another_tenant_s_connector_may_match_the_certificate_of_mail_that_goes_by_address_here(tmp_path):
    """Exchange Online looks for the certificate's domain first, in all tenants (MC1226222)."""
    made = world(0, "C")
    FAULTS["other_tenant"].apply(made)
    inbound(made, TlsSenderCertificateName=None, SenderIPAddresses=[made.seen])
    assert grades(tmp_path, files(completed(made)))["attributed-to-another-tenant"] == "possible"


# ------------------------------------------------------------------------------------------- true of some refusals only


@pytest.mark.parametrize(
    ("expires", "grade"), [("08:00", "probable"), ("08:17", "possible"), ("09:00", "contradicted")]
)
def test_a_certificate_that_expired_between_refusals_explains_the_later_ones(tmp_path, expires, grade):
    """Refused at 08:14 and at 08:20."""
    made = world(0, "C")
    inbound(made)
    made.leaf = replace(made.leaf, not_after=f"2026-03-10T{expires}:00Z")
    refuse(made)
    assert grades(tmp_path, files(completed(made)))["certificate-expired"] == grade


# ------------------------------------------------------------------------------------------------------------- the root


def test_a_passed_check_does_not_show_that_exchange_online_trusts_the_root(tmp_path):
    made = world(0, "C")
    made.checks.append(Check(chain(made), "sound"))
    assert grades(tmp_path, files(completed(made)))["untrusted-root"] == "no-evidence"


def test_a_passed_check_up_to_a_public_root_does(tmp_path):
    made = world(0, "C")
    # DigiCert Global Root G2, by the thumbprint that DigiCert publishes.
    made.root = replace(made.root, thumbprint="DF3C24F9BFD666761B268073FE06D1CC8D4F82A4")
    made.checks.append(Check(chain(made), "sound"))
    assert grades(tmp_path, files(completed(made)))["untrusted-root"] == "contradicted"


# ----------------------------------------------------------------------------------- a change that did not end refusals


def repaired(folder, made):
    """The cause of the first incident whose repair is shown, None where none is: then the report has none."""
    for name, content in files(completed(made)).items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules(), host=made.host)
    incidents = report.repair.incidents if report.repair else ()
    return next((repair.cause for repair in incidents if repair.result == "fixed"), None)


@pytest.mark.parametrize(
    ("amid", "fixed"),
    [
        (None, True),
        ({}, False),  # the new certificate was refused as well: something else ended it
        ({"sender": ""}, True),  # a report may be refused for what it is
        ({"connector": "To a partner"}, True),
        ({"sent": "another attempt"}, True),  # the second attempt cured it
    ],
)
@pytest.mark.parametrize("fault", ["expired", "self_signed"])
def test_renewing_did_not_help_where_the_new_certificate_was_refused_too(tmp_path, fault, amid, fixed):
    made = world(0, "C")
    FAULTS[fault].apply(made)
    refuse(made)
    new = certificate(0xD011, "mail.contoso.com", "Example Trust TLS CA 9", names=("mail.contoso.com",))
    if amid is not None:
        if "sent" in amid:
            amid = {"sent": certificate(0xD012, "mail.contoso.com", "Example Trust TLS CA 9")}
        made.mails.append(made.refusal(timedelta(hours=2), **{"sent": new, **amid}))
    made.mails += [made.mail(timedelta(hours=hours), sent=new) for hours in (3, 4)]
    assert repaired(tmp_path, made) == (FAULTS[fault].verdicts[0] if fixed else None)


@pytest.mark.parametrize(("tls", "fixed"), [("certificate", False), ("bare", True)])
def test_sending_a_certificate_did_not_help_where_mail_with_it_was_refused(tmp_path, tls, fixed):
    made = world(0, "C")
    FAULTS["no_certificate"].apply(made)
    made.mails.append(made.refusal(timedelta(hours=2), tls=tls))
    made.mails += [made.mail(timedelta(hours=hours)) for hours in (3, 4)]
    assert repaired(tmp_path, made) == ("no-client-certificate" if fixed else None)


@pytest.mark.parametrize(("amid", "fixed"), [(None, True), ("198.51.100.9", False), ("192.0.2.80", True)])
def test_another_address_did_not_help_where_it_was_refused_too(tmp_path, amid, fixed):
    made = world(0, "C")
    FAULTS["source_ip"].apply(made)
    refuse(made)
    if amid:
        made.mails.append(made.refusal(timedelta(hours=2), seen=amid))
    made.mails += [made.mail(timedelta(hours=hours), seen="198.51.100.9") for hours in (3, 4)]
    assert repaired(tmp_path, made) == ("source-ip-not-allowed" if fixed else None)


# ----------------------------------------------------------------------------------- accepted before the tenant changed


@pytest.mark.parametrize(
    ("changed", "accepted", "grade"),
    [
        ("2026-03-10T07:00:00Z", (-24, -2), "probable"),  # it worked until the connector was changed
        ("2026-03-10T07:00:00Z", (-24, -1), "possible"),  # accepted at 07:14: so the change did not do it
        (LONG_BEFORE, (-24, -2), "possible"),
        (None, (-24, -2), "possible"),
        ("2026-03-10T07:00:00Z", (-24, 3), "possible"),
        ("2026-03-10T12:00:00Z", (-24, -2), "possible"),
    ],
)
@pytest.mark.parametrize(
    ("properties", "cause"),
    [
        ({"Enabled": False}, "connector-not-matching"),
        ({"ConnectorType": "Partner"}, "connector-not-matching"),
        ({"TlsSenderCertificateName": "mail.other.example"}, "certificate-name-mismatch"),
        ({"TlsSenderCertificateName": None, "SenderIPAddresses": ["192.0.2.0/28"]}, "source-ip-not-allowed"),
    ],
)
def test_mail_of_before_the_connector_was_changed_is_no_counter_evidence(
    tmp_path, properties, cause, changed, accepted, grade
):
    """Refused at 08:14, accepted some hours before or after that."""
    made = world(0, "C")
    inbound(made, **properties, **({"WhenChangedUTC": changed} if changed else {}))
    made.mails += [made.mail(timedelta(hours=hours)) for hours in accepted]
    refuse(made)
    assert grades(tmp_path, files(completed(made)))[cause] == grade


def test_mail_with_another_certificate_shows_that_a_connector_worked(tmp_path):
    """Refused, then accepted with the renewed certificate, then refused with it: the connector was disabled since."""
    made = world(0, "C")
    inbound(made, Enabled=False)
    refuse(made)
    new = certificate(0xD015, "mail.contoso.com", "Example Trust TLS CA 9")
    made.mails += [made.mail(AGAIN, sent=new), made.refusal(2 * AGAIN, sent=new)]
    assert grades(tmp_path, files(completed(made)))["connector-not-matching"] == "possible"


@pytest.mark.parametrize(
    ("elsewhere", "here", "grade"),
    [
        (timedelta(minutes=3), AGAIN, "possible"),  # amid the refusals
        (timedelta(hours=1), None, "possible"),
        (timedelta(hours=7), AGAIN, "no-evidence"),  # when this connector is accepted again, too
        (timedelta(hours=-1), None, "no-evidence"),
    ],
)
def test_another_connector_is_accepted_while_this_one_is_refused(tmp_path, elsewhere, here, grade):
    made = world(0, "C")
    refuse(made)
    made.mails.append(made.mail(elsewhere, connector="Second tenant"))
    if here is not None:
        made.mails.append(made.mail(here))
    assert grades(tmp_path, files(completed(made)))["attributed-to-another-tenant"] == grade


@pytest.mark.parametrize(("chains", "grade"), [(True, "confirmed"), (False, "possible")])
def test_what_event_30_alone_cannot_tell_apart_no_repair_tells_apart(tmp_path, chains, grade):
    """800B0109 is the result for a missing issuer and for a root that is not trusted; a later success cures both."""
    made = world(0, "C")
    FAULTS["missing_intermediate"].apply(made)
    refuse(made)
    made.checks.append(Check(chain(made), "sound", before=timedelta(hours=1)))
    made.mails += [made.mail(timedelta(hours=hours)) for hours in (2, 3)]
    written = files(completed(made))
    if not chains:
        events = written["capi2.xml"].splitlines(keepends=True)
        written["capi2.xml"] = "".join(event for event in events if "<EventID>30<" in event)
    for name, content in written.items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(tmp_path, rules=rules(), host=made.host)
    assert {finding.cause: finding.grade for finding in report.findings}["missing-intermediate"] == grade
