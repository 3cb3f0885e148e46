"""Merging of what several logs tell: the index finds what asking every group would find."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evtx_analyzer.model.evidence import Rejection
from evtx_analyzer.model.origin import Origin, display_name, sort_key
from evtx_analyzer.model.rejection import HostBasis
from evtx_analyzer.smtp import merge as merging
from evtx_analyzer.smtp.merge import merge
from evtx_analyzer.smtp.rejections import INTERNAL, Sighting

START = datetime(2016, 12, 1, tzinfo=UTC)
LAYERS = ("send-connector", "iis-smtp", INTERNAL, "message-tracking SMTP FAIL", "message-tracking DSN DSN", "ndr")
# Below, at and above the limits of two seconds, a minute and a day, and of the clocks that write whole seconds.
STEPS = (0.0, 0.001, 1.0, 1.999, 2.0, 2.001, 2.999, 3.0, 59.999, 60.0, 60.999, 61.0, 86399.0, 86400.0, 86401.0)


def told(number, layer, seconds, *, rcpt="b@x", host="", message="", session="", basis="utc", resolution=0.001, file=0):
    """A refusal in file ``file``; ``number`` is its line."""
    rejection = Rejection(
        id=f"R-{number:06}",
        time=START + timedelta(seconds=seconds),
        host=host,
        host_basis="row" if host else "unknown",
        kind=layer.split(" ")[0],
        connector="",
        session=session,
        local_endpoint="",
        remote_endpoint="",
        remote_name="",
        helo="",
        starttls=False,
        handshake_time=None,
        tls="",
        sent=None,
        received=None,
        mail_from="a@x",
        rcpt_to=rcpt,
        message_id=message,
        stage="RCPT",
        reply="550 5.7.64",
        attribution="",
        untrusted_root_hint=False,
        resolution=resolution,
        signals=("refused",),
        origin=(origin := Origin(source=f"log{file}", line=number)),
        origins=(origin,),
        kinds=(layer.split(" ")[0],),
        time_basis=basis,
    )
    return Sighting(rejection, layer)


def some(chance, count):
    """Refusals with few values of everything, so that they collide; some are rows that another file repeats."""
    made = []
    for number in range(count):
        if made and chance.random() < 0.1:
            made.append(again(chance.choice(made), number, chance.randrange(3)))
            continue
        seconds = chance.choice((0.0, 0.0, 10.0, 86400.0)) + chance.choice((-1, 1)) * chance.choice(STEPS)
        made.append(
            told(
                number,
                chance.choice(LAYERS),
                seconds,
                rcpt=chance.choice(("b@x", "b@x", "b@x", "c@x", "B@x; c@x", "c@x; d@x", "", ";")),
                host=chance.choice(("EX01", "EX01", "EX02", "")),
                message=chance.choice(("<1@x>", "1@X", "<2@x>", "", "")),
                session=chance.choice(("08D5", "08D6", "", "")),
                basis=chance.choice(("utc", "utc", "utc", "zone", "unknown", "ambiguous")),
                resolution=chance.choice((0.001, 0.001, 1.0)),
                file=chance.randrange(3),
            )
        )
    return made


def again(other, number, file):
    origin = Origin(source=f"log{file}", line=number)
    values = {name: getattr(other.rejection, name) for name in Rejection.__struct_fields__}
    return Sighting(
        Rejection(**{**values, "id": f"R-{number:06}", "origin": origin, "origins": (origin,)}), other.layer
    )


def plainly(found):
    """``merge`` with every group asked, one after the other: what the index must equal."""
    groups, offsets, rows = [], [], []
    for item in sorted(found, key=merging._strength):
        file, key = display_name(item.rejection.origin), merging._copy_key(item)
        anywhere = merging._is_named(item.rejection)
        copy = next((group for other, path, group in rows if other == key and (path != file or anywhere)), None)
        if copy is not None:
            copy.copies.append(item.rejection.origin)
            continue
        group = plainly_found(item, groups, rows)
        if group is None:
            group = merging.Group(item)
            groups.append(group)
        else:
            hours = merging._hours_apart(item.rejection, group.first)
            offsets += [(item.rejection.origin, hours)] if hours else []
            group.members.append(item.rejection)
            group.layers |= merging._layers_of(item)
        rows.append((key, file, group))
    merged = [merging._merged(group) for group in groups]
    return sorted(merged, key=lambda rejection: (rejection.time, sort_key(rejection.origin), rejection.id)), offsets


def plainly_found(item, groups, rows):
    """By message, by session, by recipient and time; of each the nearest, of equally near ones the first."""
    told_before = [(member, group, number) for number, (member, group) in enumerate(in_order(groups, rows))]
    wanted = item.rejection
    reach = timedelta(seconds=60 if item.layer == "ndr" else 2)
    known = wanted.time_basis in ("utc", "zone")

    def near(member):
        return (
            known
            and merging.recipients_of(member.rcpt_to) & merging.recipients_of(wanted.rcpt_to)
            and abs(member.time - wanted.time) <= reach
        )

    ways = (
        (
            lambda member: (
                wanted.message_id and merging.message_key(member.message_id) == merging.message_key(wanted.message_id)
            ),
            timedelta(days=1),
            False,
        ),
        (lambda member: wanted.session and member.session == wanted.session, timedelta(days=1), False),
        (near, reach, True),
    )
    for shares, limit, by_time in ways:
        fitting = [
            (abs(group.first.time - wanted.time), member.time if by_time else START, number, group)
            for member, group, number in told_before
            if (member.message_id or shares is not ways[0][0])
            and shares(member)
            and merging._may_join(item, group, limit)
        ]
        if fitting:
            return min(fitting, key=lambda row: row[:3])[3]
    return None


def in_order(groups, rows):
    """Members with their groups in the order in which they were told."""
    at = dict.fromkeys(map(id, groups), 0)
    for _, _, group in rows:
        yield group.members[at[id(group)]], group
        at[id(group)] += 1


@given(st.integers(0, 2**32), st.integers(2, 60))
@settings(max_examples=examples(300))
def test_the_index_finds_what_asking_every_group_finds(seed, count):
    found = some(random.Random(seed), count)
    assert merge(found) == plainly(found)


@given(st.integers(0, 2**32), st.sampled_from((1.0, 0.1, 0.01)))
@settings(max_examples=examples(20))
def test_the_index_finds_the_same_in_a_dense_outage(seed, spread):
    """One message refused again and again, told by every layer: long runs under one key, where groups are taken off."""
    chance = random.Random(seed)
    found = [
        told(
            number,
            chance.choice(LAYERS),
            round(chance.random() * 120 * spread, 3),
            rcpt=chance.choice(("b@x", "b@x", "b@x", "c@x", "")),
            host=chance.choice(("EX01", "EX01", "EX02")),
            message=chance.choice(("<1@x>", "<1@x>", "")),
            session=chance.choice(("08D5", "")),
            basis=chance.choice(("utc",) * 9 + ("unknown",)),
            file=chance.randrange(2),
        )
        for number in range(300)
    ]
    assert merge(found) == plainly(found)


def test_the_order_of_files_does_not_matter():
    found = some(random.Random(7), 200)
    assert merge(found) == merge(found[::-1])


def test_a_refusal_is_not_compared_with_all_of_its_own_layer(monkeypatch):
    """Thousands of refusals of one message by one server, in two logs: the groups asked grow with the refusals."""
    asked = []
    plain = merging._may_join
    monkeypatch.setattr(merging, "_may_join", lambda *args: asked.append(args) or plain(*args))
    count = 2000
    found = [
        told(number, layer, number * 3, message="<1@x>", host="EX01", session="08D5", file=layer)
        for layer in ("send-connector", "message-tracking SMTP FAIL")
        for number in range(count)
    ]
    merged, _ = merge(found)
    assert [len(rejection.origins) for rejection in merged] == [2] * count
    assert len(asked) < 4 * count


# -------------------------------------------------------------------------------------------------- who sent it


def sender(layer, mail_from, null_sender=None, number=1):
    made = told(number, layer, 0.0, message="<1@x>")
    return Sighting(replace(made.rejection, mail_from=mail_from, null_sender=null_sender), layer)


SEND, TRACKING, REPORT = "send-connector", "message-tracking SMTP FAIL", "ndr"
SENDERS = {
    # logs of one refusal, in any order -> sender and null sender of the merged one
    "the Send log's MAIL FROM:<> stays": (
        [sender(SEND, "", null_sender=True), sender(TRACKING, "anna@x"), sender(REPORT, "anna@x")],
        ("", True),
    ),
    "the Send log's sender stays": (
        [sender(SEND, "anna@x", null_sender=False), sender(TRACKING, "b@x")],
        ("anna@x", False),
    ),
    "a session that names a sender shows the envelope": (
        [sender(SEND, "anna@x"), sender(TRACKING, "", True)],
        ("anna@x", False),
    ),
    "no MAIL FROM row, return path of tracking": (
        [sender(SEND, ""), sender(TRACKING, "anna@x", False)],
        ("anna@x", False),
    ),
    "no MAIL FROM row, return path <>": ([sender(SEND, ""), sender(TRACKING, "", True)], ("", True)),
    "no MAIL FROM row, header only": ([sender(SEND, ""), sender(TRACKING, "anna@x")], ("anna@x", None)),
    "header of tracking, path of the report": ([sender(TRACKING, "anna@x"), sender(REPORT, "", True)], ("", True)),
    "nothing": ([sender(SEND, ""), sender(REPORT, "")], ("", None)),
}


@pytest.mark.parametrize(("logs", "expected"), SENDERS.values(), ids=SENDERS)
def test_the_sender_is_that_of_the_first_log_that_shows_the_envelope(logs, expected):
    for order in (logs, logs[::-1]):
        ((rejection,), _) = merge(order)
        assert rejection.kinds
        assert (rejection.mail_from, rejection.null_sender) == expected


def test_the_certificate_in_the_reply_is_kept_from_whichever_log_has_it():
    first, second = sender(SEND, "a@x"), sender(REPORT, "a@x", number=2)
    named_one = replace(second.rejection, certificate_name="app01", certificate_verdict="untrustedroot")
    ((rejection,), _) = merge([first, Sighting(named_one, REPORT)])
    assert (rejection.certificate_name, rejection.certificate_verdict) == ("app01", "untrustedroot")


def known_by(basis, layer, number):
    sighting = sender(layer, "a@x", number=number)
    host = "" if basis == "unknown" else f"by-{basis}"
    return Sighting(replace(sighting.rejection, host=host, host_basis=basis), layer)


@pytest.mark.parametrize(("sure", "less"), list(itertools.combinations(get_args(HostBasis), 2)))
def test_the_machine_is_the_one_that_is_known_most_surely(sure, less):
    """Each way of knowing a machine meets each other: none is missing in the order."""
    ((merged,), _) = merge([known_by(less, SEND, 1), known_by(sure, REPORT, 2)])
    assert (merged.host, merged.host_basis) == (f"by-{sure}", sure)
