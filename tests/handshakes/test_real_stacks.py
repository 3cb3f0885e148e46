"""Handshakes of real TLS stacks: Python's ssl (OpenSSL) through memory, and a real loopback capture where tools are.

What both sides of a stack say of the handshake is the expectation; tshark, where it is installed, is a second reader of
every trace that the tests make.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import evtx_analyzer as ea
from samples import traces, wire
from samples.build import CASES
from samples.wire import Conversation

NOW = datetime.now(UTC)  # real stacks verify against the clock; nothing else depends on it
TSHARK = shutil.which("tshark")


class Party:
    """A certificate with its key, in a file with whatever chain it shall send."""

    def __init__(self, name, issuer=None, *, ca=False):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(by.key, hashes.SHA256())
        )

    @property
    def thumbprint(self):
        return hashlib.sha1(self.certificate.public_bytes(Encoding.DER)).hexdigest().upper()

    def file(self, folder, *chain):
        path = folder / f"{self.thumbprint}-{len(chain)}.pem"
        data = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(data + b"".join(part.certificate.public_bytes(Encoding.PEM) for part in (self, *chain)))
        return path


@pytest.fixture(scope="module")
def parties():
    root = Party("Test Root", ca=True)
    intermediate = Party("Test Intermediate", root, ca=True)
    return {
        "root": root,
        "intermediate": intermediate,
        "client": Party("client.example", intermediate),
        "server": Party("mail.protection.outlook.com", intermediate),
        "stranger": Party("Other Root", ca=True),
    }


def contexts(parties, folder, *, sends, version, trust="root", wanted=ssl.CERT_REQUIRED):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(parties["server"].file(folder, parties["intermediate"]))
    server.verify_mode = wanted
    server.load_verify_locations(cadata=parties[trust].certificate.public_bytes(Encoding.PEM).decode())
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    if sends is not None:
        client.load_cert_chain(parties["client"].file(folder, *(parties[name] for name in sends)))
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
    return server, client


class Memory:
    """Two stacks that talk through memory; every flight goes into a conversation too."""

    def __init__(self, server, client, conversation, session=None, at=400.0):
        self.talk, self.at = conversation, at
        self.pipes = {side: (ssl.MemoryBIO(), ssl.MemoryBIO()) for side in ("client", "server")}
        self.ends = {
            "client": client.wrap_bio(
                *self.pipes["client"], server_hostname="mail.protection.outlook.com", session=session
            ),
            "server": server.wrap_bio(*self.pipes["server"], server_side=True),
        }
        self.error = None

    def run(self):
        waiting = {"client", "server"}
        for _ in range(20):
            for side in ("client", "server"):
                if side in waiting:
                    try:
                        self.ends[side].do_handshake()
                        waiting.discard(side)
                    except ssl.SSLWantReadError:
                        pass
                    except ssl.SSLError as error:
                        self.error = self.error or error
                        waiting.discard(side)
                self.move(side)
        if self.error is None:
            for side, text in (("client", b"EHLO a\r\n"), ("server", b"250 ok\r\n")):
                self.ends[side].write(text)
                self.move(side)
                other = self.ends["server" if side == "client" else "client"]
                assert other.read(100) == text
                self.move("server")
        self.talk.close(self.at + 100)
        return self

    def move(self, side):
        data = self.pipes[side][1].read()
        if data:
            self.at += 5
            self.talk.say(self.at, data, by_client=side == "client")
            self.pipes["server" if side == "client" else "client"][0].write(data)


def starttls(port=50000, mss=1460):
    talk = Conversation(NOW.replace(microsecond=0), client=("10.0.0.9", port), server=("192.0.2.25", 25), mss=mss)
    talk.connect().say(10, "220 mail.protection.outlook.com ready\r\n", by_client=False)
    talk.say(20, "EHLO client.example\r\n", by_client=True)
    talk.say(30, "250-mail.protection.outlook.com Hello [203.0.113.9]\r\n250 STARTTLS\r\n", by_client=False)
    return talk.say(40, "STARTTLS\r\n", by_client=True).say(50, "220 2.0.0 ready\r\n", by_client=False)


def analyzed(tmp_path, *talks):
    (tmp_path / "a.pcap").write_bytes(wire.pcap(wire.frames(*talks)))
    report = ea.analyze(tmp_path / "a.pcap")
    agrees_with_tshark(tmp_path / "a.pcap", report)
    return report.handshakes


def agrees_with_tshark(path, report):
    """The same certificates in the same order, per direction; says nothing where there is no tshark."""
    if TSHARK is None:
        return
    fields = ("ip.src", "tcp.srcport", "ipv6.src", "tls.handshake.certificate")
    command = [
        TSHARK,
        "-r",
        str(path),
        "-Y",
        "tls.handshake.certificate",
        "-T",
        "json",
        "-o",
        "tls.desegment_ssl_records:TRUE",
        "-o",
        "tcp.reassemble_out_of_order:TRUE",
        *(part for field in fields for part in ("-e", field)),
    ]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout or "[]")
    theirs: dict[str, list[str]] = {}
    for packet in shown:
        layer = packet["_source"]["layers"]
        address = (layer.get("ip.src") or [f"[{layer['ipv6.src'][0]}]" if "ipv6.src" in layer else ""])[0]
        sender = f"{address}:{layer['tcp.srcport'][0]}"
        for text in layer["tls.handshake.certificate"]:
            der = bytes.fromhex(text.replace(":", ""))
            theirs.setdefault(sender, []).append(hashlib.sha1(der).hexdigest().upper())
    ours: dict[str, list[str]] = {}
    for handshake in report.handshakes:
        for sender, certificates in ((handshake.local, handshake.sent), (handshake.remote, handshake.received)):
            if certificates:
                ours.setdefault(sender, []).extend(part.thumbprint for part in certificates)
    assert ours == theirs


@pytest.mark.parametrize("mss", [1460, 90])
@pytest.mark.parametrize(
    ("sends", "state"),
    [((), "alone"), (("intermediate",), "open"), (("intermediate", "root"), "private-root"), (None, "empty")],
)
def test_what_the_client_sent_with_tls_1_2(parties, tmp_path, sends, state, mss):
    wanted = ssl.CERT_OPTIONAL if sends is None else ssl.CERT_REQUIRED
    server, client = contexts(
        parties,
        tmp_path,
        sends=sends,
        version=ssl.TLSVersion.TLSv1_2,
        wanted=wanted,
        trust="intermediate" if sends == () else "root",
    )
    server.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    made = Memory(server, client, starttls(mss=mss)).run()
    assert made.error is None
    (shown,) = analyzed(tmp_path, made.talk)
    expected = [] if sends is None else [parties["client"], *(parties[name] for name in sends)]
    assert [item.thumbprint for item in shown.sent] == [item.thumbprint for item in expected]
    assert [item.thumbprint for item in shown.received] == [
        parties["server"].thumbprint,
        parties["intermediate"].thumbprint,
    ]
    assert (shown.tls, shown.requested, shown.flight) == ("TLS 1.2", True, "whole")
    assert (shown.completed, shown.renegotiated, shown.alert) == (True, False, "")
    assert shown.sent_chain.state == state
    assert shown.proved == (sends is not None)
    assert all(item.issued_by_next for item in shown.sent[:-1])
    assert shown.server_name == "mail.protection.outlook.com"
    assert (shown.banner, shown.ehlo) == ("mail.protection.outlook.com ready", "client.example")
    assert shown.cipher.startswith("TLS_ECDHE_ECDSA")


def test_the_authorities_that_a_request_names(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=("intermediate",), version=ssl.TLSVersion.TLSv1_2)
    file = tmp_path / "ca.pem"
    file.write_bytes(parties["root"].certificate.public_bytes(Encoding.PEM))
    server.load_verify_locations(cafile=file)
    (shown,) = analyzed(tmp_path, Memory(server, client, starttls()).run().talk)
    assert (shown.authorities, shown.authority_count) in (((), 0), (("Test Root",), 1))


def test_none_was_asked_for(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=(), version=ssl.TLSVersion.TLSv1_2, wanted=ssl.CERT_NONE)
    (shown,) = analyzed(tmp_path, Memory(server, client, starttls()).run().talk)
    assert (shown.requested, shown.sent, shown.flight) == (False, (), "whole")


def test_tls_1_3_hides_all_certificates(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=("intermediate",), version=ssl.TLSVersion.TLSv1_3)
    made = Memory(server, client, starttls()).run()
    assert made.error is None
    (shown,) = analyzed(tmp_path, made.talk)
    assert (shown.tls, shown.flight, shown.requested) == ("TLS 1.3", "hidden", None)
    assert (shown.sent, shown.received) == ((), ())
    assert shown.sent_chain.state == "not-seen"


def test_a_resumed_session_has_no_certificates(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=("intermediate",), version=ssl.TLSVersion.TLSv1_2)
    first = Memory(server, client, starttls()).run()
    second = Memory(server, client, starttls(port=50001), session=first.ends["client"].session).run()
    assert second.ends["client"].session_reused
    shown = analyzed(tmp_path, first.talk, second.talk)
    assert sorted(item.flight for item in shown) == ["resumed", "whole"]
    resumed = next(item for item in shown if item.flight == "resumed")
    assert (resumed.sent, resumed.requested, resumed.sent_chain.state) == ((), None, "not-seen")


def test_an_authority_that_the_server_does_not_know(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=(), version=ssl.TLSVersion.TLSv1_2, trust="stranger")
    made = Memory(server, client, starttls()).run()
    assert made.error is not None
    (shown,) = analyzed(tmp_path, made.talk)
    assert shown.alert == "unknown_ca by server"
    assert not shown.completed
    assert [item.thumbprint for item in shown.sent] == [parties["client"].thumbprint]


def test_no_version_in_common(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=(), version=ssl.TLSVersion.TLSv1_2)
    server.minimum_version, server.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3
    made = Memory(server, client, starttls()).run()
    (shown,) = analyzed(tmp_path, made.talk)
    assert shown.alert == "protocol_version by server"
    assert (shown.offered, shown.tls) == ("TLS 1.2", "")


def test_implicit_tls(parties, tmp_path):
    server, client = contexts(parties, tmp_path, sends=("intermediate",), version=ssl.TLSVersion.TLSv1_2)
    talk = Conversation(NOW.replace(microsecond=0), client=("10.0.0.9", 50000), server=("192.0.2.25", 465)).connect()
    (shown,) = analyzed(tmp_path, Memory(server, client, talk).run().talk)
    assert (shown.starttls, shown.flight, len(shown.sent)) == (False, "whole", 2)


@pytest.mark.slow
@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("wire-")])
def test_tshark_reads_the_same_in_every_sample(case, tmp_path):
    path = tmp_path / "smtp.pcapng"
    path.write_bytes(CASES[case]()[traces.TRACE_FILE])
    report = ea.analyze(path)
    assert report.handshakes
    agrees_with_tshark(path, report)


# ----------------------------------------------------------------------------------------------- a real capture


def serve(listener, context):
    """One SMTP session with STARTTLS, as a thread."""
    plain, _ = listener.accept()
    plain.sendall(b"220 mail.protection.outlook.com ready\r\n")
    plain.recv(1000)
    plain.sendall(b"250-mail.protection.outlook.com Hello [127.0.0.1]\r\n250 STARTTLS\r\n")
    plain.recv(1000)
    plain.sendall(b"220 go ahead\r\n")
    with context.wrap_socket(plain, server_side=True) as secure:
        secure.recv(1000)
        secure.sendall(b"250 ok\r\n")


@pytest.mark.slow
@pytest.mark.server
def test_a_real_capture_of_a_real_session(parties, tmp_path):
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("tcpdump is not installed")
    server, client = contexts(parties, tmp_path, sends=("intermediate",), version=ssl.TLSVersion.TLSv1_2)
    listener = socket.create_server(("127.0.0.1", 0))
    port, path = listener.getsockname()[1], tmp_path / "real.pcap"
    recorder = subprocess.Popen(
        [tcpdump, "-i", "lo", "-U", "-w", str(path), f"tcp port {port}"], stderr=subprocess.PIPE, text=True
    )
    try:
        told = recorder.stderr.readline()
        if "listening" not in told and "listening" not in (told := told + recorder.stderr.readline()):
            pytest.skip(f"tcpdump may not record here: {told.strip()}")
        thread = threading.Thread(target=serve, args=(listener, server), daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", port)) as plain:
            for words in (None, b"EHLO client.example\r\n", b"STARTTLS\r\n"):
                if words:
                    plain.sendall(words)
                plain.recv(1000)
            with client.wrap_socket(plain, server_hostname="mail.protection.outlook.com") as secure:
                secure.sendall(b"EHLO client.example\r\n")
                assert secure.recv(1000) == b"250 ok\r\n"
        thread.join(10)
        for _ in range(100):
            if path.exists() and path.stat().st_size > 4000:
                break
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        recorder.terminate()
        recorder.wait(10)
        recorder.stderr.close()
        listener.close()
    report = ea.analyze(path)
    (shown,) = report.handshakes
    assert [wire_certificate.thumbprint for wire_certificate in shown.sent] == [
        parties["client"].thumbprint,
        parties["intermediate"].thumbprint,
    ]
    assert (shown.flight, shown.ehlo, shown.seen_address) == ("whole", "client.example", "127.0.0.1")
    assert report.coverage[0].records >= 15
