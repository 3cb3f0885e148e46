"""Did the fix work: logs before and after, by ``verify`` and in one input, and every way to a wrong ``confirmed``.

The expected answers follow from what a repair is (design, evidence model): the state that the cause names has changed,
mail to outside recipients is accepted in it, and no refusal follows.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from places import SAMPLES
from typer.testing import CliRunner

import evtx_analyzer as ea
from evtx_analyzer.cli.app import app
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.definitions import CHANGES
from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, Recorder
from samples.cases import HOST, KB_TIME, LEAF
from samples.pieces import CHAIN, CONNECTOR, OLD, START, accepted, config, inbound, message, send, xml
from samples.smtp import SendSession

BROKEN = {"policy_result": "800B0109", "chain_result": "800B010A", "chain_error": PARTIAL_CHAIN}
SOUND = {"policy_result": "0", "chain_result": "0", "chain_error": 0}
LATER = timedelta(hours=2)


def checked(*checks, host=HOST):
    """A CAPI2 export with checks of (hours after the KB's time, facts)."""
    recorder = Recorder(host, next_record=900)
    for hours, facts in checks:
        chain = [(LEAF, 0)] if facts.get("chain_error") else CHAIN
        capi2.check(recorder, KB_TIME + timedelta(hours=hours), chain, seed=f"check {hours}", **facts)
    return xml(recorder)


def refused_at(hours, session, leaf=LEAF, **options):
    made = SendSession(START + timedelta(hours=hours), session, **options).connect().starttls(leaf)
    return message(made, 710).quit(1100)


def accepted_at(hours, session="08D50E7411223344", leaf=LEAF, **options):
    return accepted(leaf, START + timedelta(hours=hours), session, **options)


def sent(hours, session, sender, recipient, leaf=LEAF):
    """A session whose message is accepted, with a sender and a recipient of choice."""
    made = SendSession(START + timedelta(hours=hours), session).connect().starttls(leaf)
    return made.message(710, sender, [(recipient, "250 2.1.5 Recipient OK")], 3).quit(1300)


FIRST = refused_at(0, "08D50D3D9730A8D2")
BEFORE = {"capi2.xml": checked((0, BROKEN)), "SEND1.LOG": send(FIRST)}
FIXED = {"capi2-later.xml": checked((1.5, SOUND)), "SEND2.LOG": send(accepted_at(2))}


def written(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def verified(tmp_path):
    """``verify`` over logs of before and after, and the same logs analyzed as one input."""

    def run(before, after):
        earlier = ea.analyze(written(tmp_path / "before", before), host="CORP-SMTP1")
        later = ea.verify(earlier, written(tmp_path / "after", after), host="CORP-SMTP1")
        return later, ea.analyze([tmp_path / "before", tmp_path / "after"], host="CORP-SMTP1")

    return run


def grade(report, cause="missing-intermediate"):
    return next(finding.grade for finding in report.findings if finding.cause == cause)


def result(report):
    (only,) = report.repair.incidents
    return only.result


def test_a_chain_that_is_sound_again_and_mail_that_is_accepted_confirm_the_missing_intermediate(verified, tmp_path):
    report, together = verified(BEFORE, FIXED)
    assert result(report) == "fixed"
    assert report.repair.result == "fixed"
    assert (report.verdict.cause, report.verdict.grade) == ("missing-intermediate", "confirmed")
    before = ea.analyze(tmp_path / "before", host="CORP-SMTP1").incidents[0].grades
    assert report.incidents[0].grades == {**before, "missing-intermediate": "confirmed"}
    (changed,), (taken,) = report.repair.incidents[0].changed, report.repair.incidents[0].accepted
    assert changed.origin.source.endswith("capi2-later.xml")
    assert "1 message" in taken.text
    assert {changed, taken} <= set(report.findings[0].supports)
    # The same comes out where one input holds both.
    assert together.verdict.grade == "confirmed"
    assert result(together) == "fixed"


def test_without_later_logs_nothing_is_said_of_a_repair(tmp_path):
    report = ea.analyze(written(tmp_path / "before", BEFORE))
    assert report.repair is None
    assert report.verdict.grade == "probable"


NOT_CONFIRMED = {
    # The check passed, mail was refused all the same, and something else ended it.
    "refused since the check passes": (
        "fixed",
        {
            "c.xml": checked((1.5, SOUND)),
            "S.LOG": send(refused_at(1.8, "08D50D3D9730A8D3"), accepted_at(2)),
        },
    ),
    # A new certificate repairs whatever was wrong with the old one.
    "another certificate": ("fixed", {"S.LOG": send(accepted_at(2, leaf=OLD))}),
    # Two things changed at once.
    "another address": (
        "fixed",
        {"c.xml": checked((1.5, SOUND)), "S.LOG": send(accepted_at(2, seen="198.51.100.77"))},
    ),
    "another sender": (
        "fixed",
        {"c.xml": checked((1.5, SOUND)), "S.LOG": send(sent(2, "08D50E7411223344", "x@adatum.com", "b@fabrikam.com"))},
    ),
}


@pytest.mark.parametrize("name", NOT_CONFIRMED)
def test_a_fix_that_may_have_been_another_one_confirms_nothing(name, verified):
    expected, after = NOT_CONFIRMED[name]
    report, together = verified(BEFORE, after)
    assert result(report) == expected
    assert grade(report) == grade(together) == "probable"


NOT_SHOWN = {
    "nothing but a sound check": {"c.xml": checked((1.5, SOUND))},
    "accepted, and no log shows what changed": {"S.LOG": send(accepted_at(2))},
    "a change that the cause does not name": {"S.LOG": send(accepted_at(2, seen="198.51.100.77"))},
    "refused, changed and accepted, and a log that is cut": {
        "c.xml": checked((1.5, SOUND)),
        "S.LOG": send(refused_at(1, "08D50D3D9730A8D3"), accepted_at(2)),
        "S2.LOG": b"\x00" * 4096 + send(accepted_at(2.2, "08D50E7411223355")),
    },
    "own recipients are accepted whatever the attribution": {
        "c.xml": checked((1.5, SOUND)),
        "S.LOG": send(sent(2, "08D50E7411223344", "a@servername.com", "b@servername.onmicrosoft.com")),
    },
    "accepted before the check passes": {"c.xml": checked((3, SOUND)), "S.LOG": send(accepted_at(2))},
    "the check of another policy": {
        "c.xml": checked((1.5, SOUND | {"kind": capi2.AUTHENTICODE})),
        "S.LOG": send(accepted_at(2)),
    },
    "a user's process has a user's stores": {
        "c.xml": checked((1.5, SOUND | {"process": "powershell.exe"})),
        "S.LOG": send(accepted_at(2)),
    },
    "the check of another machine": {
        "c.xml": checked((1.5, SOUND), host="OTHER2.ServerName.com"),
        "S.LOG": send(accepted_at(2)),
    },
    "a check that fails again before mail is accepted": {
        "c.xml": checked((1.5, SOUND), (1.8, BROKEN)),
        "S.LOG": send(accepted_at(2)),
    },
    "a check that fails again after mail was accepted": {
        "c.xml": checked((1.5, SOUND), (3, BROKEN)),
        "S.LOG": send(accepted_at(2)),
    },
    "a check that passes and fails in turn, and passes last after the mail": {
        "c.xml": checked((1.5, SOUND), (1.8, BROKEN), (4, SOUND)),
        "S.LOG": send(accepted_at(2)),
    },
    "a chain with errors that were ignored": {
        "c.xml": checked((1.5, SOUND | {"chain_error": PARTIAL_CHAIN})),
        "S.LOG": send(accepted_at(2)),
    },
    "another connector": {
        "c.xml": checked((1.5, SOUND)),
        "S.LOG": send(accepted_at(2, connector="To the partner")),
    },
    "a log that is cut in the middle of a row": {
        "c.xml": checked((1.5, SOUND)),
        "S.LOG": send(accepted_at(2)) + b"2016-12-01T05:20:00.000Z,Outbound to Office 365,08D5",
        "S2.LOG": b"\x00" * 4096 + send(accepted_at(2.2, "08D50E7411223355")),
    },
}


@pytest.mark.parametrize("name", NOT_SHOWN)
def test_what_is_not_shown_is_not_fixed_and_says_what_to_collect(name, verified):
    report, together = verified(BEFORE, NOT_SHOWN[name])
    assert result(report) == "not-shown"
    assert report.repair.incidents[0].missing
    assert grade(report) == "probable"
    assert grade(together) != "confirmed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing but a sound check", "No log shows mail of CORP-SMTP1, Outbound to Office 365 to outside recipients"),
        ("accepted, and no log shows what changed", "no log shows what was changed"),
        ("a change that the cause does not name", "no log shows what was changed"),
        ("accepted before the check passes", "A change is shown, and mail of CORP-SMTP1"),
        ("refused, changed and accepted, and a log that is cut", "could not be read"),
    ],
)
def test_what_is_missing_for_an_answer_is_said(name, said, verified):
    (only,) = verified(BEFORE, NOT_SHOWN[name])[0].repair.incidents
    assert [said in missing.text for missing in only.missing] == [True]


def test_mail_that_is_still_refused(verified):
    after = {"c.xml": checked((1.5, SOUND)), "S.LOG": send(refused_at(2, "08D50D3D9730A8D3"))}
    report, together = verified(BEFORE, after)
    assert result(report) == "still-refused"
    assert "1 more refusal" in report.repair.incidents[0].refused[0].text
    # What is wrong now is what the later logs say, not what the earlier report said.
    assert report.repair.verdict.cause is not None
    assert grade(report) == "probable"
    assert together.repair is None


@pytest.mark.parametrize("again", [(), (4,)], ids=["refused last", "in turn"])
def test_mail_that_is_accepted_and_then_refused_again(verified, again):
    rows = (accepted_at(2), refused_at(3, "08D50D3D9730A8D3"), *(accepted_at(hours, "08D50E9") for hours in again))
    report, _ = verified(BEFORE, {"c.xml": checked((1.5, SOUND)), "S.LOG": send(*rows)})
    assert result(report) == "still-refused"
    assert grade(report) == "probable"


def test_mail_that_was_accepted_between_the_refusals_shows_nothing_afterwards(verified):
    before = {
        "capi2.xml": checked((0, BROKEN)),
        "SEND1.LOG": send(FIRST, accepted_at(0.5, "08D50D3D9730A8EE"), refused_at(1, "08D50D3D9730A8D4")),
    }
    report, together = verified(before, FIXED)
    assert grade(report) != "confirmed"
    assert grade(together) != "confirmed"


def test_one_lossy_later_log_is_enough_to_show_nothing(verified):
    whole = send(accepted_at(2), accepted_at(3, "08D50E7411223399"))
    cut = whole[: len(whole) - 700] + b"\x00" * 300 + whole[-400:]
    report, _ = verified(BEFORE, {"c.xml": checked((1.5, SOUND)), "S.LOG": cut})
    assert result(report) == "not-shown"


def test_a_certificate_that_is_sent_now_confirms_that_none_was_sent(verified):
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    before = {"S1.LOG": send(message(session, 710).quit(1100)), "i.json": connector("*.servername.com")}
    report, together = verified(before, {"S.LOG": send(accepted_at(2))})
    assert grade(report, "no-client-certificate") == grade(together, "no-client-certificate") == "confirmed"


def connector(name, **properties):
    return config(inbound(TlsSenderCertificateName=name, **properties))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"WhenChangedUTC": "2016-11-01T00:00:00Z"}, {"WhenChangedUTC": "2016-12-01T04:30:00Z"}),
    ],
)
def test_a_connector_that_names_the_certificate_now_confirms_the_mismatch(verified, first, second):
    before = {"S1.LOG": send(FIRST), "capi2.xml": checked((0, SOUND)), "i.json": connector("mail.contoso.com", **first)}
    after = {"S2.LOG": send(accepted_at(2)), "i2.json": connector("*.servername.com", **second)}
    report, together = verified(before, after)
    assert (report.verdict.cause, report.verdict.grade) == ("certificate-name-mismatch", "confirmed")
    # Exports have no time: in one input nothing tells which of them is the later one.
    assert together.verdict.grade != "confirmed"


def test_an_export_of_the_state_now_does_not_confirm_what_was_only_possible(verified):
    """Mail was accepted earlier in the very state that is to be the cause: the export may fit ever since."""
    before = {
        "S1.LOG": send(accepted_at(-1, "08D50D0000000001"), FIRST),
        "capi2.xml": checked((0, SOUND)),
        "i.json": connector("mail.contoso.com"),
    }
    report, _ = verified(before, {"S2.LOG": send(accepted_at(2)), "i2.json": connector("*.servername.com")})
    assert report.repair.incidents[0].cause == "certificate-name-mismatch"
    assert (result(report), grade(report, "certificate-name-mismatch")) == ("fixed", "possible")


def test_a_change_that_fits_another_possible_cause_as_well_confirms_neither(verified):
    """Meanwhile the certificate worked over another connector: perhaps mail was attributed to another tenant."""
    elsewhere = accepted_at(0.5, "08D50D0000000001", connector="To another tenant")
    before = {
        "S1.LOG": send(FIRST, elsewhere),
        "capi2.xml": checked((0, SOUND)),
        "i.json": connector("mail.contoso.com"),
    }
    report, _ = verified(before, {"S2.LOG": send(accepted_at(2)), "i2.json": connector("*.servername.com")})
    assert report.repair.incidents[0].cause == "certificate-name-mismatch"
    assert grade(report, "attributed-to-another-tenant") == "possible"
    assert (result(report), grade(report, "certificate-name-mismatch")) == ("fixed", "probable")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2016-11-01T00:00:00Z", "confirmed"),
        ("2016-12-01T04:00:00Z", "probable"),
        ("2016-12-02T00:00:00Z", "confirmed"),
    ],
)
def test_a_connector_that_was_changed_meanwhile_may_have_been_the_repair(verified, when, expected):
    after = {**FIXED, "i.json": connector("*.servername.com", WhenChangedUTC=when)}
    report, together = verified(BEFORE, after)
    assert (result(report), grade(report)) == ("fixed", expected)
    assert grade(together) == expected


@pytest.mark.parametrize(("seen", "expected"), [("192.0.2.50", "fixed"), ("10.1.2.3", "not-shown")])
def test_a_private_address_is_not_another_one_that_exchange_online_sees(verified, seen, expected):
    """A gateway or a masked log wrote it."""
    exported = config(inbound(TlsSenderCertificateName=None, SenderIPAddresses=["192.0.2.50"]))
    report, _ = verified({"S1.LOG": send(FIRST), "i.json": exported}, {"S2.LOG": send(accepted_at(2, seen=seen))})
    assert report.repair.incidents[0].cause == "source-ip-not-allowed"
    assert result(report) == expected


def test_a_connector_that_still_names_another_certificate_confirms_nothing(verified):
    before = {"S1.LOG": send(FIRST), "capi2.xml": checked((0, SOUND)), "i.json": connector("mail.contoso.com")}
    report, _ = verified(before, {"S2.LOG": send(accepted_at(2)), "i2.json": connector("mail.contoso.com")})
    assert result(report) == "not-shown"
    assert grade(report, "certificate-name-mismatch") == "probable"


def test_refusals_without_a_known_time_cannot_be_shown_to_be_over(tmp_path):
    report = ea.analyze(written(tmp_path / "before", BEFORE))
    incident = report.incidents[0]
    undated = replace_struct(report, incidents=(replace_struct(incident, end_basis="unknown", unknown_zone_count=2),))
    later = ea.verify(undated, written(tmp_path / "after", FIXED))
    assert result(later) == "not-shown"
    assert "--tz" in later.repair.incidents[0].missing[0].text


# As Get-MessageTrackingLog | Export-Csv writes it: local digits without a zone.
TRACKED = (
    '"Timestamp","ClientHostname","ConnectorId","Source","EventId","MessageId","Recipients","RecipientStatus","Sender"\r\n'
    '"{time:%m/%d/%Y %I:%M:%S %p}","{host}","{connector}","SMTP","FAIL","<later@servername.com>","b@fabrikam.com",'
    '"[{{LED=550 5.7.64 TenantAttribution; Relay Access Denied}};{{MSG=}}]","a@servername.com"\r\n'
)


@pytest.mark.parametrize(
    ("hours", "options", "expected"),
    [
        (-4, {}, "not-shown"),  # eight hours behind UTC this is after the accepted mail
        (9, {}, "not-shown"),
        (-4, {"connector": ""}, "not-shown"),
        (-30, {}, "fixed"),  # in no zone after the others
        (-4, {"host": "CORP-SMTP2"}, "fixed"),
        (-4, {"connector": "To a partner"}, "fixed"),
    ],
)
def test_a_later_refusal_of_local_time_may_follow_the_accepted_mail(hours, options, expected, tmp_path):
    row = {"host": "CORP-SMTP1", "connector": CONNECTOR, **options}
    tracked = TRACKED.format(time=START + timedelta(hours=hours), **row).encode()
    earlier = ea.analyze(written(tmp_path / "before", BEFORE), host="SEND*.LOG=CORP-SMTP1")
    later = ea.verify(
        earlier, written(tmp_path / "after", {**FIXED, "tracking.csv": tracked}), host="SEND*.LOG=CORP-SMTP1"
    )
    assert result(later) == expected
    assert grade(later) == ("confirmed" if expected == "fixed" else "probable")
    missing = [part.text for part in later.repair.incidents[0].missing]
    assert any("--tz" in text for text in missing) == (expected == "not-shown")


def replace_struct(value, **fields):
    from msgspec.structs import replace as with_fields

    return with_fields(value, **fields)


def test_the_machine_may_be_named_with_its_domain_or_without(tmp_path):
    earlier = ea.analyze(written(tmp_path / "before", BEFORE), host="CORP-SMTP1")
    after = written(tmp_path / "after", FIXED)
    assert result(ea.verify(earlier, after, host="corp-smtp1.servername.com")) == "fixed"
    assert result(ea.verify(earlier, after, host="CORP-SMTP2")) == "not-shown"
    assert result(ea.verify(earlier, after, host="CORP-SMTP1.other.com")) == "fixed"


def test_later_logs_that_name_no_machine_may_be_another_ones(tmp_path):
    """Send connectors are shared by all servers of an organization: the log may be that of a server that works."""
    earlier = ea.analyze(written(tmp_path / "before", BEFORE))
    report = ea.verify(earlier, written(tmp_path / "after", {"S.LOG": send(accepted_at(2, leaf=OLD))}))
    assert result(report) == "not-shown"
    assert "--host CORP-SMTP1" in report.repair.incidents[0].missing[0].text


def test_logs_that_name_no_machine_confirm_nothing(tmp_path):
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    before = {"S1.LOG": send(message(session, 710).quit(1100)), "i.json": connector("*.servername.com")}
    after = {"S.LOG": send(accepted_at(2))}
    report = ea.verify(ea.analyze(written(tmp_path / "before", before)), written(tmp_path / "after", after))
    assert (result(report), report.verdict.grade) == ("fixed", "probable")
    together = ea.analyze([tmp_path / "before", tmp_path / "after"])
    assert (result(together), together.verdict.grade) == ("fixed", "probable")


def test_every_change_that_causes_name_is_looked_for_and_every_cause_names_one():
    rules = Rules.load()
    named = {name for cause in rules.causes for name in (*cause.repair_confirms, *cause.repair_fits)}
    assert named == set(CHANGES)
    assert [cause.id for cause in rules.causes if not (cause.repair_confirms or cause.repair_fits)] == ["unexplained"]


EXITS = {
    0: FIXED,
    1: {"S.LOG": send(refused_at(2, "08D50D3D9730A8D3"))},
    3: {"S.LOG": send(accepted_at(2))},
}


@pytest.mark.parametrize("status", EXITS)
def test_the_exit_status_says_which_of_the_three(status, tmp_path):
    saved = tmp_path / "before.json"
    ea.analyze(written(tmp_path / "before", BEFORE)).save(saved)
    after = written(tmp_path / "after", EXITS[status])
    done = CliRunner().invoke(app, ["verify", str(saved), str(after), "--host", "CORP-SMTP1", "--format", "json"])
    assert done.exit_code == status, done.output
    assert '"repair": {' in done.output


def test_a_report_without_refusals_has_no_fix_to_verify(tmp_path):
    earlier = ea.analyze(written(tmp_path / "clean", {"S.LOG": send(accepted_at(2))}))
    with pytest.raises(ea.ReportError, match="no refusal"):
        ea.verify(earlier, written(tmp_path / "after", FIXED))


def test_later_logs_that_cannot_be_read_are_an_error(tmp_path):
    earlier = ea.analyze(written(tmp_path / "before", BEFORE))
    with pytest.raises(ea.InputError):
        ea.verify(earlier, written(tmp_path / "after", {"x.evtx": b"\x00" * 70000}))


def test_a_saved_report_verifies_as_the_one_in_memory(tmp_path):
    earlier = ea.analyze(written(tmp_path / "before", BEFORE))
    after = written(tmp_path / "after", FIXED)
    earlier.save(tmp_path / "before.json")
    assert ea.verify(ea.load(tmp_path / "before.json"), after) == ea.verify(earlier, after)


@pytest.mark.parametrize(
    ("after", "status"),
    [("fixed/after", 0), ("not-fixed/after", 1), ("later-success", 3), ("fixed/before", 3)],
)
def test_verify_on_the_samples_gives_all_three_answers(after, status):
    """The earlier report is that of ``samples/fixed/before``; logs of the same time show nothing that is later."""
    done = CliRunner().invoke(app, ["verify", str(SAMPLES / "fixed" / "before.json"), str(SAMPLES / after)])
    assert done.exit_code == status, done.output
