"""Bundles of our own collection script: hosts and zones are certain, what failed is told, and a bad manifest never
makes a wrong machine or a traceback."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from smtp_case import analyze

from evtx_analyzer.model.manifest import CollectorManifest
from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read import read, recognize
from samples.cases import SEND_FILE, kb_event_xml, no_capi2
from samples.stores import collector_bundle, manifest

SEND = no_capi2()[SEND_FILE]
IIS = (
    "10.1.1.5, OutboundConnectionCommand, 12/1/2016, 4:09:54, SMTPSVC1, APP01, 104.47.1.1, 0, 0, 4, 0, 0, EHLO, -, a,\n"
)


def read_all(data):
    assert recognize(data) == "collector-manifest"
    return list(read("collector-manifest", io.BytesIO(data), Origin(source="manifest.json")))


def only(data):
    (found,) = read_all(data)
    assert isinstance(found, CollectorManifest)
    return found


# ----------------------------------------------------------------------------------------------------- the manifest


@pytest.mark.parametrize(
    ("zone", "offset", "saving", "tz"),
    [
        ("W. Europe Standard Time", 60, True, "Europe/Berlin"),
        ("Pacific Standard Time", -480, True, "America/Los_Angeles"),
        ("UTC", 0, False, "Etc/UTC"),
        ("India Standard Time", 330, False, "Asia/Calcutta"),
        # Daylight saving is turned off on the machine; Etc/GMT-1 is an hour east of Greenwich.
        ("W. Europe Standard Time", 60, False, "Etc/GMT-1"),
        ("Europe/Berlin", 60, True, "Europe/Berlin"),
    ],
)
def test_zones_of_windows(zone, offset, saving, tz):
    value = {"id": zone, "baseUtcOffsetMinutes": offset, "daylightSaving": saving}
    assert only(manifest(timeZone=value)).tz == tz


@pytest.mark.parametrize(
    "zone",
    [
        {"id": "W. Europe Standard Time", "baseUtcOffsetMinutes": -480, "daylightSaving": True},
        {"id": "Mars Standard Time", "baseUtcOffsetMinutes": 60, "daylightSaving": True},
        {"id": "../../etc/passwd", "baseUtcOffsetMinutes": 60, "daylightSaving": True},
        {"id": "W. Europe Standard Time", "baseUtcOffsetMinutes": "60", "daylightSaving": True},
        {"id": "W. Europe Standard Time"},
        "W. Europe Standard Time",
        None,
        ["x"],
    ],
)
def test_a_zone_that_is_not_sure_is_a_loss_and_not_used(zone):
    loss, found = read_all(manifest(timeZone=zone))
    assert isinstance(loss, Loss)
    assert (found.tz, found.host) == ("", "CORP-SMTP1")


@pytest.mark.parametrize("host", ["", "..\\..\\x", "EX01;rm", "a" * 80, "12345", None, ["EX01"], {"a": 1}])
def test_a_name_that_no_machine_has_is_a_loss_and_not_used(host):
    loss, found = read_all(manifest(host=host))
    assert isinstance(loss, Loss)
    assert found.host == ""


@pytest.mark.parametrize("size", [80, 300, 900])
def test_a_cut_manifest_is_a_loss(size):
    (loss,) = read_all(manifest()[:size])
    assert isinstance(loss, Loss)


@pytest.mark.parametrize("steps", [None, "x", [1, None, {"name": 3}, {"name": "a"}], {"a": 1}])
def test_odd_steps_are_no_traceback(steps):
    assert only(manifest(steps=steps)).host == "CORP-SMTP1"


def test_other_json_is_no_manifest():
    assert recognize(json.dumps({"host": "EX01", "collector": "other"}).encode()) != "collector-manifest"


# ------------------------------------------------------------------------------------------------------ the bundle


def bundle(folder="b", **changes):
    prefix = f"{folder}/" if folder else ""
    return {f"{prefix}manifest.json": manifest(**changes), f"{prefix}SmtpSend-Hub/SEND.LOG": SEND}


def hosts(report):
    return [(incident.host, incident.rejections[0].host_basis) for incident in report.incidents]


@pytest.mark.parametrize("folder", ["", "b", "a/b/c"])
def test_the_machine_is_certain(tmp_path, folder):
    report = analyze(tmp_path, bundle(folder))
    assert hosts(report) == [("CORP-SMTP1", "manifest")]
    assert [item.server for item in report.bundles] == ["CORP-SMTP1"]
    assert report.losses == ()


def test_the_same_in_a_zip(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in collector_bundle().items():
            archive.writestr(name.partition("/")[2], content)
    zipped = analyze(tmp_path / "zip", {"5764.zip": buffer.getvalue()})
    folder = analyze(tmp_path / "folder", collector_bundle())
    assert zipped.verdict == folder.verdict
    assert (zipped.verdict.cause, zipped.verdict.grade) == ("missing-intermediate", "probable")
    assert hosts(zipped) == hosts(folder) == [("CORP-SMTP1", "manifest")]
    assert {link.host for incident in zipped.incidents for link in incident.links} == {"same"}
    assert all(store.whole and store.exported for store in zipped.stores)


def test_the_option_of_the_user_wins(tmp_path):
    assert hosts(analyze(tmp_path, bundle(), host="EX09")) == [("EX09", "option")]


def test_local_times_are_read_in_the_zone_of_the_manifest(tmp_path):
    zone = {"id": "W. Europe Standard Time", "baseUtcOffsetMinutes": 60, "daylightSaving": True}
    files = {"b/manifest.json": manifest(timeZone=zone), "b/SMTPSVC1/in161201.log": IIS}
    report = analyze(tmp_path, files, anyway=True)
    (covered,) = [item for item in report.coverage if item.kind == "iis-smtp"]
    assert covered.first.isoformat() == "2016-12-01T03:09:54+00:00"
    report = analyze(tmp_path, files, anyway=True, tz="America/New_York")
    (covered,) = [item for item in report.coverage if item.kind == "iis-smtp"]
    assert covered.first.isoformat() == "2016-12-01T09:09:54+00:00", "the option of the user wins"


def test_what_was_not_collected_is_said(tmp_path):
    report = analyze(tmp_path, bundle(notPutBack=["pktmon filter remove"], state="stopped"))
    (found,) = report.bundles
    assert "message tracking: The operation could not be performed because of a time-out." in found.failed
    assert any("pktmon filter remove" in text for text in found.failed)
    assert any("stopped" in text for text in found.failed)
    texts = [item.text for item in report.findings[0].missing]
    assert any("CORP-SMTP1" in text and "message tracking" in text for text in texts)
    assert not any("Connect-ExchangeOnline" in text for text in texts), "absent is no failure"


def test_logs_that_somebody_laid_beside_are_not_the_machines(tmp_path):
    report = analyze(tmp_path, {"manifest.json": manifest(host="EX01"), "EX02/SEND.LOG": SEND})
    assert ("EX01", "manifest") not in hosts(report)


def test_two_bundles_of_two_machines(tmp_path):
    other = SEND.replace(b"08D50D3D9730A8D2", b"08D50D3D9730B8D2")
    second = {"two/manifest.json": manifest(host="EX02"), "two/SmtpSend-Hub/SEND.LOG": other}
    report = analyze(tmp_path, {**bundle("one", host="EX01"), **second})
    assert sorted(hosts(report)) == [("EX01", "manifest"), ("EX02", "manifest")]


def test_two_manifests_in_one_folder_that_differ_are_not_used(tmp_path):
    files = {**bundle(host="EX01"), "b/manifest (2).json": manifest(host="EX02")}
    report = analyze(tmp_path, files)
    assert not {("EX01", "manifest"), ("EX02", "manifest")} & set(hosts(report))
    assert len(report.losses) == 2


def test_a_manifest_that_events_contradict_is_not_used(tmp_path):
    files = {**bundle(host="EX09"), "b/events/capi2.xml": kb_event_xml()["capi2.xml"]}
    report = analyze(tmp_path, files)
    assert ("EX09", "manifest") not in hosts(report)
    assert any("CORP-SMTP1" in loss.reason for loss in report.losses)
    assert {operation.host for operation in report.operations} == {"CORP-SMTP1"}


def test_a_cut_manifest_leaves_the_machine_unknown_and_is_told(tmp_path):
    files = {"b/manifest.json": manifest()[:300], "b/SmtpSend-Hub/SEND.LOG": SEND}
    report = analyze(tmp_path, files)
    assert hosts(report) == [("", "unknown")]
    assert any("cut" in loss.reason for loss in report.losses)
