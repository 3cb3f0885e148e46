"""The confusion table: made cases with a known truth, one fault and two at once, in every form of log.

The verdict must be right, or weaker where the form of the log does not show what decides; and no cause that is not the
truth may stand at ``possible`` or above in any finding. A confident wrong answer is the worst that can happen.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from examples import thinned
from faults import FAULTS, noise
from smtp_case import rules
from worlds import DAY, FORMS, SEND_FORMS, completed, files, world

import evtx_analyzer as ea

RANK = {"confirmed": 5, "probable": 4, "possible": 3, "coincident": 2, "contradicted": 1, "no-evidence": 0, None: 0}
STRONG = RANK["possible"]
# What the session or the connector rules out: the second fault's certificate was never sent, or does not count.
CERTIFICATE = {"chain", "leaf", "send"}


def silent(one, other):
    """Whether of two faults the second shows in the logs and has no part in the refusal."""
    if "tls" in one.touches:
        return bool(other.touches & CERTIFICATE) or other.name == "rolled_back"
    # Another tenant is no matter of the own connectors: the certificate's domain is looked up first (MC1226222).
    return one.name == "source_ip" and bool(other.touches & CERTIFICATE or other.name == "rolled_back")


def truth(names, form):
    """Faults that act, and causes that may be named for them, and how strongly."""
    chosen = [FAULTS[name] for name in names]
    acting = [fault for fault in chosen if not any(silent(other, fault) for other in chosen)]
    most = {cause: "probable" for fault in acting for cause in (*fault.verdicts, *fault.also)}
    if form in ("tracking", "ndr"):
        # No session shows that no certificate was sent: what fails at that time is possible.
        most |= {
            cause: "possible" for fault in chosen if fault not in acting for cause in (*fault.verdicts, *fault.also)
        }
    if any("remote" in fault.touches and form in fault.shown_in for fault in acting):
        # Behind a gateway nothing that this server sent reached Exchange Online.
        most = {cause: "probable" if cause == "not-exchange-online" else "possible" for cause in most}
    if set(names) & {"address_changed", "null_sender"}:
        # The same certificate was accepted: what is wrong with it since ever does not decide.
        for cause in ("self-signed-certificate", "certificate-expired", "untrusted-root", "certificate-name-mismatch"):
            if cause in most:
                most[cause] = "possible"
    return acting, most


def build(names, form, seed):
    made = world(seed, form)
    # A fault of the certificate comes before those that send it.
    for name in sorted(names, key=lambda item: ("leaf" not in FAULTS[item].touches, "history" in FAULTS[item].touches)):
        if not (FAULTS[name].touches & {"sender", "tls", "remote"}):
            FAULTS[name].apply(made)
    for name in names:
        if FAULTS[name].touches & {"sender", "tls", "remote"}:
            FAULTS[name].apply(made)
    completed(made)
    noise(made, random.Random(seed))
    return made


def analyzed(made, folder):
    for name, content in files(made).items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return ea.analyze(folder, rules=rules())


def wrong(report, names, form):
    """What is wrong in a report, in words."""
    acting, most = truth(names, form)
    named = {finding.cause: finding.grade for finding in report.findings if finding.cause != "unexplained"}
    # Only a fault that acts, and whose own verdict it is, may be confirmed.
    proven = {cause for item in acting for cause in item.verdicts if most[cause] == "probable"}
    most |= dict.fromkeys(proven, "confirmed")
    problems = [
        f"{cause} {grade} is not true"
        for cause, grade in named.items()
        if RANK[grade] >= STRONG and RANK[grade] > RANK[most.get(cause)]
    ]
    if not report.rejection_count:
        problems.append("no refusal was found")
    right = {cause for item in acting for cause in item.verdicts}
    shown = [item for item in acting if form in item.shown_in]
    verdict = report.verdict
    weaker = {*most, "unexplained"}
    if len(names) > 1:
        # What the one fault brings with it may weigh more where the other is exported too.
        right |= {cause for item in acting for cause in item.also}
    if verdict.cause not in (right if shown else weaker):
        problems.append(f"verdict {verdict.cause} {verdict.grade}, right is {sorted(right)}")
    elif len(names) == 1 and shown and verdict.cause != "unexplained" and RANK[verdict.grade] < RANK[shown[0].least]:
        problems.append(f"verdict {verdict.cause} {verdict.grade} is weaker than {shown[0].least}")
    return problems


def combine(one, other):
    """Whether two faults can be put into one world."""
    left, right = FAULTS[one], FAULTS[other]
    if {"sender", "tls", "remote"} & left.touches and {"sender", "tls", "remote"} & right.touches:
        return False  # both say how the refused message was sent
    return not left.touches & right.touches


SINGLE = [(name, form) for name in FAULTS for form in FORMS]
PAIRS = [
    ((one, other), FORMS[number % len(FORMS)] if number % 2 else SEND_FORMS[number // 2 % 3])
    for number, (one, other) in enumerate(
        pair for pair in itertools.combinations(FAULTS, 2) if combine(*pair) and "nothing_to_be_seen" not in pair
    )
]


def seed_of(names, form):
    return sum(map(ord, "".join(names) + form))


@pytest.mark.parametrize(("name", "form"), SINGLE)
def test_one_fault(tmp_path, name, form):
    made = build((name,), form, seed_of((name,), form))
    assert wrong(analyzed(made, tmp_path), (name,), form) == []


@pytest.mark.parametrize(
    ("names", "form"), thinned(PAIRS, 4), ids=lambda value: "+".join(value) if isinstance(value, tuple) else value
)
def test_two_faults_at_once(tmp_path, names, form):
    made = build(names, form, seed_of(names, form))
    assert wrong(analyzed(made, tmp_path), names, form) == []


# ------------------------------------------------------------------------------------ accepted meanwhile, two machines


@pytest.mark.parametrize(("name", "form"), thinned([(name, form) for name in FAULTS for form in SEND_FORMS], 4))
def test_mail_accepted_in_the_very_same_state_leaves_nothing_probable(tmp_path, name, form):
    """Before, between and after the refusals: what was wrong all the time does not decide."""
    made = build((name,), form, seed_of((name,), form))
    refused = made.refused()[0]
    for minutes in (-30, 3, 30):
        after = timedelta(minutes=minutes)
        made.mails.append(replace(refused, after=after, recipient="z@outside.example", reply="250 2.1.5 Recipient OK"))
    named = {finding.cause: finding.grade for finding in analyzed(made, tmp_path).findings}
    capped = {
        cause.id
        for cause in rules().causes
        if any(observation.name == "accepted-meanwhile" for observation in cause.observations)
    }
    assert [cause for cause, grade in named.items() if grade == "probable" and cause in capped] == []
    assert not {"certificate-replaced", "attributed-to-another-tenant"} & {
        cause for cause, grade in named.items() if grade == "probable"
    }


@pytest.mark.parametrize("form", SEND_FORMS)
@pytest.mark.parametrize("name", ["starttls_masked", "starttls_not_offered"])
def test_where_tls_was_not_tried_no_credential_is_to_blame(tmp_path, name, form):
    """Schannel writes its events for any service (remote desktop, HTTPS); none was for a session without STARTTLS."""
    made = build((name,), form, seed_of((name,), form))
    made.system += [(number, timedelta(seconds=-20)) for number in (36869, 36870, 36872, 36875)]
    FAULTS["remote_untrusted"].apply(made)
    made.mails = [mail for mail in made.mails if "STARTTLS" not in mail.ehlo or not mail.reply.startswith("550")]
    assert wrong(analyzed(made, tmp_path), (name,), form) == []


@pytest.mark.parametrize("sender", ["", "x@forwarded.example"])
@pytest.mark.parametrize("name", ["missing_intermediate", "missing_root", "intermediate_expired", "revoked"])
def test_what_is_accepted_until_the_chain_breaks_is_no_sender_s_fault(tmp_path, name, sender):
    """Users' mail of the day before, and since the chain broke the first mail is a report or is forwarded."""
    made = world(3, "C")
    FAULTS[name].apply(made)
    made.mails += [made.mail(-DAY), made.mail(-DAY / 2), made.refusal(sender=sender)]
    assert wrong(analyzed(completed(made), tmp_path), (name,), "C") == []


ALONE = [name for name, fault in FAULTS.items() if not fault.touches & {"inbound", "send", "domains"}]
MACHINES = list(zip(ALONE, ALONE[7:] + ALONE[:7], strict=True))


@pytest.mark.parametrize(("one", "other"), MACHINES, ids=lambda value: value)
def test_two_machines_with_a_fault_each(tmp_path, one, other):
    """Folders of two machines in one input: neither's fault is laid at the other's door."""
    seeds = {one: 0, other: 1 + 2 * (len(other) % 2)}
    hosts = []
    for number, name in enumerate((one, other)):
        made = replace(world(seeds[name] + 2 * number, "BC"[number]))
        made.host = f"SRV{number}"
        FAULTS[name].apply(made)
        completed(made)
        for file, content in files(made).items():
            path = tmp_path / made.host / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="")
        hosts.append((made.host, truth((name,), "BC"[number])[1]))
    report = ea.analyze(tmp_path, rules=rules())
    assert {item.host for item in report.incidents} == {"SRV0", "SRV1"}
    where = {incident.id: incident.host for incident in report.incidents}
    allowed = {host: set(most) for host, most in hosts}
    wrong_doors = [
        (finding.cause, finding.grade, where[incident])
        for finding in report.findings
        if finding.cause != "unexplained" and RANK[finding.grade] >= STRONG
        for incident in finding.incidents
        if finding.cause not in allowed[where[incident]]
    ]
    assert wrong_doors == []
