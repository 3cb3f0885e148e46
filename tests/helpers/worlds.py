"""Made cases with a known truth: a server, its tenant, and the faults that are put into them.

A ``World`` says what is the case; ``files`` writes what its logs and exports would show, in any form of log. Faults
change the world and never the files, so that the truth of a case is known before anything is analyzed. The shapes of
rows and events are those of ``samples``; session forms A, B and C are described in ``smtp/certificates.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from samples import capi2
from samples.capi2 import PARTIAL_CHAIN, UNTRUSTED_ROOT, Cert, Recorder
from samples.smtp import SEND_HEADER, TLS, W3C_HEADER, _cell, iis_session, iso

FORMS = ("A", "B", "C", "iis", "tracking", "ndr")
SEND_FORMS = ("A", "B", "C")
NOW = datetime(2026, 3, 10, 8, 14, 2, tzinfo=UTC)
DAY = timedelta(days=1)
REFUSED = "550 5.7.64 TenantAttribution; Relay Access Denied"
EHLO = ("SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "CHUNKING")
REAL_REMOTE = (("CN", "mail.protection.outlook.com"), ("O", "Microsoft Corporation"), ("C", "US"))
CHECKS: dict[str, tuple[str, str, int]] = {
    # policy result, chain result, error status of the chain
    "sound": ("0", "0", 0),
    "partial": ("800B0109", "800B010A", PARTIAL_CHAIN),
    "untrusted": ("800B0109", "800B0109", UNTRUSTED_ROOT),
    "expired": ("800B0101", "800B0101", 1),
    "revoked": ("800B010C", "80092010", 4),
    "usage": ("800B0110", "0", 0),
    "offline": ("0", "80092013", 0x1000040),
}


@dataclass
class Check:
    """A chain check that CAPI2 records: elements with their error status, and its result as in ``CHECKS``."""

    elements: list[tuple[Cert, int]]
    result: str
    before: timedelta = timedelta(seconds=-0.25)
    host: str = ""
    process: str = "lsass.exe"
    kind: int = capi2.SSL
    server: str = ""


@dataclass
class Mail:
    """A session with one message; ``reply`` is what RCPT is answered with, ``after`` its time from ``NOW``."""

    after: timedelta
    reply: str = ""
    sender: str = ""
    recipient: str = "b@adatum.example"
    sent: Cert | None = None
    tls: str = "certificate"
    connector: str = ""
    banner: str = ""
    remote: str = "216.32.181.234:25"
    received: tuple[tuple[str, str], ...] = REAL_REMOTE
    seen: str = ""
    ehlo: tuple[str, ...] = EHLO
    tls_error: str = ""


@dataclass
class World:
    """One server and its tenant. Everything is as it should be until a fault changes it."""

    domain: str
    host: str
    connector: str
    seen: str
    form: str
    leaf: Cert
    issuer: Cert
    root: Cert
    mails: list[Mail] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    exports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    system: list[tuple[int, timedelta]] = field(default_factory=list)

    @property
    def fqdn(self) -> str:
        """The server's DNS name."""
        return f"{self.host}.{self.domain}"

    @property
    def tenant(self) -> str:
        """The initial domain of the tenant."""
        return f"{self.domain.partition('.')[0]}.onmicrosoft.com"

    @property
    def front_end(self) -> str:
        """The name in Exchange Online's banner."""
        return "DB8EUR05FT032.mail.protection.outlook.com"

    def refused(self) -> list[Mail]:
        """The refused messages."""
        return [mail for mail in self.mails if mail.reply.startswith("550")]

    def refusal(self, after: timedelta = timedelta(), **changes: Any) -> Mail:
        """A refused message as the world now is."""
        return self.mail(after, **{"reply": f"{REFUSED} [{self.front_end}]", **changes})

    def mail(self, after: timedelta, **changes: Any) -> Mail:
        """A message as the world now is; accepted, unless ``reply`` says otherwise."""
        made = Mail(
            after=after,
            sender=f"a@{self.domain}",
            sent=self.leaf,
            connector=self.connector,
            banner=self.front_end,
            seen=self.seen,
        )
        return replace(made, **{"reply": "250 2.1.5 Recipient OK", **changes})


def certificate(number: int, subject: str, issuer: str, **changes: Any) -> Cert:
    """A certificate with a thumbprint and key ids of its own."""
    names = (("CN", subject), ("O", "Example"), ("C", "US")), (("CN", issuer), ("O", "Example"), ("C", "US"))
    made = Cert(
        f"{number:040X}",
        *names,
        serial=f"{number:032X}",
        not_before="2025-06-01T00:00:00Z",
        not_after="2027-06-01T00:00:00Z",
        key_id=f"{number:040X}",
        issuer_key_id=f"{number + 1:040X}",
    )
    return replace(made, **changes)


def world(seed: int, form: str) -> World:
    """A world in order, with names that depend on the seed."""
    domain = ("contoso.com", "nordwind.example", "mail-corp.co.uk", "fabrikam.de")[seed % 4]
    host = ("EX01", "MAILSRV", "hub-2", "CORP-SMTP1")[seed // 2 % 4]
    names = ((f"mail.{domain}",), (f"*.{domain}", domain), (f"smtp.eu.{domain}", f"mail.{domain}"))[seed % 3]
    base = 0xA0000000 + seed * 0x100
    return World(
        domain=domain,
        host=host,
        connector="SMTPSVC1" if form == "iis" else ("Outbound to Office 365", "O365", "Nach außen")[seed % 3],
        seen=("203.0.113.7", "198.51.100.24")[seed % 2],
        form=form,
        leaf=certificate(base + 1, names[0], "Example Trust TLS CA 9", names=names),
        issuer=certificate(base + 2, "Example Trust TLS CA 9", "Example Trust Root R9", ca=True),
        root=certificate(base + 3, "Example Trust Root R9", "Example Trust Root R9", ca=True),
    )


def chain(made: World) -> list[tuple[Cert, int]]:
    """The whole chain of the certificate, without an error."""
    return [(made.leaf, 0), (made.issuer, 0), (made.root, 0)]


def completed(made: World) -> World:
    """The world with a refusal, and a sound check of its certificate, where no fault made others."""
    if not made.refused():
        made.mails += [made.refusal(), made.refusal(timedelta(minutes=6), recipient="c@litware.example")]
    if not any(check.elements[0][0] == made.leaf and not check.host for check in made.checks):
        made.checks.append(Check(chain(made), "sound"))
    return made


# -------------------------------------------------------------------------------------------------------------- files


def files(made: World) -> dict[str, str]:
    """What the logs of the world hold: the mail log of its form, CAPI2 events as XML, exports as JSON."""
    written = {f"{cmdlet}.json": json.dumps(objects) for cmdlet, objects in made.exports.items()}
    if made.checks:
        written["capi2.xml"] = _capi2(made)
    if made.system:
        written["system.xml"] = "".join(_schannel(made, number, when) for number, when in made.system)
    if made.form == "iis":
        written["ex260310.log"] = W3C_HEADER.format(date="2026-03-09 00:00:00") + "".join(
            _iis(made, mail) for mail in sorted(made.mails, key=lambda mail: mail.after)
        )
    elif made.form == "tracking":
        written["MSGTRK.LOG"] = _tracking(made)
    elif made.form == "ndr":
        written |= {f"ndr{number}.eml": _ndr(made, mail) for number, mail in enumerate(made.refused())}
    else:
        written["SEND.LOG"] = _send(made)
    return written


def _capi2(made: World) -> str:
    recorders: dict[str, Recorder] = {}
    for number, check in enumerate(sorted(made.checks, key=lambda check: check.before)):
        host = check.host or made.fqdn
        recorder = recorders.setdefault(host, Recorder(host, next_record=100))
        policy, built, error = CHECKS[check.result]
        capi2.check(
            recorder,
            NOW + timedelta(seconds=0.6) + check.before,
            check.elements,
            policy_result=policy,
            chain_result=built,
            chain_error=error,
            seed=f"{made.host}{number}",
            process=check.process,
            kind=check.kind,
            server=check.server,
        )
    return "".join(f"{event}\r\n" for recorder in recorders.values() for event in recorder.events)


def _schannel(made: World, number: int, when: timedelta) -> str:
    return (
        f'<Event xmlns="{capi2.NAMESPACE}"><System><Provider Name="Schannel"/><EventID>{number}</EventID>'
        f'<Level>2</Level><TimeCreated SystemTime="{capi2.stamp(NOW + when)}"/><EventRecordID>{number}</EventRecordID>'
        f"<Channel>System</Channel><Computer>{made.fqdn}</Computer></System><EventData/></Event>\r\n"
    )


def _send(made: World) -> str:
    rows = []
    for number, mail in enumerate(made.mails):
        start = NOW + mail.after
        for place, (after, event, data, context) in enumerate(session(made, mail, f"{number:X}")):
            cells = [mail.connector, f"08DE7F{number:010X}", str(place), "10.1.2.3:40111" if place > 1 else ""]
            time = start + timedelta(milliseconds=after)
            text = [iso(time), *cells, mail.remote, event, _cell(data), _cell(context)]
            rows.append((time, number, place, ",".join(text)))
    return SEND_HEADER.format(date=iso(NOW)) + "".join(f"{row[-1]}\r\n" for row in sorted(rows))


def session(made: World, mail: Mail, number: str) -> list[tuple[int, str, str, str]]:
    """The rows of one session of a Send connector log: milliseconds, event, data, context."""
    rows = [(0, "*", "SendRoutingHeaders", "Set Session Permissions"), (0, "*", "", "attempting to connect")]
    rows += [(30, "+", "", ""), (110, "<", f"220 {mail.banner} ESMTP ready", ""), (110, ">", f"EHLO {made.fqdn}", "")]
    rows.append((200, "<", f"250  {mail.banner} Hello [{mail.seen}] {' '.join(mail.ehlo)}", ""))
    if mail.tls != "plain":
        rows += [(201, ">", "STARTTLS", ""), (300, "<", "220 2.0.0 SMTP server ready", "")]
    if mail.tls_error:
        rows.append((420, "*", "", f"TLS negotiation failed with error {mail.tls_error}"))
        return [*rows, (421, "-", "", "Local")]
    if mail.tls == "certificate" and mail.sent:
        rows += _certificate(made.form, mail.sent, "Sending certificate", 350)
    if mail.tls != "plain":
        remote = Cert(
            f"{sum(map(ord, str(mail.received))):040X}",
            mail.received,
            (("CN", "Example Cloud CA"), ("C", "US")),
            names=(dict(mail.received)["CN"],),
        )
        label = "Received certificate" if made.form == "A" else "Remote certificate"
        rows += [(560, "*", "", TLS), *_certificate(made.form, remote, label, 561)]
        rows += [
            (562, ">", f"EHLO {made.fqdn}", ""),
            (640, "<", f"250  {mail.banner} Hello [{mail.seen}] SIZE DSN", ""),
        ]
    return rows + _transaction(mail, number)


def _transaction(mail: Mail, number: str) -> list[tuple[int, str, str, str]]:
    identity = f"sending message with RecordId 7{number} and InternetMessageId <m{number}@example.org>"
    rows = [(700, "*", "", identity), (700, ">", f"MAIL FROM:<{mail.sender}> SIZE=180", "")]
    rows += [(700, ">", f"RCPT TO:<{mail.recipient}>", ""), (850, "<", "250 2.1.0 Sender OK", "")]
    rows.append((860, "<", mail.reply, ""))
    if mail.reply.startswith("250"):
        done = f"250 2.6.0 <m{number}@example.org> [InternalId={number}] Queued mail for delivery"
        rows += [(861, ">", "BDAT 170 LAST", ""), (1100, "<", done, "")]
    return [*rows, (1200, ">", "QUIT", ""), (1280, "<", "221 2.0.0 closing", ""), (1281, "-", "", "Local")]


def _certificate(form: str, cert: Cert, label: str, after: int) -> list[tuple[int, str, str, str]]:
    if form == "A" and label == "Received certificate":
        return [(after, "*", "", label), (after, "*", cert.thumbprint, "Certificate thumbprint")]
    if form == "A":
        rows = [(after, "*", "", label), (after, "*", cert.name(), "Certificate subject")]
        rows += [(after, "*", cert.name(cert.issuer), "Certificate issuer name")]
        rows += [(after, "*", cert.serial, "Certificate serial number")]
        rows += [(after, "*", cert.thumbprint, "Certificate thumbprint")]
        return [*rows, (after, "*", ";".join(cert.names), "Certificate alternate names")]
    dates = f" {cert.not_before[:-1]}.000Z {cert.not_after[:-1]}.000Z" if form == "C" else ""
    titles = " Not before Not after" if form == "C" else ""
    data = f" {cert.name()} {cert.name(cert.issuer)} {cert.serial} {cert.thumbprint}{dates} {';'.join(cert.names)}"
    context = f"{label} Subject Issuer name Serial number Thumbprint{titles} Subject alternate names"
    return [(after, "*", data, context)]


def _iis(made: World, mail: Mail) -> str:
    """One connection of an IIS SMTP service: commands and first lines of answers, no certificates."""
    rows = [(94, "<", "", f"220 {mail.banner} ESMTP ready"), (94, ">", "EHLO", made.fqdn)]
    keywords = f"250-{mail.banner} Hello [{mail.seen}]"
    rows.append((171, "<", "", keywords))
    if mail.tls != "plain":
        rows += [(188, ">", "STARTTLS", ""), (281, "<", "", "220 2.0.0 SMTP server ready")]
        rows += [(601, ">", "EHLO", made.fqdn), (690, "<", "", keywords)]
    rows += [(700, ">", "MAIL", f"FROM:<{mail.sender}> SIZE=1722"), (790, "<", "", "250 2.1.0 Sender OK")]
    rows += [(790, ">", "RCPT", f"TO:<{mail.recipient}>"), (884, "<", "", mail.reply)]
    if mail.reply.startswith("250"):
        rows += [(885, ">", "DATA", ""), (950, "<", "", "354 Start mail input")]
        rows += [(1100, "<", "", "250 2.6.0 <x@example.org> Queued mail for delivery")]
    rows.append((1200, ">", "QUIT", ""))
    return iis_session(NOW + mail.after, made.host, rows, remote=mail.remote.partition(":")[0])


_COLUMNS = (
    "date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,"
    "internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,"
    "related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,"
    "tenant-id,original-client-ip,original-server-ip,custom-data"
)


def _tracking(made: World) -> str:
    head = (
        "#Software: Microsoft Exchange Server\r\n#Version: 15.01.2375.007\r\n#Log-type: Message Tracking Log\r\n"
        f"#Date: 2026-03-09T00:00:00.000Z\r\n#Fields: {_COLUMNS}\r\n"
    )
    rows = []
    for number, mail in enumerate(sorted(made.mails, key=lambda mail: mail.after)):
        ok = mail.reply.startswith("250")
        status = f"[{{LED={mail.reply}}};{{MSG=}};{{FQDN={made.front_end}}};{{IP=216.32.181.234}};{{LRT=}}]"
        values = {
            "date-time": iso(NOW + mail.after + timedelta(seconds=0.9)),
            "client-hostname": made.fqdn,
            "server-hostname": made.front_end,
            "source-context": f"08DE7F{number:010X}",
            "connector-id": mail.connector,
            "source": "SMTP",
            "event-id": "SEND" if ok else "FAIL",
            "message-id": f"<m{number}@example.org>",
            "recipient-address": mail.recipient,
            "recipient-status": "250 2.1.5 OK" if ok else status,
            "sender-address": mail.sender or f"a@{made.domain}",
            "return-path": mail.sender or "<>",
        }
        rows.append(",".join(_cell(values.get(name, "")) for name in _COLUMNS.split(",")) + "\r\n")
    return head + "".join(rows)


def _ndr(made: World, mail: Mail) -> str:
    time = NOW + mail.after + timedelta(seconds=0.9)
    return (
        f"From: postmaster@{made.domain}\r\nTo: <a@{made.domain}>\r\nDate: {time:%a, %d %b %Y %H:%M:%S} +0000\r\n"
        "Subject: Undeliverable\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\r\n\r\n--b1\r\n'
        "Content-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n--b1\r\n"
        f"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;{made.fqdn}\r\n"
        f"Arrival-Date: {time:%a, %d %b %Y %H:%M:%S} +0000\r\n\r\nFinal-Recipient: rfc822;{mail.recipient}\r\n"
        f"Action: failed\r\nStatus: 5.7.64\r\nDiagnostic-Code: smtp;{mail.reply}\r\n"
        f"Remote-MTA: dns;{made.front_end}\r\n\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\n"
        f"From: <{mail.sender}>\r\nTo: <{mail.recipient}>\r\nMessage-ID: <m{mail.recipient}>\r\n\r\nHello\r\n--b1--\r\n"
    )
