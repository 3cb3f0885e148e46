"""The collection script: a grammar of PowerShell takes it, its cmdlets and programs are documented as they are used,
and what it changes is put back. Nothing here shows how it runs on Windows.

Parameters are those of the SYNTAX sections of the sources that ``tests/helpers/cmdlets.py`` names (PowerShell-Docs
reference 5.1, office-docs-powershell, windowsserverdocs).
"""

from __future__ import annotations

import re

import pytest
import tree_sitter_powershell
from cmdlets import COMMON, EXCHANGE, WINDOWS, nodes
from tree_sitter import Language, Parser
from typer.testing import CliRunner

from evtx_analyzer.cli.app import app
from evtx_analyzer.collector import script
from evtx_analyzer.read.collector_manifest import COLLECTOR
from evtx_analyzer.version import VERSION

TEXT = script()
TREE = Parser(Language(tree_sitter_powershell.language())).parse(TEXT.encode()).root_node

# What the script needs beyond the commands of the rules.
MORE = {
    "Add-Type": "AssemblyName Path LiteralPath TypeDefinition MemberDefinition Name Namespace Language PassThru",
    "ConvertTo-Json": "InputObject Depth Compress",
    "Copy-Item": "Path Destination Container Force Filter Include Exclude Recurse PassThru Credential LiteralPath",
    "Get-ChildItem": "Path LiteralPath Filter Include Exclude Recurse Depth Force Name Attributes Directory File",
    "Get-Command": "Name Verb Noun Module FullyQualifiedModule CommandType TotalCount Syntax ArgumentList All",
    "Join-Path": "Path ChildPath Resolve Credential",
    "New-Object": "TypeName ArgumentList Property ComObject Strict",
    "Out-File": "FilePath LiteralPath Encoding Append Force NoClobber Width NoNewline InputObject",
    "Out-String": "Stream Width InputObject",
    "Read-Host": "Prompt AsSecureString",
    "Resolve-Path": "Path LiteralPath Relative Credential",
    "Set-StrictMode": "Version Off",
    "Test-Path": "Path LiteralPath Filter Include Exclude PathType IsValid OlderThan NewerThan Credential",
    "Write-Host": "Object NoNewline Separator ForegroundColor BackgroundColor",
    "Write-Verbose": "Message",
    "Write-Warning": "Message",
    # Exchange Management Shell
    "Get-ExchangeServer": "Identity DomainController Domain Status",
    "Get-FrontendTransportService": "Identity DomainController",
    "Get-MessageTrackingLog": """DomainController End EventId InternalMessageId MessageId MessageSubject
        NetworkMessageId Recipients Reference ResultSize Sender Server Source Start TransportTrafficType""",
    "Get-Queue": "Filter Identity Server BookmarkIndex BookmarkObject IncludeBookmark Include Exclude ResultSize",
    "Get-TransportService": "Identity DomainController",
}
CMDLETS = {**{name: parts[1] for name, parts in EXCHANGE.items()}, **WINDOWS, **MORE}
# Those that change a machine; each is asked for below.
CHANGING = re.compile(r"(?:Set|New|Remove|Enable|Disable|Start|Stop|Restart|Clear|Import|Invoke|Install|Save)-")

# Program -> forms of its arguments (windowsserverdocs: wevtutil, pktmon-*, netsh-trace, certutil, w32tm).
_ANY = r"\S+"
PROGRAMS = {
    "wevtutil.exe": (rf"sl {_ANY} /e:\S+ /ms:\S+", rf"epl {_ANY} {_ANY} /ow:true"),
    "pktmon.exe": (
        "filter list",
        "filter remove",
        r"filter add \S+ -t TCP -p 25",
        r"start --capture --comp nics --pkt-size 0 --file-name \S+ --file-size \d+",
        "stop",
        r"etl2pcap \S+ --out \S+",
    ),
    "netsh.exe": (
        r"trace start capture=yes persistent=no report=disabled maxsize=\d+ tracefile=\S+",
        "trace stop",
    ),
    "certutil.exe": (r"-v -store \S+",),
    "w32tm.exe": (r"/query /status /verbose",),
}


def functions():
    """Functions of the script with the names of their parameters."""
    found = {}
    for node in nodes(TREE, "function_statement"):
        name = next(child.text.decode() for child in node.children if child.type == "function_name")
        head = node.text.decode().partition("{")[0]
        found[name] = re.findall(r"\$(\w+)", head)
    return found


FUNCTIONS = functions()


def commands():
    for node in nodes(TREE, "command"):
        name = next((child.text.decode() for child in node.children if child.type == "command_name"), "")
        parts = [item for child in node.children if child.type == "command_elements" for item in child.children]
        yield name, [part.text.decode() for part in parts if part.type == "command_parameter"], node.start_point[0] + 1


def test_a_grammar_of_powershell_takes_it():
    wrong = [(node.start_point, node.text.decode()[:60]) for node in nodes(TREE, "ERROR")]
    assert (wrong, TREE.has_error) == ([], False)


@pytest.mark.parametrize(
    "newer",
    [
        r"\?\?",
        r"\?\.",
        r"&&",
        r"(?<!\|)\|\|",
        r"-Parallel",
        r"\$IsWindows",
        r"ForEach-Object -Parallel",
        r"\bclean\s*\{",
    ],
)
def test_nothing_in_it_is_newer_than_windows_powershell(newer):
    code = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|#[^\n]*", "", TEXT.partition("#>")[2])
    assert re.search(newer, code) is None


def test_there_is_no_ternary():
    assert not list(nodes(TREE, "ternary_expression"))
    assert re.search(r"\)\s\?\s", TEXT) is None


def test_it_is_ascii_so_that_no_code_page_changes_it():
    assert TEXT.isascii()
    assert "\r\n" in TEXT
    assert TEXT.count("\n") == TEXT.count("\r\n")
    assert max(map(len, TEXT.splitlines())) <= 140


def test_every_command_is_known_with_these_parameters():
    wrong = []
    for name, parameters, line in commands():
        if name in FUNCTIONS:
            known = FUNCTIONS[name]
        elif name in CMDLETS:
            known = f"{CMDLETS[name]} {COMMON}".split()
        elif name.startswith("$") or name == "":
            continue
        else:
            wrong.append(f"line {line}: {name} is in no table")
            continue
        allowed = {item.casefold() for item in known}
        wrong += [
            f"line {line}: {name} {parameter}" for parameter in parameters if parameter[1:].casefold() not in allowed
        ]
    assert wrong == []


def test_what_it_runs_through_a_variable_is_known():
    """``&`` takes a block of a step, a program, the tenant's own cmdlet, or what puts a change back."""
    assert set(re.findall(r"& (\$[\w.]+)", TEXT)) == {"$Action", "$Program", "$command", "$Get", "$change.command"}


def arrays():
    """Arguments of programs as they stand in arrays, with what is filled in as one word."""
    assigned = dict(re.findall(r"\$(\w+) = (@\([^()\n]*\))", TEXT))
    uses = re.findall(
        r"-(?:Program|Command) '(\w+\.exe)' -(?:Arguments|With) (@\([^()\n]*(?:\(\w+\))?[^()\n]*\)|\$\w+)", TEXT
    )
    for program, given in uses:
        text = assigned.get(given[1:], given) if given.startswith("$") else given
        words = re.findall(r"'([^']*)'|\"([^\"]*)\"|\$(\w+)", text)
        yield program, " ".join(a or re.sub(r"\$\w+", "VALUE", b) or "VALUE" for a, b, c in words)


def test_every_program_is_called_as_documented():
    found = list(arrays())
    assert {program for program, _ in found} == set(PROGRAMS)
    wrong = [pair for pair in found if not any(re.fullmatch(form, pair[1]) for form in PROGRAMS[pair[0]])]
    assert wrong == []


def test_nothing_is_fetched_or_sent():
    assert (
        re.search(
            r"(?i)Invoke-WebRequest|Invoke-RestMethod|Net\.WebClient|Start-BitsTransfer|HttpClient|Send-MailMessage|Invoke-Expression|\biex\b|"
            r"Install-Module|curl|https?://",
            TEXT,
        )
        is None
    )


def test_no_private_key_is_touched():
    assert re.search(r"(?i)Export-PfxCertificate|\.PrivateKey|exportPFX|GetRSAPrivateKey|X509ContentType", TEXT) is None


def test_every_change_stands_behind_its_switch_and_is_noted_before_it_is_made():
    run = TEXT.partition("--- run")[2]
    for function, switch in {
        "Start-Capi2": "$EnableCapi2",
        "Start-ProtocolLog": "$EnableProtocolLog",
        "Start-Pktmon": "$Trace -eq 'Pktmon'",
        "Start-Netsh": "$Trace -eq 'Netsh'",
    }.items():
        (line,) = [line for line in run.splitlines() if f"{{ {function} }}" in line]
        assert line.strip().startswith(f"if ({switch})")
        body = TEXT.partition(f"function {function}")[2].partition("\n}")[0]
        makes = re.search(
            r"'sl', \$Capi2, '/e:true'|ProtocolLoggingLevel Verbose|'filter', 'add'|'trace', 'start'", body
        )
        assert 0 < body.index("Add-Change") < makes.start()
    changing = {name for name, *_ in commands() if CHANGING.match(name)} - set(FUNCTIONS)
    assert changing == {"New-Item", "New-Object", "Set-SendConnector", "Set-StrictMode"}
    assert TEXT.count("Set-SendConnector -Identity $identity -ProtocolLoggingLevel Verbose") == 1


def test_changes_are_put_back_in_a_finally_block():
    """PowerShell runs it after an error and after Ctrl-C (about_Try_Catch_Finally)."""
    tries = [node for node in nodes(TREE, "try_statement") if "Start-Capi2" in node.text.decode()]
    outer = tries[0]
    (last,) = list(nodes(outer, "finally_clause"))
    assert "Restore-All" in last.text.decode()
    before = outer.text.decode().partition("finally")[0]
    assert before.index("Export-Log -Log $Capi2") < before.index("Restore-All"), (
        "the export comes before the size is put back"
    )


def test_no_closure_hides_the_functions_of_the_script():
    assert "GetNewClosure()" not in re.sub(r"#[^\n]*", "", TEXT)


def test_no_variable_of_the_script_breaks_the_limits_of_a_parameter():
    """A parameter's ValidateSet and ValidateRange hold for every later assignment, whatever the case of its name."""
    names = re.findall(r"\]\$(\w+)", TEXT.partition("param(")[2].partition(")\r\n\r\n")[0])
    assert {"Trace", "Hours"} <= set(names)
    assigned = {name.casefold() for name in re.findall(r"(?m)^\s*\$(\w+) = ", TEXT.partition("Set-StrictMode")[2])}
    assert not {name.casefold() for name in names} & assigned


def test_its_help_says_what_it_changes_and_what_is_not_proven():
    intro = " ".join(TEXT.partition("#>")[0].split())
    for text in (
        "Nothing on the server is changed without a switch",
        "has not been proven",
        "put back",
        "No private key",
    ):
        assert text in intro
    parameters = re.findall(r"\]\$(\w+)", TEXT.partition("param(")[2].partition(")\r\n\r\n")[0])
    assert re.findall(r"\.PARAMETER (\w+)", TEXT) == parameters


def test_the_manifest_is_the_one_that_is_read():
    keys = re.findall(
        r"^        (\w+) +=", TEXT.partition("$manifest = [ordered]@{")[2].partition("\r\n    }")[0], re.MULTILINE
    )
    assert keys[0] == "collector"
    assert f"collector  = '{COLLECTOR}'" in TEXT
    assert {"host", "timeZone", "ended", "state", "steps", "notPutBack"} <= set(keys)
    assert f"$ScriptVersion = '{VERSION}'" in TEXT


# ----------------------------------------------------------------------------------------------------- the command


def test_it_is_printed():
    made = CliRunner().invoke(app, ["collector"])
    assert made.exit_code == 0
    assert made.stdout.replace("\r\n", "\n") == TEXT.replace("\r\n", "\n")


def test_it_is_written(tmp_path):
    made = CliRunner().invoke(app, ["collector", "-o", str(tmp_path / "c.ps1")])
    assert (made.exit_code, (tmp_path / "c.ps1").read_bytes()) == (0, TEXT.encode())


@pytest.mark.parametrize("name", ["c.txt", "no/such/c.ps1"])
def test_a_file_that_cannot_be_is_refused(tmp_path, name):
    made = CliRunner().invoke(app, ["collector", "-o", str(tmp_path / name)])
    assert made.exit_code != 0
    assert name.rpartition("/")[2] in str(made.exception)
