"""Commands of the rules: PowerShell takes them, Microsoft documents them, and no name in a log can become one."""

from __future__ import annotations

import json
import re
from itertools import chain, combinations
from pathlib import Path

import pytest
from cmdlets import calls, filled_in, nodes, parsed, problems
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from smtp_case import analyze

from evtx_analyzer.commands import COMMAND, Place, Step, applies, command, instructions, literal
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.read import HEAD, read, recognize
from evtx_analyzer.report.document import to_json
from evtx_analyzer.report.redact import redacted
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.files import builtin_rules
from evtx_analyzer.rules.placeholders import PLACEHOLDERS
from samples.cases import no_capi2
from samples.causes import no_tls_iis, self_signed

CAUSES = Rules.load().causes
NAMES = {name: f"a value of {name}" for name in PLACEHOLDERS}
PLACE = Place(server="exchange", observed=frozenset(), names=NAMES)


def sections(cause):
    """Every list of steps of a cause, with what it is."""
    yield f"{cause.id}:steps", cause.steps
    yield f"{cause.id}:verify", cause.verify
    for number, item in enumerate(cause.missing):
        yield f"{cause.id}:missing[{number}]", item.collect


SECTIONS = dict(part for cause in CAUSES for part in sections(cause))
LINES = {
    f"{key}[{number}]": (step.shell, line)
    for key, steps in SECTIONS.items()
    for number, step in enumerate(steps)
    for line in step.lines
}


@pytest.mark.parametrize(("shell", "line"), dict.fromkeys(LINES.values()))
def test_every_command_is_documented_and_stands_in_its_shell(shell, line):
    assert problems(shell, command(line, NAMES)) == []


@pytest.mark.parametrize(
    ("shell", "line", "problem"),
    [
        ("exchange", "Set-SendConnector -Identity 'x' -TlsCertName y", "no parameter TlsCertName"),
        ("exchange", "Set-SendConnector -RequireTLS $true", "needs Identity"),
        ("exchange", "Set-SendConnector -Identity 'x' -Identity 'y'", "twice"),
        ("exchange", "Get-InboundConnector | Export-Clixml x.xml", "belongs to exchange-online"),
        ("exchange", "Get-AcceptedDomain | Export-Clixml x.xml", "belongs to exchange-online"),
        ("exchange-online", "Get-SendConnector", "belongs to exchange, not"),
        ("exchange", "Restart-Service MSExchangeTransport", "belongs to windows"),
        ("windows", "Restart-Servise SMTPSVC", "in no table"),
        ("exchange", "Get-ExchangeCertificate | Select-Object Thumbprint,PrivateKeyPresent", "no property"),
        ("windows", "New-ItemProperty -Path x -Name y -Value 1 -PropertyTyp DWord", "no parameter PropertyTyp"),
        ("windows", "certutil -verify -urlfetch leaf.cer", "certutil takes no"),
        ("windows", "certutil -generateSSTFromWU roots.sst", "certutil takes no"),
        ("windows", "wevtutil sl Microsoft-Windows-CAPI2/Operational /enabled:true", "wevtutil takes no"),
        ("windows", "netsh trace start capture=yes", "netsh takes no"),
        ("windows", "Get-ChildItem -Path 'x", "does not take"),
        ("exchange", "Set-SendConnector -Identity 'x' -TlsCertificateName \"<I>$($c.Issuer\"", "does not take"),
        ("", "Get-SendConnector", "no shell"),
    ],
)
def test_a_wrong_command_is_noticed(shell, line, problem):
    assert problem in " ".join(problems(shell, line))


def test_what_is_to_be_filled_in_is_not_run_before_it_is():
    """PowerShell reserves ``<``: the whole line fails, so that no part of it runs with an empty value."""
    line = "$c = Get-ExchangeCertificate -Thumbprint <thumbprint of the certificate>; Set-SendConnector -Identity 'x'"
    assert parsed(line) is None
    assert parsed(filled_in(line)) is not None


@pytest.mark.parametrize("key", [key for key in SECTIONS if ":missing[" in key])
def test_what_is_collected_goes_into_a_file_without_loss(key):
    """Format-List cuts lists and shows; only a file can be read."""
    for step in SECTIONS[key]:
        for line in step.lines:
            made = calls(parsed(filled_in(command(line, NAMES))))
            assert "Format-List" not in {call.name for call in made}
            if made[0].name.startswith("Get-"):
                assert made[-1].name == "Export-Clixml", line
            if made[0].name == "certutil":
                assert re.search(r" > [\w-]+\.txt$", line), line


def test_a_recording_that_is_started_is_stopped():
    for steps in SECTIONS.values():
        lines = [line for step in steps for line in step.lines]
        for program in ("netsh trace", "pktmon"):
            started = [line.startswith(f"{program} start") for line in lines]
            assert sum(started) == lines.count(f"{program} stop")


def test_every_shared_file_is_named_by_a_cause():
    causes = " ".join(file.read_text("utf-8") for file in builtin_rules().joinpath("causes").iterdir())
    names = {file.name.removesuffix(".yml") for file in builtin_rules().joinpath("commands").iterdir()}
    assert names == set(re.findall(r"[a-z0-9-]+", " ".join(re.findall(r"commands: (.*)", causes))))


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_the_first_step_is_a_sentence_for_everyone(cause):
    """Reports show it alone, on top, whatever was observed."""
    names = sorted({name for step in cause.steps for name in (*step.when, *step.unless)})
    for chosen in chain.from_iterable(combinations(names, count) for count in range(len(names) + 1)):
        place = Place(server="", observed=frozenset(chosen), names=NAMES)
        first = next(step for step in cause.steps if applies(step, place))
        assert first.text
        assert first.server == ""


OF_EXCHANGE = re.compile(
    r"SendConnector|Send connector|ExchangeCertificate|MSExchange|Exchange Management Shell|Exchange servers"
    r"|Hybrid Configuration|TransportRoles|TlsCertificateName|default SMTP certificate"
)
OF_IIS = re.compile(r"SMTPSVC|IIS|virtual server|LocalMachine\\My")


@pytest.mark.parametrize(("server", "foreign"), [("iis", OF_EXCHANGE), ("exchange", OF_IIS)])
@pytest.mark.parametrize("key", SECTIONS)
def test_steps_for_another_kind_of_server_are_never_shown(key, server, foreign):
    observed = {name for step in SECTIONS[key] for name in step.when}
    shown = instructions(SECTIONS[key], [Place(server=server, observed=frozenset(observed), names=NAMES)])
    # These compare the two kinds: the sentence says so itself.
    assert [line for line in shown if foreign.search(line)] == []
    assert not any(line.startswith("Where ") and line.endswith("sends the mail:") for line in shown)


@pytest.mark.parametrize("key", SECTIONS)
def test_no_address_is_put_into_a_command_that_may_be_the_wrong_one(key):
    """The cmdlet refuses IPv6 addresses, and a private one never matches."""
    for step in SECTIONS[key]:
        if "seen_address" in " ".join(step.lines):
            assert {"seen-private", "seen-ipv6"} <= set(step.unless)


def test_require_tls_is_not_set_on_a_connector_to_which_it_does_not_apply():
    """Set-InboundConnector: RequireTls applies to connectors of type Partner only."""
    for _, line in LINES.values():
        assert not ("InboundConnector" in line and re.search(r"(?i)requiretls|restrictdomains", line))


# ------------------------------------------------------------------------------------------------ how steps are shown

ONE = Step(text="Look at $host.")
EXCHANGE = Step(server="exchange", shell="exchange", lines=("Set-SendConnector -Identity $connector -Enabled $$true",))
IIS = Step(server="iis", shell="windows", lines=("Restart-Service SMTPSVC",))
CONDITIONAL = Step(when=("a",), unless=("b",), text="Only here.")


def sort_key(server, *observed, **names):
    return Place(server=server, observed=frozenset(observed), names={"host": "EX01", "connector": "Out", **names})


def test_only_the_steps_for_the_server_are_shown():
    assert instructions([ONE, EXCHANGE, IIS], [sort_key("exchange")]) == (
        "Look at EX01.",
        "In the Exchange Management Shell on EX01:",
        "> Set-SendConnector -Identity 'Out' -Enabled $true",
    )
    assert instructions([ONE, EXCHANGE, IIS], [sort_key("iis", host="WEB1")]) == (
        "Look at WEB1.",
        "In an elevated PowerShell on WEB1:",
        "> Restart-Service SMTPSVC",
    )


def test_an_unknown_server_is_given_both_as_alternatives():
    assert instructions([EXCHANGE, IIS, ONE], [sort_key("")]) == (
        "Where Exchange sends the mail:",
        "In the Exchange Management Shell on EX01:",
        "> Set-SendConnector -Identity 'Out' -Enabled $true",
        "Where IIS SMTP sends the mail:",
        "In an elevated PowerShell on EX01:",
        "> Restart-Service SMTPSVC",
        "In either case:",
        "Look at EX01.",
    )


def test_a_shell_is_named_once_for_what_follows_in_it_and_again_below_a_sentence():
    steps = [
        replace(IIS, server=""),
        ONE,
        replace(IIS, server=""),
        replace(EXCHANGE, server=""),
        replace(IIS, server=""),
    ]
    shells = [line for line in instructions(steps, [sort_key("iis")]) if line.startswith("In ")]
    assert shells == [
        "In an elevated PowerShell on EX01:",
        "In an elevated PowerShell on EX01:",
        "In the Exchange Management Shell on EX01:",
        "In an elevated PowerShell on EX01:",
    ]


def test_servers_share_what_is_the_same_for_them():
    steps = [replace(IIS, server=""), EXCHANGE]
    assert instructions(steps, [sort_key("exchange"), sort_key("exchange", host="EX02", connector="Two")]) == (
        "In an elevated PowerShell on EX01, EX02:",
        "> Restart-Service SMTPSVC",
        "In the Exchange Management Shell on EX01:",
        "> Set-SendConnector -Identity 'Out' -Enabled $true",
        "In the Exchange Management Shell on EX02:",
        "> Set-SendConnector -Identity 'Two' -Enabled $true",
    )


@pytest.mark.parametrize(("observed", "shown"), [((), ()), (("a",), ("Only here.",)), (("a", "b"), ()), (("b",), ())])
def test_steps_under_conditions(observed, shown):
    assert instructions([CONDITIONAL], [sort_key("iis", *observed)]) == shown


# ------------------------------------------------------------------------------------- names that an attacker chose

HOSTILE = (
    "'; Remove-Item C:\\ -Recurse; '",
    '"; Remove-Item C:\\ -Recurse; "',
    "$(Remove-Item C:\\)",
    "`$(Remove-Item C:\\)`",
    "x\r\nRemove-Item C:\\",
    "O\u2019Brien\u2018; Remove-Item C:\\",
    "<x>; Remove-Item C:\\",
    "> Remove-Item C:\\",
    "@{x=1}",
    "a | Remove-Item",
    "",
)


def read_back(text):
    """The value of a verbatim string literal, by the language specification (2.3.5.2)."""
    return re.sub("(['\u2018\u2019\u201a\u201b])\\1", r"\1", text[1:-1])


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_name_stays_one_argument(value):
    line = command("Set-SendConnector -Identity $connector -Enabled $$true", {"connector": value})
    tree = parsed(line)
    (only,) = calls(tree)
    assert (only.name, only.parameters) == ("Set-SendConnector", ("Identity", "Enabled"))
    assert len(list(nodes(tree, "string_literal"))) == 1
    assert "\n" not in line
    assert read_back(literal(value)) == re.sub("[\r\n]", "\ufffd", value)


@given(st.text(max_size=40))
@settings(max_examples=examples(300))
def test_any_name_stays_one_argument(value):
    shown = literal(value)
    if re.fullmatch("<[A-Za-z0-9 ]+>", value):
        assert shown == value
        return
    inside = shown[1:-1]
    assert shown[0] == shown[-1] == "'"
    # Every mark that ends a literal stands twice: taken out in pairs, none is left.
    assert not re.search("['\u2018\u2019\u201a\u201b]", re.sub("(['\u2018\u2019\u201a\u201b])\\1", "", inside))
    tree = parsed(f"Get-SendConnector -Identity {shown}")
    if not re.search("[\u2018\u2019\u201a\u201b]", value):  # the grammar does not know the typographic marks
        assert tree is not None
        assert [call.name for call in calls(tree)] == ["Get-SendConnector"]


def with_connector(name):
    files = {file: content for file, content in self_signed().items() if not file.startswith("Get-")}
    return {
        file: content.decode().replace("Outbound to Office 365", name) if file.endswith(".LOG") else content
        for file, content in files.items()
    }


def lines_of(report):
    for finding in report.findings:
        yield from (*finding.remedy.steps, *finding.remedy.verify)
        yield from (line for part in finding.missing for line in part.collect)


@pytest.mark.parametrize("name", ["x'; Remove-Item C:\\; '", "x$(Remove-Item C:\\)y", "x; Remove-Item C:\\ #"])
def test_a_connector_with_a_hostile_name_gives_no_other_command(tmp_path, name):
    report = analyze(tmp_path, with_connector(name))
    assert {incident.connector for incident in report.incidents} == {name}
    commands = [line.removeprefix(COMMAND) for line in lines_of(report) if line.startswith(COMMAND)]
    assert any("Set-SendConnector" in line for line in commands)
    for line in commands:
        made = {call.name for call in calls(parsed(filled_in(line)))}
        assert "Remove-Item" not in made, line


def test_a_name_with_a_quotation_mark_is_redacted_in_commands_too(tmp_path):
    report = analyze(tmp_path, with_connector("O'Brien's way"))
    assert "O''Brien''s way" in to_json(report)
    clean, originals = redacted(report)
    assert "Brien" not in to_json(clean)
    assert "O'Brien's way" in originals.values()


# ------------------------------------------------------------------------------------------------------- whole reports

NDR = """From: postmaster@contoso.com
To: a@contoso.com
Date: Thu, 1 Dec 2016 03:10:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

refused
--b
Content-Type: message/delivery-status

Reporting-MTA: dns;mail.contoso.com

Final-Recipient: rfc822;b@fabrikam.com
Action: failed
Status: 5.7.64
Diagnostic-Code: smtp;550 5.7.64 TenantAttribution; Relay Access Denied

--b--
"""


def test_a_report_on_iis_names_nothing_of_exchange(tmp_path):
    report = analyze(tmp_path, no_tls_iis())
    lines = [*lines_of(report), *(part.text for finding in report.findings for part in finding.missing)]
    assert [line for line in lines if re.search("SendConnector|TransportRoles|ExchangeCertificate", line)] == []
    assert not any("No Send connector protocol log" in line for line in lines)


EXPORTED = {
    "inbound-connectors.xml": {"Name": "In", "ConnectorType": "OnPremises", "TlsSenderCertificateName": ""},
    "accepted-domains.xml": {"DomainName": "servername.com", "DomainType": "Authoritative"},
    "send-connectors.xml": {"Name": "Outbound to Office 365", "TlsCertificateName": ""},
    "exchange-certificates.xml": {"Thumbprint": "AB" * 20, "Services": "SMTP", "Subject": "CN=x"},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_what_is_in_the_input_is_not_asked_for(tmp_path, name):
    """A report on mail that was refused for no known reason asks for an export, and not where the input holds it."""
    files = {file: content for file, content in no_capi2().items() if not file.startswith("Get-")}
    before = unexplained(analyze(tmp_path / "without", files))
    after = unexplained(analyze(tmp_path / "with", {**files, "export.json": json.dumps([EXPORTED[name]])}))
    assert f"Export-Clixml {name}" in before
    assert f"Export-Clixml {name}" not in after
    others = [other for other in EXPORTED if other != name]
    assert [other for other in others if f"Export-Clixml {other}" not in after] == []


def unexplained(report):
    finding = next(item for item in report.findings if item.cause == "unexplained")
    return " ".join(line for part in finding.missing for line in part.collect)


def test_a_delivery_report_alone_asks_for_either_log(tmp_path):
    """It does not tell which kind of server sent the mail."""
    text = unexplained(analyze(tmp_path, {"ndr.eml": NDR.replace("\n", "\r\n")}))
    assert re.search("Where Exchange sends the mail:.*SmtpSend.*MessageTracking", text)
    assert re.search(r"Where IIS SMTP sends the mail:.*LogFiles\\SMTPSVC", text)
    assert "netsh" not in text


# ---------------------------------------------------------------------------------------- what we ask for, we can read

# Export-Clixml of Select-Object and of whole objects: MS-PSRP section 2.2.5. A chosen object carries its properties as
# extended ones (MS), an enumeration its text and its number, a list its members, which may be objects themselves.
CERTIFICATE = """<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0">
    <TN RefId="0">
      <T>Selected.Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate</T>
      <T>System.Management.Automation.PSCustomObject</T><T>System.Object</T>
    </TN>
    <MS>
      <S N="Thumbprint">0123456789ABCDEF0123456789ABCDEF01234567</S>
      <S N="Subject">CN=mail.contoso.com, O=Contoso</S>
      <S N="Issuer">CN=Contoso CA, DC=corp, DC=local</S>
      <S N="SerialNumber">1A2B</S>
      <Obj N="CertificateDomains" RefId="1">
        <TN RefId="1"><T>System.Collections.Generic.List`1[[SmtpDomainWithSubdomains]]</T><T>System.Object</T></TN>
        <LST>
          <Obj RefId="2"><TN RefId="2"><T>SmtpDomainWithSubdomains</T></TN><ToString>mail.contoso.com</ToString>
            <Props><S N="Domain">mail.contoso.com</S><B N="IncludeSubDomains">false</B></Props></Obj>
          <Obj RefId="3"><TNRef RefId="2" /><ToString>*.contoso.com</ToString>
            <Props><S N="Domain">contoso.com</S><B N="IncludeSubDomains">true</B></Props></Obj>
        </LST>
      </Obj>
      <DT N="NotBefore">2026-01-01T01:00:00+01:00</DT>
      <DT N="NotAfter">2027-01-01T01:00:00+01:00</DT>
      <Obj N="Services" RefId="4">
        <TN RefId="3"><T>Microsoft.Exchange.Management.AllowedServices</T><T>System.Enum</T></TN>
        <ToString>IIS, SMTP</ToString><I32>12</I32>
      </Obj>
      <Obj N="Status" RefId="5"><TN RefId="4"><T>CertificateStatus</T><T>System.Enum</T></TN>
        <ToString>Valid</ToString><I32>1</I32></Obj>
      <B N="HasPrivateKey">true</B>
      <B N="IsSelfSigned">false</B>
      <Obj N="RootCAType" RefId="6"><TN RefId="5"><T>CertificateAuthorityType</T><T>System.Enum</T></TN>
        <ToString>Enterprise</ToString><I32>3</I32></Obj>
    </MS>
  </Obj>
</Objs>"""
CONNECTOR = """<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0">
    <TN RefId="0"><T>Deserialized.Microsoft.Exchange.Data.Directory.SystemConfiguration.TenantInboundConnector</T></TN>
    <ToString>From on-premises</ToString>
    <Props>
      <B N="Enabled">true</B>
      <S N="ConnectorType">OnPremises</S>
      <Obj N="SenderIPAddresses" RefId="1"><TN RefId="1"><T>System.Collections.ArrayList</T></TN>
        <LST><S>198.51.100.1</S><S>198.51.100.2</S><S>198.51.100.3</S><S>198.51.100.4</S><S>203.0.113.7</S></LST></Obj>
      <Obj N="AssociatedAcceptedDomains" RefId="2"><TNRef RefId="1" /><LST /></Obj>
      <S N="TlsSenderCertificateName">*.contoso.com</S>
      <S N="Name">From on-premises</S>
    </Props>
  </Obj>
</Objs>"""


def rows(tmp_path, content, encoding="utf-16"):
    file = Path(tmp_path, "export.xml")
    file.write_bytes(content.encode(encoding))  # Export-Clixml writes Unicode by default
    syntax = recognize(file.read_bytes()[:HEAD])
    with file.open("rb") as stream:
        return list(read(syntax, stream, Origin(source="export.xml")))


def test_the_certificates_that_we_ask_for_are_read(tmp_path):
    (line,) = {line for _, line in LINES.values() if "exchange-certificates.xml" in line}
    names = re.search(r"Select-Object (\S+)", line)[1].split(",")
    assert set(names) == set(re.findall(r'^      <\w+ N="(\w+)"', CERTIFICATE, re.MULTILINE))
    (row,) = rows(tmp_path, CERTIFICATE)
    assert row.log == "Get-ExchangeCertificate"
    assert {name: row.values[name] for name in names} == {
        "Thumbprint": "0123456789ABCDEF0123456789ABCDEF01234567",
        "Subject": "CN=mail.contoso.com, O=Contoso",
        "Issuer": "CN=Contoso CA, DC=corp, DC=local",
        "SerialNumber": "1A2B",
        "CertificateDomains": "mail.contoso.com;*.contoso.com",
        "NotBefore": "2026-01-01T01:00:00+01:00",
        "NotAfter": "2027-01-01T01:00:00+01:00",
        "Services": "IIS, SMTP",
        "Status": "Valid",
        "HasPrivateKey": "true",
        "IsSelfSigned": "false",
        "RootCAType": "Enterprise",
    }


def test_a_list_of_any_length_is_read(tmp_path):
    (row,) = rows(tmp_path, CONNECTOR)
    assert row.log == "Get-InboundConnector"
    assert row.values["SenderIPAddresses"].split(";")[4] == "203.0.113.7"
    assert row.values["AssociatedAcceptedDomains"] == ""
