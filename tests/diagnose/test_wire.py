"""What a network trace proves, and every way to a wrong ``confirmed`` that we could think of.

Cases are made of the sample's log (one refusal at 03:09:55.774, handshake at 03:09:55.2) and a trace that differs from
the honest one in one thing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import evtx_analyzer as ea
from samples import capi2, traces, wire
from samples.capi2 import Recorder
from samples.cases import HOST, KB_TIME, SEND_FILE
from samples.pieces import BROKEN, START, accepted, config, inbound, message, refused, send, xml
from samples.smtp import FRONT_END, SendSession
from samples.traces import INTERMEDIATE, ISSUER_DER, LEAF, LEAF_DER, REMOTE_CHAIN, ROOT, SERVER, TRACE_FILE, talk
from samples.wire import Authority, Conversation, certificate

CAUSE = "missing-intermediate"
BY_CERTIFICATE = {"Get-InboundConnector.json": config(inbound(TlsSenderCertificateName="*.servername.com"))}
BY_ADDRESS = {"Get-InboundConnector.json": config(inbound(SenderIPAddresses=["198.51.100.0/24"], RequireTls=False))}
SOME_PRIVATE = Authority((("CN", "Contoso Issuing CA"), ("O", "Contoso")))
PRIVATE_ROOT = Authority((("CN", "Contoso Root CA"), ("O", "Contoso")))


@pytest.fixture
def case(tmp_path):
    def make(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return ea.analyze(tmp_path, anyway=True)

    return make


def log_of(leaf=LEAF):
    return {SEND_FILE: send(refused(leaf))}


def with_trace(*talks, leaf=LEAF):
    return {**log_of(leaf), TRACE_FILE: traces.trace(*talks)}


def grade(report, cause=CAUSE):
    return next((finding.grade for finding in report.findings if finding.cause == cause), "no-evidence")


def confirmed(report):
    return [finding.cause for finding in report.findings if finding.grade == "confirmed"]


def handshake(client, server, *, start=START, hello=None, finish=None, local=("10.10.248.7", 16547)):
    return wire.smtp_tls(
        Conversation(start, client=local),
        client,
        server,
        hello=hello or wire.client_hello(FRONT_END),
        banner=FRONT_END,
        finish=finish,
    )


def leaf_of(issuer=INTERMEDIATE, subject=SERVER, **options):
    """A certificate of the server, and how the log shows it."""
    options = {"names": ("*.servername.com",), "logged": True, **options}
    der = certificate(subject, issuer, **options)
    return der, traces.cert_of(der, subject, issuer)


# ------------------------------------------------------------------------------------------------- what is proven


def test_the_certificate_alone_in_the_refused_connection_is_proof(case):
    report = case(with_trace(talk([LEAF_DER])))
    assert (report.verdict.cause, report.verdict.grade) == (CAUSE, "confirmed")
    shown = next(handshake for handshake in report.handshakes if handshake.rejection)
    assert (shown.join, shown.flight, shown.sent_chain.state) == ("endpoints", "whole", "alone")
    assert shown.rejection == report.incidents[0].rejections[0].id
    assert [item.thumbprint for item in shown.sent] == [LEAF.thumbprint]
    evidence = report.findings[0].supports[0]
    assert evidence.origin.source == TRACE_FILE
    assert evidence.origin.record == shown.origin.record
    assert traces.ISSUER_URL in evidence.text


def test_the_step_names_the_issuer_that_the_wire_lacks(case):
    steps = " ".join(case(with_trace(talk([LEAF_DER]))).findings[0].remedy.steps)
    assert "Example Trust TLS CA 2016" in steps
    assert traces.ISSUER_URL in steps


def test_the_issuer_may_be_known_from_another_handshake_of_the_trace(case):
    """Nothing in the certificate itself says that its authority is public, but its intermediate is in the trace."""
    der, leaf = leaf_of(logged=False)
    other = talk([ISSUER_DER], start=START - timedelta(hours=3), local=("10.10.248.7", 2000))
    assert grade(case(with_trace(talk([der]), other, leaf=leaf))) == "confirmed"


def test_an_empty_message_though_asked_for_is_proof_where_connectors_match_by_certificate(case):
    report = case({**traces.wire_no_certificate(), **BY_CERTIFICATE})
    assert confirmed(report) == ["no-client-certificate"]
    assert next(iter(report.handshakes)).requested is True


def test_exchange_logs_the_certificate_it_chose_and_windows_sends_none(case):
    report = case({**with_trace(talk([])), **BY_CERTIFICATE})
    assert confirmed(report) == ["no-client-certificate"]
    assert grade(report) == "contradicted"


def test_a_self_signed_certificate(case):
    der, leaf = leaf_of(issuer=SERVER)
    assert confirmed(case({**with_trace(talk([der]), leaf=leaf), **BY_CERTIFICATE})) == ["self-signed-certificate"]
    assert grade(case(with_trace(talk([der]), leaf=leaf))) == "contradicted"


def test_an_expired_certificate(case):
    der, leaf = leaf_of(not_before=datetime(2014, 1, 1, tzinfo=UTC), not_after=datetime(2016, 11, 1, tzinfo=UTC))
    report = case({**with_trace(talk([der, ISSUER_DER]), leaf=leaf), **BY_CERTIFICATE})
    assert confirmed(report) == ["certificate-expired"]


def test_a_device_that_opens_tls(case):
    firewall = Authority((("CN", "fw.contoso.com"),))
    received = [certificate(firewall, SOME_PRIVATE, names=("fw.contoso.com",))]
    report = case(with_trace(talk([LEAF_DER, ISSUER_DER], received=received)))
    assert confirmed(report) == ["not-exchange-online"]


def test_the_wrong_certificate(case):
    intended = (("CN", "mail.contoso.com"), ("O", "Contoso"))
    name = f"<I>{LEAF.name(INTERMEDIATE.name)}<S>{LEAF.name(intended)}"
    files = with_trace(talk([LEAF_DER, ISSUER_DER]))
    files["Get-SendConnector.json"] = config({"Name": "Outbound to Office 365", "TlsCertificateName": name})
    assert grade(case(files), "wrong-certificate-selected") == "probable"
    files["Get-InboundConnector.json"] = config(inbound(TlsSenderCertificateName="mail.contoso.com"))
    assert confirmed(case(files)) == ["wrong-certificate-selected"]


def plain_session():
    return {SEND_FILE: send(message(SendSession(START, "08D50D3D9730A8D2").connect(), 710).quit(1100))}


def failed_handshake(alert, before=timedelta(minutes=2), client="10.10.248.7"):
    """A handshake that the server ends with a fatal alert."""
    answer = wire.record(21, bytes((2, alert)))
    return handshake(b"", answer, start=START - before, local=(client, 16000), finish=b"")


def test_a_tls_version_that_is_refused(case):
    files = {**plain_session(), **BY_CERTIFICATE, TRACE_FILE: traces.trace(failed_handshake(70))}
    report = case(files)
    assert "tls-version-refused" in confirmed(report)
    assert report.handshakes[0].alert == "protocol_version by server"


@pytest.mark.parametrize(
    "talk_before",
    [
        failed_handshake(40),  # any cause at all
        failed_handshake(70, before=timedelta(hours=1)),
        failed_handshake(70, before=-timedelta(minutes=2)),
        failed_handshake(70, client="10.10.248.8"),
    ],
    ids=["another alert", "an hour before", "afterwards", "another server"],
)
def test_another_failure_of_tls_is_no_proof(case, talk_before):
    assert confirmed(case({**plain_session(), **BY_CERTIFICATE, TRACE_FILE: traces.trace(talk_before)})) == []


# ------------------------------------------------------------------------------------------------ what is excluded


def test_a_whole_chain_takes_the_cause_away_whatever_capi2_says(case):
    report = case(traces.wire_full_chain())
    finding = next(item for item in report.findings if item.cause == CAUSE)
    assert finding.grade == "contradicted"
    # Both are told, not averaged.
    assert any("CAPI2 event 30" in support.text for support in finding.supports)
    assert any("whole chain" in contradict.text for contradict in finding.contradicts)


def test_whole_in_one_refused_connection_and_alone_in_another(case):
    later = START + timedelta(minutes=5)
    second = message(
        SendSession(later, "08D50D3D9730A8E9", local="10.10.248.7:16999").connect().starttls(LEAF), 710
    ).quit(1100)
    files = {
        SEND_FILE: send(refused(LEAF), second),
        TRACE_FILE: traces.trace(
            talk([LEAF_DER]), talk([LEAF_DER, ISSUER_DER], start=later, local=("10.10.248.7", 16999))
        ),
    }
    assert grade(case(files)) == "possible"


def test_trace_and_capi2_agree(case):
    recorder = Recorder(HOST, next_record=900)
    capi2.check(recorder, KB_TIME, [(LEAF, 0)], seed="wire", **BROKEN)
    assert grade(case({**with_trace(talk([LEAF_DER])), "capi2.xml": xml(recorder)})) == "confirmed"


def test_connectors_by_address_only_take_the_cause_away(case):
    assert grade(case({**with_trace(talk([LEAF_DER])), **BY_ADDRESS})) == "contradicted"


# --------------------------------------------------------------------- ways to a wrong proof: the wrong connection


def test_another_connection_to_the_same_server(case):
    report = case(with_trace(talk([LEAF_DER], local=("10.10.248.7", 16999))))
    assert grade(report) == "no-evidence"
    assert [handshake.rejection for handshake in report.handshakes] == [None]


def test_the_trace_of_another_machine(case):
    report = case(with_trace(talk([LEAF_DER], local=("10.10.248.9", 51000))))
    assert grade(report) == "possible"
    assert report.handshakes[0].join == "thumbprint"
    assert "may be another one" in report.findings[0].supports[0].text


def test_another_certificate_in_the_same_connection(case):
    """The ports were used again, or a clock is wrong: the pair is taken apart."""
    der, _ = leaf_of(serial=0x77)
    report = case(with_trace(talk([der])))
    assert confirmed(report) == []
    assert report.handshakes[0].rejection is None


@pytest.mark.parametrize("hours", [-3, -1, 1, 3])
def test_a_clock_that_is_off_by_hours(case, hours):
    report = case(with_trace(talk([LEAF_DER], start=START + timedelta(hours=hours))))
    assert grade(report) == "no-evidence"
    assert report.handshakes[0].rejection is None


def test_a_clock_that_is_off_by_seconds_is_told(case):
    report = case(with_trace(talk([LEAF_DER], start=START + timedelta(seconds=20))))
    assert grade(report) == "confirmed"
    # The log's row of the certificate stands 301 ms after the start, the ClientHello 302 ms.
    assert report.handshakes[0].time_offset == pytest.approx(20.001, abs=0.002)


def test_the_same_ports_used_twice_with_different_chains(case):
    again = talk([LEAF_DER, ISSUER_DER], start=START + timedelta(seconds=30))
    report = case(with_trace(talk([LEAF_DER]), again))
    assert confirmed(report) == []
    assert [handshake.rejection for handshake in report.handshakes] == [None, None]


def test_one_connection_recorded_twice(case):
    both = talk([LEAF_DER]), talk([LEAF_DER])
    files = {**log_of(), "one.pcapng": traces.trace(both[0]), "two.pcap": wire.pcap(wire.frames(both[1]))}
    report = case(files)
    assert grade(report) == "confirmed"
    assert len(report.handshakes) == 2


def test_nat_that_keeps_the_port(case):
    report = case(with_trace(talk([LEAF_DER], local=("203.0.113.7", 16547))))
    assert (grade(report), report.handshakes[0].join) == ("confirmed", "port")


def test_nat_that_changes_the_port(case):
    report = case(with_trace(talk([LEAF_DER], local=("203.0.113.7", 40001))))
    assert (grade(report), report.handshakes[0].join) == ("possible", "thumbprint")


def test_nat_with_two_candidates(case):
    two = [talk([LEAF_DER], local=("203.0.113.7", port), start=START + timedelta(seconds=1)) for port in (40001, 40002)]
    report = case(with_trace(*two))
    assert grade(report) == "no-evidence"
    assert {handshake.rejection for handshake in report.handshakes} == {None}


def test_nat_with_two_refusals_for_one_handshake(case):
    other = message(SendSession(START, "08D50D3D9730A8E9", local="10.10.248.7:16999").connect().starttls(LEAF), 710)
    files = {
        SEND_FILE: send(refused(LEAF), other.quit(1100)),
        TRACE_FILE: traces.trace(talk([LEAF_DER], local=("203.0.113.7", 40001))),
    }
    assert grade(case(files)) == "no-evidence"


def test_nat_without_a_certificate_in_the_log(case):
    """No thumbprint joins the two, so the port alone does not."""
    session = SendSession(START, "08D50D3D9730A8D2").connect().starttls(None)
    files = {
        SEND_FILE: send(message(session, 710).quit(1100)),
        **BY_CERTIFICATE,
        TRACE_FILE: traces.trace(talk([], local=("203.0.113.7", 16547))),
    }
    assert confirmed(case(files)) == []


def test_a_log_without_ports_is_no_proof(case):
    """IIS logs show the server's address and the second; another connection of that second may be meant."""
    report = case(traces.iis_with_trace())
    assert (grade(report), report.handshakes[0].join) == ("possible", "address")


def test_a_log_in_local_time_is_not_joined(case):
    files = with_trace(talk([LEAF_DER]))
    text = files[SEND_FILE].decode().replace("774Z", "774").replace("Z,", ",")
    report = case({**files, SEND_FILE: text.encode()})
    assert confirmed(report) == [] or report.incidents[0].rejections[0].time_basis == "utc"


# ---------------------------------------------------------------------- ways to a wrong proof: what is not all seen


def packets_without(conversation, dropped):
    kept = [packet for number, packet in enumerate(conversation.packets) if number not in dropped]
    return replace(conversation, packets=kept)


def client_flight_packets(conversation):
    """Numbers of the client's packets between the server's flight and its Finished (470 ms)."""
    at = wire.nanoseconds(conversation.start + timedelta(milliseconds=470))
    return [number for number, (time, _) in enumerate(conversation.packets) if time == at]


def test_a_hole_in_the_clients_flight(case):
    whole = wire.smtp_tls(
        Conversation(START, mss=200),
        wire.client_flight([LEAF_DER, ISSUER_DER]),
        wire.server_flight(REMOTE_CHAIN),
        hello=wire.client_hello(FRONT_END),
        banner=FRONT_END,
    )
    numbers = client_flight_packets(whole)
    assert len(numbers) > 5
    for dropped in numbers:
        report = case(with_trace(packets_without(whole, {dropped})))
        assert confirmed(report) == [], dropped
        assert report.handshakes[0].flight == "cut"
        assert any("--pkt-size 0" in loss.reason for loss in report.losses)


@pytest.mark.parametrize("snap", [96, 128, 300, 600])
def test_packets_cut_by_the_recording(case, snap):
    files = {**log_of(), TRACE_FILE: wire.pcap(wire.frames(talk([LEAF_DER, ISSUER_DER])), snap=snap)}
    report = case(files)
    assert confirmed(report) == []
    assert report.losses


def test_a_trace_cut_off_anywhere(case):
    """Whatever length of an honest full-chain trace is left, it never proves a missing intermediate."""
    whole = traces.trace(talk([LEAF_DER, ISSUER_DER]))
    for size in range(0, len(whole), 97):
        report = case({**log_of(), TRACE_FILE: whole[:size]})
        assert confirmed(report) == [], size


def test_a_bit_that_is_wrong(case):
    whole = traces.trace(talk([LEAF_DER, ISSUER_DER]))
    for at in range(40, len(whole), 211):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        report = case({**log_of(), TRACE_FILE: bytes(broken)})
        assert CAUSE not in confirmed(report), at


def test_a_resumed_session(case):
    session = wire.filler("session", 32)
    server = wire.record(22, wire.server_hello(session=session)) + wire.changed("server finished")
    resumed = handshake(wire.changed("client finished"), server, hello=wire.client_hello("", session=session))
    report = case(with_trace(resumed))
    assert grade(report) == "no-evidence"
    assert (report.handshakes[0].flight, report.handshakes[0].requested) == ("resumed", None)
    assert report.handshakes[0].sent_chain.state == "not-seen"


def test_tls_1_3_hides_it(case):
    extension = b"\0\x2b\0\x02\x03\x04"
    server = wire.record(22, wire.server_hello(cipher=0x1302, extensions=extension)) + wire.record(20, b"\1")
    server += wire.application_data("encrypted extensions", 1200)
    client = wire.record(20, b"\1") + wire.application_data("certificate", 900)
    report = case({**with_trace(handshake(client, server)), **BY_CERTIFICATE})
    assert confirmed(report) == []
    assert (report.handshakes[0].tls, report.handshakes[0].flight) == ("TLS 1.3", "hidden")
    assert report.handshakes[0].requested is None


def test_a_second_handshake_inside_of_the_first(case):
    """A server may ask for the certificate again under encryption, and nobody sees what is sent then."""
    server = wire.server_flight(REMOTE_CHAIN)
    finish = wire.changed("server finished") + wire.record(22, wire.filler("hello request", 40))
    report = case({**with_trace(handshake(wire.client_flight([]), server, finish=finish)), **BY_CERTIFICATE})
    assert confirmed(report) == []
    assert report.handshakes[0].renegotiated


def test_a_handshake_that_failed_is_not_the_refused_one(case):
    alert = wire.record(21, bytes((2, 48)))
    report = case(with_trace(handshake(wire.client_flight([LEAF_DER]), wire.server_flight(REMOTE_CHAIN), finish=alert)))
    assert confirmed(report) == []
    assert report.handshakes[0].alert == "unknown_ca by server"


def test_no_certificate_was_asked_for(case):
    server = wire.server_flight(REMOTE_CHAIN, request=False)
    report = case({**with_trace(handshake(wire.client_flight(None), server)), **BY_CERTIFICATE})
    assert confirmed(report) == []
    assert report.handshakes[0].requested is False


def test_the_same_bytes_sent_twice_with_a_difference(case):
    honest = talk([LEAF_DER, ISSUER_DER])
    forged = talk([LEAF_DER])
    number = client_flight_packets(honest)[0]
    honest.packets.insert(number + 1, forged.packets[client_flight_packets(forged)[0]])
    assert confirmed(case(with_trace(honest))) == []


# ------------------------------------------------------------------ ways to a wrong proof: nothing is really missing


def test_a_certificate_issued_by_a_public_root_itself(case):
    der, leaf = leaf_of(issuer=ROOT)
    report = case(with_trace(talk([der]), leaf=leaf))
    assert grade(report) == "contradicted"
    assert report.handshakes[0].sent_chain.state == "complete"


@pytest.mark.parametrize(
    "issuer",
    [
        Authority(ROOT.name),  # the name of a public root with another key
        Authority(SOME_PRIVATE.name, key_id=ROOT.key_id),  # its key id under another name
    ],
    ids=["name", "key id"],
)
def test_what_may_be_a_public_root_is_not_called_missing(case, issuer):
    der, leaf = leaf_of(issuer=issuer)
    report = case(with_trace(talk([der]), leaf=leaf))
    assert confirmed(report) == []
    assert report.handshakes[0].sent_chain.state == "open"


def test_an_issuer_that_nobody_knows(case):
    """It may be the root of a company's own authority, and then nothing is missing but trust."""
    der, leaf = leaf_of(issuer=SOME_PRIVATE, logged=False)
    assert grade(case(with_trace(talk([der]), leaf=leaf))) == "possible"


def test_an_issuer_that_is_a_private_root(case):
    """It is seen in another connection of the trace, signed by itself."""
    der, leaf = leaf_of(issuer=PRIVATE_ROOT, logged=False)
    root = certificate(PRIVATE_ROOT, PRIVATE_ROOT, ca=True)
    other = talk([root], start=START - timedelta(hours=3), local=("10.10.248.7", 2000))
    assert confirmed(case(with_trace(talk([der]), other, leaf=leaf))) == []


def test_a_private_intermediate(case):
    der, leaf = leaf_of(issuer=SOME_PRIVATE, logged=False)
    above = certificate(SOME_PRIVATE, PRIVATE_ROOT, ca=True)
    other = talk([above], start=START - timedelta(hours=3), local=("10.10.248.7", 2000))
    assert confirmed(case(with_trace(talk([der]), other, leaf=leaf))) == []


def test_a_chain_to_a_private_root(case):
    der, leaf = leaf_of(issuer=PRIVATE_ROOT, logged=False)
    root = certificate(PRIVATE_ROOT, PRIVATE_ROOT, ca=True)
    report = case(with_trace(talk([der, root]), leaf=leaf))
    assert grade(report) == "contradicted"
    assert grade(report, "untrusted-root") == "probable"


def test_the_certificate_twice_is_the_certificate_alone(case):
    report = case(with_trace(talk([LEAF_DER, LEAF_DER])))
    assert grade(report) == "confirmed"
    assert len(report.handshakes[0].sent) == 2


def test_a_chain_in_the_wrong_order_is_whole(case):
    over = certificate(INTERMEDIATE, PRIVATE_ROOT, ca=True, serial=5)
    report = case(with_trace(talk([LEAF_DER, over, ISSUER_DER])))
    assert grade(report) == "contradicted"
    assert not report.handshakes[0].sent_chain.ordered


def test_an_intermediate_that_only_has_the_right_name(case):
    other = certificate(Authority(INTERMEDIATE.name, key="another"), ROOT, ca=True)
    report = case(with_trace(talk([LEAF_DER, other])))
    assert confirmed(report) == []
    assert report.handshakes[0].sent[0].issued_by_next is False
    assert report.handshakes[0].sent_chain.state == "open"


def test_certificates_that_do_not_parse(case):
    for chain in ([b"\x30\x03abc"], [LEAF_DER[:-40] + bytes(40)], [LEAF_DER, b"garbage"], [b""]):
        report = case(with_trace(talk(chain)))
        assert confirmed(report) == [], chain
        assert report.handshakes


# ---------------------------------------------------------------------------------------- mail that was accepted


def test_mail_accepted_between_the_refusals_in_the_same_state(case):
    """What was sent did not decide alone, so it is possible at most. Mail of the day before shows nothing."""
    between = accepted(LEAF, START + timedelta(minutes=10), "08D50C7411223344")
    second = message(
        SendSession(START + timedelta(hours=1), "08D50D3D9730A8E9", local="10.10.248.7:17001").connect().starttls(LEAF),
        710,
    ).quit(1100)
    files = {SEND_FILE: send(refused(LEAF), between, second), TRACE_FILE: traces.trace(talk([LEAF_DER]))}
    report = case(files)
    assert grade(report) == "possible"
    earlier = accepted(LEAF, START - timedelta(days=1), "08D50C7411223344")
    report = case({**files, SEND_FILE: send(earlier, refused(LEAF), second)})
    assert grade(report) == "confirmed"
    assert any("1 of 2 refusals" in contradict.text for contradict in report.findings[0].contradicts)


# ------------------------------------------------------------------------------------------------- the trace alone


def test_a_trace_alone_says_what_it_shows_and_gives_no_verdict(case):
    report = case(traces.wire_trace_only())
    assert report.verdict.cause is None
    assert "its certificate alone in 1" in report.verdict.summary
    assert report.exit_code == 0
    assert len(report.handshakes) == 1


def test_a_refusal_in_clear_text_is_not_lost(case):
    plain = Conversation(START).connect().say(1, f"220 {FRONT_END} ready\r\n", by_client=False)
    plain.say(2, "EHLO a\r\n", by_client=True).say(3, f"250 {FRONT_END} Hello [203.0.113.7]\r\n", by_client=False)
    plain.say(4, "MAIL FROM:<a@b.c>\r\n", by_client=True).say(5, "250 2.1.0 OK\r\n", by_client=False)
    plain.say(6, "RCPT TO:<d@e.f>\r\n", by_client=True)
    plain.say(7, "550 5.7.64 TenantAttribution; Relay Access Denied\r\n", by_client=False).close(9)
    report = case({TRACE_FILE: traces.trace(plain)})
    assert report.verdict.cause is None
    assert report.exit_code == 3
    assert "5.7.64 in clear text" in report.losses[0].reason
