"""Which machine a log belongs to where folders and archives tell.

A folder that is one machine has other machines beside it; folders that are called after kinds of logs are none.
"""

from __future__ import annotations

import io
import zipfile

import pytest
from faults import FAULTS
from smtp_case import analyze, rejections
from worlds import completed, files, world

from evtx_analyzer.hosts import HostClue, address_of, identify_hosts


def broken_chain():
    """CAPI2 events of MAILSRV with the broken chain, and a Send log that names no machine."""
    made = world(2, "B")
    FAULTS["missing_intermediate"].apply(made)
    written = files(completed(made))
    assert made.host == "MAILSRV"
    return written["capi2.xml"], written["SEND.LOG"]


CAPI2, SEND = broken_chain()


def archive(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, text in content.items():
            made.writestr(name, text)
    return packed.getvalue()


OTHER_MACHINES = {
    "folders": {"MAILSRV/capi2.xml": CAPI2, "HOSTB/SEND.LOG": SEND},
    "folders of logs in them": {"MAILSRV/evtx/capi2.xml": CAPI2, "HOSTB/Logs/SmtpSend/SEND.LOG": SEND},
    "below a case's folder": {"case 4711/mailsrv/capi2.xml": CAPI2, "case 4711/hostb/SmtpSend/SEND.LOG": SEND},
    "archives": {"MAILSRV.zip": archive({"capi2.xml": CAPI2}), "HOSTB.zip": archive({"SmtpSend/SEND.LOG": SEND})},
    "an archive of folders": {"all.zip": archive({"MAILSRV/capi2.xml": CAPI2, "HOSTB/SEND.LOG": SEND})},
    "archives in an archive": {
        "all.zip": archive(
            {"MAILSRV.zip": archive({"capi2.xml": CAPI2}), "HOSTB.zip": archive({"Hub/SmtpSend/SEND.LOG": SEND})}
        )
    },
    "a name with a domain": {"MAILSRV/capi2.xml": CAPI2, "hostb.nordwind.example/SEND.LOG": SEND},
}


@pytest.mark.parametrize("content", OTHER_MACHINES.values(), ids=OTHER_MACHINES)
def test_the_folder_beside_a_machine_s_own_is_another_machine(tmp_path, content):
    report = analyze(tmp_path, content)
    assert {(rejection.host, rejection.host_basis) for rejection in rejections(report)} == {("HOSTB", "folder")}
    assert report.verdict.cause == "missing-intermediate"
    assert report.verdict.grade == "possible"


KINDS_OF_LOGS = (
    "SmtpSend", "Logs", "Hub", "FrontEnd", "ProtocolLog", "TransportRoles", "IIS", "export", "logs2",
    "Send Logs", "SMTPSVC1", "2026-03-10", "20260310", "evtx", "config", "data_1", "PowerShell", "tracking", "old",
    "backup-2", "today",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS_OF_LOGS)
def test_a_folder_that_is_called_after_a_kind_of_log_is_no_machine(tmp_path, name):
    report = analyze(tmp_path, {"MAILSRV/capi2.xml": CAPI2, f"{name}/SEND.LOG": SEND})
    assert {(rejection.host, rejection.host_basis) for rejection in rejections(report)} == {("MAILSRV", "assumed")}
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")


def test_an_edge_folder_beside_a_machine_s_own_is_of_a_server_that_is_not_known(tmp_path):
    report = analyze(tmp_path, {"MAILSRV/capi2.xml": CAPI2, "Edge/SEND.LOG": SEND})
    assert {(rejection.host, rejection.host_basis) for rejection in rejections(report)} == {("", "unknown")}
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "possible")


ONE_MACHINE = {
    "one folder": {"MAILSRV/capi2.xml": CAPI2, "MAILSRV/SmtpSend/SEND.LOG": SEND},
    "the log in a folder of the machine's": {"MAILSRV/capi2.xml": CAPI2, "MAILSRV/HOSTB/SEND.LOG": SEND},
    "no folders": {"capi2.xml": CAPI2, "SEND.LOG": SEND},
    "the events beside": {"evtx/capi2.xml": CAPI2, "SmtpSend/SEND.LOG": SEND},
    "one archive": {"MAILSRV.zip": archive({"capi2.xml": CAPI2, "SmtpSend/SEND.LOG": SEND})},
}


@pytest.mark.parametrize("content", ONE_MACHINE.values(), ids=ONE_MACHINE)
def test_what_lies_in_the_machine_s_own_folder_is_the_machine_s(tmp_path, content):
    report = analyze(tmp_path, content)
    assert {rejection.host for rejection in rejections(report)} == {"MAILSRV"}
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "probable")


def test_what_is_said_on_the_command_line_wins(tmp_path):
    content = OTHER_MACHINES["folders"]
    report = analyze(tmp_path, content, host=["HOSTB=MAILSRV"])
    assert {(rejection.host, rejection.host_basis) for rejection in rejections(report)} == {("MAILSRV", "option")}
    assert report.verdict.grade == "probable"


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["HOSTA/c.evtx"], "HOSTA"),
        (["x/HOSTA/c.evtx"], "HOSTA"),
        (["x/c.evtx"], ""),
    ],
)
def test_only_a_folder_called_like_the_machine_makes_siblings(paths, expected):
    """The row names HOSTA; whether the folder beside is HOSTB depends on whether HOSTA has a folder of its own."""
    root = paths[0].rpartition("/")[0].rpartition("/")[0]
    beside = "/".join(part for part in (root, "HOSTB/SEND.LOG") if part)
    hosts = identify_hosts(
        [(path, "HOSTA.corp.example") for path in paths], [*paths, beside], unnamed_logs=[(beside, "")]
    )
    assert hosts.resolve(HostClue(path=beside)) == (("HOSTB", "folder") if expected else ("HOSTA", "assumed"))


FLAT = {"EX01_capi2.xml": [("EX01_capi2.xml", "EX01.corp.example")], "EX02_capi2.xml": [("EX02_capi2.xml", "EX02")]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EX02_SEND2026031008-1.LOG", "EX02"),
        ("ex01-SEND2026031008-1.LOG", "EX01"),
        ("SEND2026031008-1 EX02.LOG", "EX02"),
        ("logs/EX02.SEND.LOG", "EX02"),
        ("EX021_SEND.LOG", ""),
        ("SEND2026031008-1.LOG", ""),
        ("EX01_EX02.LOG", ""),
        ("EX03_SEND.LOG", ""),
    ],
)
def test_a_file_that_is_called_after_a_known_machine_is_that_machine_s(name, expected):
    rows = [row for rows in FLAT.values() for row in rows]
    hosts = identify_hosts(rows, [*FLAT, name], unnamed_logs=[(name, "10.0.0.1")])
    label, basis = hosts.resolve(HostClue(path=name))
    assert (label, basis) == ((expected, "file") if expected else ("", "unknown"))


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ({"EX01"}, ("EX01", "address")),
        ({"EX01", "EX02"}, ("", "unknown")),  # an address that moved from one machine to another
    ],
)
def test_a_log_without_names_is_of_the_machine_that_has_its_address(owners, expected):
    rows = [("a/capi2.xml", "EX01"), ("b/capi2.xml", "EX02")]
    hosts = identify_hosts(rows, ["SEND.LOG"], {"10.0.0.1": frozenset(owners)}, unnamed_logs=[("SEND.LOG", "10.0.0.1")])
    assert hosts.resolve(HostClue(path="SEND.LOG", address="10.0.0.1:2525")) == expected
    assert hosts.resolve(HostClue(path="SEND.LOG", address="10.0.0.2:2525")) == ("", "unknown")


@pytest.mark.parametrize(
    ("named", "unnamed", "several"),
    [
        ("HOSTA/capi2.xml", "HOSTB/SEND.LOG", True),
        ("case/server-a/evtx/capi2.xml", "case/server-b/Hub/SEND.LOG", True),
        ("all.zip!mail-x.zip!capi2.xml", "all.zip!mail-y.zip!SEND.LOG", True),
        ("HOSTA/capi2.xml", "HOSTA/SEND.LOG", False),
        ("capi2/capi2.xml", "smtp/SEND.LOG", False),
        ("logs1/capi2.xml", "logs2/SEND.LOG", False),
        ("a/HOSTA/capi2.xml", "b/HOSTB/SEND.LOG", False),
    ],
)
def test_folders_called_alike_but_for_the_last_letter_are_machines(named, unnamed, several):
    """Whatever the machine is called in its own rows: here MX-PROD."""
    hosts = identify_hosts([(named, "MX-PROD")], [named, unnamed], unnamed_logs=[(unnamed, "10.0.0.1")])
    assert hosts.resolve(HostClue(path=unnamed))[0] == ("" if several else "MX-PROD")


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [("[::1]:25", ""), ("127.0.0.1:25", ""), ("127.9.9.9:25", ""), ("0.0.0.0:25", ""), ("[::1a2b]:25", "::1a2b")],
)
def test_only_loopback_addresses_name_no_machine(endpoint, address):
    assert address_of(endpoint) == address
