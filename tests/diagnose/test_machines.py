"""Logs of two servers in one folder: what the one does is no change of the other, and no repair of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from faults import FAULTS
from smtp_case import rules
from worlds import Check, certificate, chain, completed, files, world

import evtx_analyzer as ea

HOURS = [timedelta(hours=hours) for hours in (-5, -1, 1, 2)]


def both(good, bad, address):
    """The Send logs of a server whose mail is accepted and of one whose mail is refused, in one folder."""
    theirs = files(good)["SEND.LOG"].replace("10.1.2.3:", f"{address}:").replace(",08DE7F", ",08DE80")
    return {**files(bad), "SEND2.LOG": theirs}


def case(folder, written, below="EX01", **options):
    for name, content in written.items():
        (folder / below / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / below / name).write_text(content, encoding="utf-8", newline="")
    report = ea.analyze(folder, rules=rules(), **options)
    return report, {finding.cause: finding.grade for finding in report.findings}


PLACES = [{"below": "EX01"}, {"below": "logs"}, {"below": "logs", "host": "EX01"}]
# The same server, whose addresses cannot be compared or are the same, and another one.
ADDRESSES = [("10.1.2.4", False), ("10.1.2.3", True)]


@pytest.mark.parametrize(("address", "same"), ADDRESSES)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_mail_of_another_server_is_no_proof_of_a_repair(tmp_path, place, address, same):
    good, bad = world(0, "C"), world(0, "C")
    good.mails += [good.mail(after) for after in HOURS if after > timedelta()]
    FAULTS["missing_intermediate"].apply(bad)
    bad.checks.append(Check(chain(bad), "sound", before=timedelta(minutes=50)))
    report, named = case(tmp_path, both(good, completed(bad), address), **place)
    assert (named["missing-intermediate"] == "confirmed") is same
    assert (report.repair is not None) is same


@pytest.mark.parametrize(("address", "same"), ADDRESSES)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_what_another_server_sends_was_not_replaced(tmp_path, place, address, same):
    good, bad = world(0, "C"), world(0, "C")
    old = certificate(0xD001, "mail.contoso.com", "Example Trust TLS CA 8", names=("mail.contoso.com",))
    good.mails += [good.mail(after, sent=old) for after in HOURS]
    _, named = case(tmp_path, both(good, completed(bad), address), **place)
    assert (named["certificate-replaced"] == "probable") is same


@pytest.mark.parametrize(("address", "same"), ADDRESSES)
def test_what_another_server_delivered_does_not_clear_a_new_certificate(tmp_path, address, same):
    """The server with the fault got the new certificate today, the other one has had it since yesterday."""
    good, bad = world(0, "C"), world(0, "C")
    good.mails += [good.mail(after) for after in HOURS]
    FAULTS["replaced"].apply(bad)
    _, named = case(tmp_path, both(good, completed(bad), address))
    assert (named["certificate-replaced"] == "contradicted") is same


def test_an_address_of_the_other_ip_version_may_be_the_same_machine_s(tmp_path):
    good, bad = world(0, "C"), world(0, "C")
    good.mails += [good.mail(after) for after in HOURS if after > timedelta()]
    FAULTS["missing_intermediate"].apply(bad)
    bad.checks.append(Check(chain(bad), "sound", before=timedelta(minutes=50)))
    report, _ = case(tmp_path, both(good, completed(bad), "[2001:db8::4]"))
    assert report.repair is not None


@pytest.mark.parametrize("name", ["EDGE01", "edge1", "MAIL02", "Exchange01", "SMTP1", "EDGESRV", "EX02"])
def test_a_folder_that_is_named_after_what_its_machine_does(tmp_path, name):
    """The refusals of an Edge server are not joined with the CAPI2 log of the server in the folder beside."""
    edge, hub = completed(world(0, "C")), world(0, "C")
    hub.host = "HUB7"
    FAULTS["missing_intermediate"].apply(hub)
    capi2 = files(hub)["capi2.xml"]
    log = f"{name}/Edge/ProtocolLog/SmtpSend/SEND1.LOG"
    report, named = case(tmp_path, {log: files(edge)["SEND.LOG"], "HUB7/capi2.xml": capi2}, below=".")
    assert {incident.host for incident in report.incidents} == {name.upper()}
    assert named["missing-intermediate"] == "possible"


@pytest.mark.parametrize("name", ["logs1", "mail", "case01", "export-2"])
def test_a_folder_of_logs_is_no_machine(tmp_path, name):
    made = world(0, "C")
    made.host = "HUB7"
    FAULTS["missing_intermediate"].apply(made)
    written = files(completed(made))
    report, _ = case(tmp_path, {f"{name}/SEND1.LOG": written["SEND.LOG"], "HUB7/capi2.xml": written["capi2.xml"]}, ".")
    assert {incident.host for incident in report.incidents} == {"HUB7"}
