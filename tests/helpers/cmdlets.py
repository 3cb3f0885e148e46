"""Cmdlets and programs that the rules may name, from Microsoft's documentation, and a check of lines against them.

Parameters are those of the page's SYNTAX section. Sources, by repository of github.com/MicrosoftDocs:

- EXCHANGE: office-docs-powershell, exchange/exchange-ps/ExchangePowerShell/<cmdlet>.md; the line "available only in
  on-premises Exchange" or "only in the cloud-based service" of its SYNOPSIS says to which shell it belongs
- WINDOWS: PowerShell-Docs, reference/5.1/<module>/<cmdlet>.md; windows-powershell-docs,
  docset/winserver2022-ps/pki/Import-Certificate.md
- PROGRAMS: windowsserverdocs, WindowsServerDocs/administration/windows-commands/<program>.md (netsh-trace.md for netsh)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

SHELLS = ("exchange-online", "exchange", "windows")

# about_CommonParameters
COMMON = "Debug ErrorAction ErrorVariable InformationAction InformationVariable OutVariable OutBuffer PipelineVariable"
COMMON += " Verbose WarningAction WarningVariable WhatIf Confirm"

_INBOUND = """AssociatedAcceptedDomains CloudServicesMailEnabled Comment ConnectorSource ConnectorType EFSkipIPs
    EFSkipLastIP EFSkipMailGateway EFTestMode EFUsers Enabled Name RequireTls RestrictDomainsToCertificate
    RestrictDomainsToIPAddresses ScanAndDropRecipients SenderDomains SenderIPAddresses TlsSenderCertificateName
    TreatMessagesAsInternal TrustedOrganizations"""

# Cmdlet -> shells that have it, its parameters, those without which it asks or fails.
EXCHANGE = {
    "Get-InboundConnector": ("exchange-online", "Identity ResultSize", ""),
    "Set-InboundConnector": ("exchange-online", f"Identity {_INBOUND}", "Identity"),
    "New-InboundConnector": ("exchange-online", f"{_INBOUND} ClientHostNames", "Name SenderDomains"),
    # In both, and not the same domains: the rules want those of Exchange Online.
    "Get-AcceptedDomain": ("exchange-online", "Identity ResultSize", ""),
    "Set-AcceptedDomain": (
        "exchange-online",
        """Identity AddressBookEnabled CanHaveCloudCache DomainType EnableNego2Authentication MakeDefault
        MatchSubDomains Name OutboundOnly PendingCompletion PendingRemoval SendingFromDomainDisabled
        SendingToDomainDisabled""",
        "Identity",
    ),
    "Get-SendConnector": ("exchange", "Identity DomainController", ""),
    "Set-SendConnector": (
        "exchange",
        """Identity AddressSpaces AuthenticationCredential CloudServicesMailEnabled Comment ConnectionInactivityTimeOut
        ConnectorType DNSRoutingEnabled DomainController DomainSecureEnabled Enabled ErrorPolicies Force ForceHELO Fqdn
        FrontendProxyEnabled IgnoreSTARTTLS IsCoexistenceConnector IsScopedConnector LinkedReceiveConnector
        MaxMessageSize Name Port ProtocolLoggingLevel RequireOorg RequireTLS SmartHostAuthMechanism SmartHosts
        SmtpMaxMessagesPerConnection SourceIPAddress SourceTransportServers TlsAuthLevel TlsCertificateName TlsDomain
        UseExternalDNSServersEnabled""",
        "Identity",
    ),
    "Get-ExchangeCertificate": (
        "exchange",
        "Identity Instance Thumbprint DomainController DomainName Server",
        "",
    ),
    "Enable-ExchangeCertificate": (
        "exchange",
        "Thumbprint Identity Services DomainController DoNotRequireSsl Force NetworkServiceAllowed Server",
        "Thumbprint Services",
    ),
    "Remove-ExchangeCertificate": ("exchange", "Thumbprint Identity Server DomainController", "Thumbprint"),
    "Search-UnifiedAuditLog": (
        "exchange-online",
        """EndDate StartDate Formatted FreeText HighCompleteness IPAddresses LongerRetentionEnabled ObjectIds Operations
        RecordType ResultSize SessionCommand SessionId SiteIds UserIds""",
        "StartDate EndDate",
    ),
    "Search-AdminAuditLog": (
        "exchange",
        """Cmdlets DomainController EndDate ExternalAccess IsSuccess ObjectIds Parameters ResultSize StartDate
        StartIndex UserIds""",
        "",
    ),
    "Get-TransportService": ("exchange", "Identity DomainController", ""),
}
WINDOWS = {
    "Copy-Item": "Path Destination Container Force Filter Include Exclude Recurse PassThru Credential LiteralPath",
    "Export-Certificate": "Cert FilePath Type Force NoClobber",
    "Export-Clixml": "Depth Path LiteralPath InputObject Force NoClobber Encoding",
    "ForEach-Object": "InputObject Process Begin End RemainingScripts MemberName ArgumentList",
    "Format-List": "Property GroupBy View ShowError DisplayError Force Expand InputObject",
    "Get-ChildItem": "Path Filter Include Exclude Recurse Depth Force Name Attributes Directory File Hidden ReadOnly",
    "Get-Date": "Date Year Month Day Hour Minute Second Millisecond DisplayHint Format UFormat",
    "Get-ItemProperty": "Path Name Filter Include Exclude Credential LiteralPath",
    "Get-WinEvent": "FilterHashtable LogName MaxEvents ComputerName FilterXPath Force Oldest Path ProviderName",
    "Import-Certificate": "FilePath CertStoreLocation",
    "New-Item": "Path ItemType Value Force Credential Name",
    "New-ItemProperty": "Path LiteralPath Name PropertyType Value Force Filter Include Exclude Credential",
    "Restart-Service": "Force InputObject Name PassThru Include Exclude DisplayName",
    "Select-Object": "InputObject Property ExcludeProperty ExpandProperty Unique Last First Skip SkipLast Wait Index",
    "Start-Service": "InputObject Name PassThru Include Exclude DisplayName",
    "Stop-Service": "Force NoWait InputObject Name PassThru Include Exclude DisplayName",
    "Where-Object": "InputObject Property Value FilterScript EQ NE GT LT GE LE Like Match In Contains",
}
# Those that shape or save what another cmdlet gives; they are in every shell.
ANYWHERE = ("Export-Clixml", "ForEach-Object", "Format-List", "Select-Object", "Where-Object", "Get-Date")

_VALUE = r"(?:'[^']+'|[^\s']+)"
# Program -> forms of its arguments, of which one must fit the whole; a verb is never followed by another's options.
PROGRAMS = {
    "certutil": (
        r"(-v )?-store (My|CA|Root|AuthRoot)( [0-9A-F]{40})?",
        rf"-verifystore My {_VALUE}",
        rf"-repairstore My {_VALUE}",
        rf"-delstore CA {_VALUE}",
        r"-f -verifyctl AuthRoot \S+\.cer",
        r"-csp \"[^\"]+\" -importpfx \S+ AT_KEYEXCHANGE",
    ),
    "wevtutil": (
        r"sl \S+/Operational /e:(true|false)( /ms:\d+)?",
        r"epl \S+ \S+\.evtx( /ow:(true|false))?",
    ),
    "netsh": (
        r"trace start capture=yes( report=disabled)? tracefile=\S+\.etl( maxsize=\d+)?",
        r"trace stop",
    ),
    "pktmon": (
        r"filter add \w+( -t TCP)? -p \d+",
        r"filter remove",
        r"start --capture( --comp nics)? --pkt-size \d+ --file-name \S+\.etl",
        r"stop",
        r"etl2pcap \S+\.etl --out \S+\.pcapng",
    ),
}

# Properties of the objects, as the pages list them; those of a connector are its parameters.
PROPERTIES = {
    "Get-InboundConnector": _INBOUND,
    "Get-AcceptedDomain": "Name DomainName DomainType Default",
    "Get-SendConnector": EXCHANGE["Set-SendConnector"][1],
    "Get-ExchangeCertificate": """Thumbprint Services Subject AccessRules CertificateDomains HasPrivateKey IsSelfSigned
        Issuer NotAfter NotBefore PublicKeySize RootCAType SerialNumber Status""",
    "Get-ChildItem": "Thumbprint Subject Issuer NotBefore NotAfter HasPrivateKey",
}

_PARSER = Parser(Language(tree_sitter_powershell.language()))
_TO_FILL_IN = re.compile(r"<[A-Za-z0-9 ]+>")
_WORDS = re.compile(r"(?<![\w,$.-])[A-Za-z]\w*(?:,[A-Za-z]\w*)+(?![\w,.-])")
_QUOTED = re.compile(r"\"[^\"]*\"|'(?:[^']|'')*'")


class Call(NamedTuple):
    """One command of a line: its name, the names of its parameters, and its other arguments as written."""

    name: str
    parameters: tuple[str, ...]
    arguments: tuple[str, ...]
    text: str


def outside_of_quotes(line: str, change: Callable[[str], str]) -> str:
    """The line with what stands outside of quotation marks changed."""
    parts = re.split(f"({_QUOTED.pattern})", line)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def filled_in(line: str) -> str:
    """The line as someone leaves it who fills in what stands in angle brackets, outside of quotation marks."""
    return outside_of_quotes(line, lambda part: _TO_FILL_IN.sub("placeholder", part))


def nodes(node: Node, kind: str) -> Iterator[Node]:
    """Nodes of a kind, in the order of the text."""
    if node.type == kind:
        yield node
    for child in node.children:
        yield from nodes(child, kind)


def parsed(line: str) -> Node | None:
    """The syntax tree; None where PowerShell would not take the line.

    Two gaps of the grammar are closed: it takes a bare ``<``, which PowerShell reserves for future use, and it does
    not take a list of bare words (``Name,Enabled``), which PowerShell reads as a list of texts.
    """
    if "<" in _QUOTED.sub("", line):
        return None
    quoted = outside_of_quotes(
        line, lambda part: _WORDS.sub(lambda match: "'" + match[0].replace(",", "','") + "'", part)
    )
    tree = _PARSER.parse(quoted.encode())
    return None if tree.root_node.has_error else tree.root_node


def calls(tree: Node) -> list[Call]:
    """Every command of a line, also those inside of blocks and expressions."""
    made = []
    for node in nodes(tree, "command"):
        name, *rest = (child for child in node.children if child.type in ("command_name", "command_elements"))
        elements = [item for part in rest for item in part.children if item.type != "command_argument_sep"]
        words = [(element.text or b"").decode() for element in elements]
        made.append(
            Call(
                name=(name.text or b"").decode(),
                parameters=tuple(
                    word.removeprefix("-")
                    for word, item in zip(words, elements, strict=True)
                    if item.type == "command_parameter"
                ),
                arguments=tuple(
                    word
                    for word, item in zip(words, elements, strict=True)
                    if item.type not in ("command_parameter", "redirection")
                ),
                text=" ".join(word for word, item in zip(words, elements, strict=True) if item.type != "redirection"),
            )
        )
    return made


def problems(shell: str, line: str) -> list[str]:
    """What Microsoft's documentation says against a line in this shell."""
    if shell not in SHELLS:
        return [f"{line}: no shell is named"]
    tree = parsed(filled_in(line))
    if tree is None:
        return [f"{line}: PowerShell does not take this"]
    made = calls(tree)
    return [text for call in made for text in _of_call(shell, call)] + _of_properties(made)


def _of_call(shell: str, call: Call) -> Iterator[str]:
    if call.name in PROGRAMS:
        if shell != "windows":
            yield f"{call.name} belongs to windows, not to {shell}"
        if not any(re.fullmatch(form, call.text) for form in PROGRAMS[call.name]):
            yield f"{call.name} takes no: {call.text}"
        return
    if call.name in EXCHANGE:
        own, known, needed = EXCHANGE[call.name]
        if own != shell:
            yield f"{call.name} belongs to {own}, not to {shell}"
    elif call.name in WINDOWS:
        known, needed = WINDOWS[call.name], ""
        if shell != "windows" and call.name not in ANYWHERE:
            yield f"{call.name} belongs to windows, not to {shell}"
    else:
        yield f"{call.name} is in no table"
        return
    allowed = {name.casefold() for name in f"{known} {COMMON}".split()}
    yield from (f"{call.name} has no parameter {name}" for name in call.parameters if name.casefold() not in allowed)
    named = {name.casefold() for name in call.parameters}
    yield from (f"{call.name} needs {name}" for name in needed.split() if name.casefold() not in named)
    if len(named) < len(call.parameters):
        yield f"{call.name} has a parameter twice"


def _of_properties(made: list[Call]) -> list[str]:
    """Names after Select-Object and Format-List that the objects of the cmdlet before do not have."""
    wrong = []
    for first, second in pairwise(made):
        if first.name in PROPERTIES and second.name in ("Select-Object", "Format-List"):
            names = ",".join(second.arguments).replace("'", "").split(",")
            known = {name.casefold() for name in PROPERTIES[first.name].split()}
            wrong += [f"{first.name} has no property {name}" for name in names if name.strip().casefold() not in known]
    return wrong
