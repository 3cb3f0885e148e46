<#
.SYNOPSIS
Collects on one server what tells why mail to Exchange Online is refused with 550 5.7.64.

.DESCRIPTION
Run it in an elevated Windows PowerShell 5.1 on every server that sends through the connector; on Exchange in the
Exchange Management Shell, so that the cmdlets of Exchange are there. Where the same session is also connected with
Connect-ExchangeOnline, the tenant's inbound connectors and accepted domains are taken as well.

It writes one folder and one zip, and nothing else. It downloads nothing and sends nothing. No private key is read.

Nothing on the server is changed without a switch:
  -EnableCapi2        turns the CAPI2 Operational log on and sets its size
  -EnableProtocolLog  sets ProtocolLoggingLevel of the named Send connector to Verbose
  -Trace              records packets of port 25 (Pktmon), or of all ports (Netsh)
What was changed is put back at the end, also after an error and after Ctrl-C. Where that fails, the last lines say
what has to be put back by hand, and manifest.json says it too.

The script was checked against a grammar of PowerShell and against Microsoft's documentation of its commands. How it
behaves on a given version of Windows and Exchange has not been proven: read it first, and try it without switches.

.PARAMETER OutputFolder
Where the folder and the zip are written. Default: the current folder.

.PARAMETER Hours
How many hours back logs are copied. Default: 24.

.PARAMETER From
Copy logs from this local time on, instead of -Hours.

.PARAMETER EnableCapi2
Turn the CAPI2 Operational log on while the refusal happens again, and back to what it was.

.PARAMETER Capi2SizeMB
Its size meanwhile. Default: 100.

.PARAMETER EnableProtocolLog
The name of the Send connector whose protocol log is to be verbose while the refusal happens again.

.PARAMETER Trace
None (default), Pktmon (Windows Server 2019 and newer; converted to pcapng) or Netsh (older; an .etl file).

.EXAMPLE
.\collect-5764.ps1
Takes what is there. Changes nothing.

.EXAMPLE
.\collect-5764.ps1 -EnableCapi2 -EnableProtocolLog 'Outbound to Office 365' -Trace Pktmon
Changes these three, waits for a test message, collects, and puts everything back.
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [string]$OutputFolder = '.',
    [ValidateRange(1, 720)][int]$Hours = 24,
    [Nullable[datetime]]$From = $null,
    [switch]$EnableCapi2,
    [ValidateRange(1, 4096)][int]$Capi2SizeMB = 100,
    [string]$EnableProtocolLog = '',
    [ValidateSet('None', 'Pktmon', 'Netsh')][string]$Trace = 'None'
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# A whole certificate holds keys and handles that Export-Clixml writes at length.
$CertificateProperties = @(
    'Thumbprint', 'Subject', 'Issuer', 'SerialNumber', 'CertificateDomains', 'NotBefore', 'NotAfter', 'Services', 'Status',
    'HasPrivateKey', 'IsSelfSigned', 'RootCAType'
)
$ScriptVersion = '0.0.0-source'
$Capi2 = 'Microsoft-Windows-CAPI2/Operational'
$Started = (Get-Date).ToUniversalTime()
$Since = (Get-Date).AddHours(-$Hours)
if ($null -ne $From) { $Since = $From }
$Stamp = $Started.ToString('yyyyMMdd-HHmmss')
$Name = "5764-$env:COMPUTERNAME-$Stamp"
$Root = Join-Path -Path (Resolve-Path -Path $OutputFolder).Path -ChildPath $Name
$Zip = "$Root.zip"

# What was done, step by step, for manifest.json; and how to put back what was changed, the last change first.
$Steps = New-Object -TypeName System.Collections.ArrayList
$Undo = New-Object -TypeName System.Collections.Stack
$Changes = New-Object -TypeName System.Collections.ArrayList
$NotPutBack = New-Object -TypeName System.Collections.ArrayList

function Add-Step([string]$Step, [string]$Status, [string]$Detail) {
    [void]$Steps.Add([ordered]@{ name = $Step; status = $Status; detail = $Detail })
    Write-Host ('{0,-12} {1} {2}' -f $Status, $Step, $Detail)
}

# Runs one step. A step that fails is noted, and the next one goes on.
function Invoke-Step([string]$Step, [scriptblock]$Action) {
    try {
        $detail = & $Action
        Add-Step -Step $Step -Status 'ok' -Detail (@($detail) -join '; ')
    }
    catch {
        Add-Step -Step $Step -Status 'failed' -Detail $_.Exception.Message
    }
}

# Runs a program of Windows and takes a result other than 0 for a failure.
function Invoke-Program([string]$Program, [string[]]$Arguments) {
    # Windows PowerShell 5.1 makes errors of what a program writes to its error stream.
    $ErrorActionPreference = 'Continue'
    $text = & $Program @Arguments 2>&1 | Out-String
    if ($LASTEXITCODE -ne 0) { throw "$Program $($Arguments -join ' ') ended with $LASTEXITCODE. $($text.Trim())" }
    return $text
}

function Test-Command([string]$Cmdlet) {
    return $null -ne (Get-Command -Name $Cmdlet -ErrorAction SilentlyContinue)
}

function New-Folder([string]$Part) {
    $path = Join-Path -Path $Root -ChildPath $Part
    [void](New-Item -Path $path -ItemType Directory -Force)
    return $path
}

# Notes how a change is taken back, before it is made: a program of Windows with its arguments, or a cmdlet with its
# parameters. (No script block: a closure of a script does not see the functions of the script.)
function Add-Change([string]$Text, [string]$Command, $With) {
    [void]$Changes.Add($Text)
    $Undo.Push(@{ text = $Text; command = $Command; with = $With })
}

# Copies the files of a log folder that were written since the time asked for.
function Copy-Log([string]$Source, [string]$Part) {
    if (-not (Test-Path -LiteralPath $Source)) { throw "there is no folder $Source" }
    $found = @(Get-ChildItem -LiteralPath $Source -File | Where-Object { $_.LastWriteTime -ge $Since })
    if ($found.Count -eq 0) { throw "no file of $Source was written since $Since" }
    $target = New-Folder -Part $Part
    foreach ($file in $found) { Copy-Item -LiteralPath $file.FullName -Destination $target }
    return "$($found.Count) files of $Source"
}

# ---------------------------------------------------------------------------------------------------- changes

function Start-Capi2 {
    $log = New-Object -TypeName System.Diagnostics.Eventing.Reader.EventLogConfiguration -ArgumentList $Capi2
    $enabled = $log.IsEnabled.ToString().ToLowerInvariant()
    $size = $log.MaximumSizeInBytes
    $log.Dispose()
    $wanted = [Math]::Max($size, $Capi2SizeMB * 1048576)
    $back = @('sl', $Capi2, "/e:$enabled", "/ms:$size")
    Add-Change -Text "wevtutil $back" -Command 'wevtutil.exe' -With $back
    [void](Invoke-Program -Program 'wevtutil.exe' -Arguments @('sl', $Capi2, '/e:true', "/ms:$wanted"))
    return "was enabled: $enabled, $size bytes"
}

function Start-ProtocolLog {
    $connector = Get-SendConnector -Identity $EnableProtocolLog
    $level = $connector.ProtocolLoggingLevel.ToString()
    $identity = $connector.Identity.ToString()
    $text = "Set-SendConnector -Identity '$identity' -ProtocolLoggingLevel $level"
    Add-Change -Text $text -Command 'Set-SendConnector' -With @{ Identity = $identity; ProtocolLoggingLevel = $level }
    Set-SendConnector -Identity $identity -ProtocolLoggingLevel Verbose
    return "was $level"
}

function Start-Pktmon {
    # pktmon can only remove all filters: those of somebody else are left alone, and so is the trace.
    $filters = Invoke-Program -Program 'pktmon.exe' -Arguments @('filter', 'list')
    if ($filters -match '(?m)^\s*\d+\s') { throw 'pktmon has filters already; remove them first: pktmon filter remove' }
    Add-Change -Text 'pktmon filter remove' -Command 'pktmon.exe' -With @('filter', 'remove')
    [void](Invoke-Program -Program 'pktmon.exe' -Arguments @('filter', 'add', 'smtp', '-t', 'TCP', '-p', '25'))
    $file = Join-Path -Path (New-Folder -Part 'trace') -ChildPath 'smtp.etl'
    Add-Change -Text 'pktmon stop' -Command 'pktmon.exe' -With @('stop')
    $start = @('start', '--capture', '--comp', 'nics', '--pkt-size', '0', '--file-name', $file, '--file-size', '512')
    [void](Invoke-Program -Program 'pktmon.exe' -Arguments $start)
    return $file
}

function Start-Netsh {
    $file = Join-Path -Path (New-Folder -Part 'trace') -ChildPath 'smtp.etl'
    Add-Change -Text 'netsh trace stop' -Command 'netsh.exe' -With @('trace', 'stop')
    $record = @('trace', 'start', 'capture=yes', 'persistent=no', 'report=disabled', 'maxsize=512', "tracefile=$file")
    [void](Invoke-Program -Program 'netsh.exe' -Arguments $record)
    return $file
}

# Puts back what was changed, the last change first. Runs once: what was put back is taken from the list.
function Restore-All {
    while ($Undo.Count -gt 0) {
        $change = $Undo.Pop()
        try {
            $with = $change.with
            if ($with -is [hashtable]) { [void](& $change.command @with) }
            else { [void](Invoke-Program -Program $change.command -Arguments $with) }
            Add-Step -Step "put back: $($change.text)" -Status 'ok' -Detail ''
        }
        catch {
            Add-Step -Step "put back: $($change.text)" -Status 'failed' -Detail $_.Exception.Message
            [void]$NotPutBack.Add($change.text)
            Write-Warning -Message "Put this back by hand: $($change.text)"
        }
    }
}

# ----------------------------------------------------------------------------------------------------- collect

function Export-Log([string]$Log, [string]$File, [bool]$Recent) {
    $target = Join-Path -Path (New-Folder -Part 'events') -ChildPath $File
    $arguments = @('epl', $Log, $target, '/ow:true')
    if ($Recent) {
        $milliseconds = [long]((Get-Date) - $Since).TotalMilliseconds
        $arguments += "/q:*[System[TimeCreated[timediff(@SystemTime) <= $milliseconds]]]"
    }
    [void](Invoke-Program -Program 'wevtutil.exe' -Arguments $arguments)
    return $File
}

function Save-Capi2State {
    $log = New-Object -TypeName System.Diagnostics.Eventing.Reader.EventLogConfiguration -ArgumentList $Capi2
    $state = "enabled: $($log.IsEnabled), size: $($log.MaximumSizeInBytes)"
    $log.Dispose()
    return $state
}

# Properties of certificates without the objects behind them: their bytes as base64, never a private key.
function Save-Store([string]$Location, [string]$Store) {
    $path = "Cert:\$Location\$Store"
    $file = Join-Path -Path (New-Folder -Part 'stores') -ChildPath "$Location-$Store.xml"
    $raw = @{ Name = 'RawData'; Expression = { [Convert]::ToBase64String($_.RawData) } }
    $wanted = @('PSParentPath', 'Thumbprint', 'Subject', 'Issuer', 'SerialNumber', 'HasPrivateKey', 'FriendlyName', $raw)
    $found = @(Get-ChildItem -Path $path)
    $found | Select-Object -Property $wanted | Export-Clixml -Path $file
    return "$($found.Count) certificates"
}

# certutil names provider and KeySpec and tests the key; it shows no key.
function Save-CertutilText([string]$Store) {
    $file = Join-Path -Path (New-Folder -Part 'stores') -ChildPath "certutil-$Store.txt"
    Invoke-Program -Program 'certutil.exe' -Arguments @('-v', '-store', $Store) | Out-File -FilePath $file -Encoding unicode
    return ''
}

function Save-Object([string]$File, [scriptblock]$Get) {
    $target = Join-Path -Path (New-Folder -Part 'configuration') -ChildPath $File
    $found = @(& $Get)
    $found | Export-Clixml -Path $target
    return "$($found.Count) objects"
}

# Get-AcceptedDomain is in both shells: the tenant's is the one of the module that brings Get-InboundConnector.
function Get-TenantDomain {
    $module = (Get-Command -Name Get-InboundConnector).ModuleName
    $command = Get-Command -Name Get-AcceptedDomain -Module $module
    return & $command
}

function Get-SmtpSendFolder {
    $folders = [ordered]@{}
    if (Test-Command -Cmdlet 'Get-TransportService') {
        $transport = Get-TransportService -Identity $env:COMPUTERNAME
        $path = "$($transport.SendProtocolLogPath)"
        $role = 'Hub'
        if ($path -match '\\Edge\\') { $role = 'Edge' }
        $folders[$role] = $path
        # There is no Front End Transport service on an Edge server.
        if ($role -eq 'Hub' -and (Test-Command -Cmdlet 'Get-FrontendTransportService')) {
            $folders['FrontEnd'] = "$((Get-FrontendTransportService -Identity $env:COMPUTERNAME).SendProtocolLogPath)"
        }
    }
    elseif ($env:ExchangeInstallPath) {
        foreach ($role in 'Hub', 'Edge', 'FrontEnd') {
            $path = Join-Path -Path $env:ExchangeInstallPath -ChildPath "TransportRoles\Logs\$role\ProtocolLog\SmtpSend"
            if (Test-Path -LiteralPath $path) { $folders[$role] = $path }
        }
    }
    return $folders
}

function Save-Clock {
    $file = Join-Path -Path (New-Folder -Part 'machine') -ChildPath 'w32tm.txt'
    $text = Invoke-Program -Program 'w32tm.exe' -Arguments @('/query', '/status', '/verbose')
    $text | Out-File -FilePath $file -Encoding unicode
    return 'w32tm /query /status /verbose'
}

function Save-Manifest([string]$State) {
    $zone = [System.TimeZoneInfo]::Local
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object -TypeName System.Security.Principal.WindowsPrincipal -ArgumentList $identity
    $fqdn = $env:COMPUTERNAME
    try { $fqdn = [System.Net.Dns]::GetHostEntry('').HostName } catch { Write-Verbose -Message 'no DNS name' }
    $exchange = ''
    if (Test-Command -Cmdlet 'Get-ExchangeServer') {
        try { $exchange = "$((Get-ExchangeServer -Identity $env:COMPUTERNAME).AdminDisplayVersion)" }
        catch { Write-Verbose -Message 'Get-ExchangeServer failed' }
    }
    $manifest = [ordered]@{
        collector  = 'evtx-analyzer collector'
        manifest   = 1
        version    = $ScriptVersion
        state      = $State
        host       = $env:COMPUTERNAME
        fqdn       = $fqdn
        timeZone   = [ordered]@{
            id                   = $zone.Id
            baseUtcOffsetMinutes = [int]$zone.BaseUtcOffset.TotalMinutes
            daylightSaving       = $zone.SupportsDaylightSavingTime
        }
        since      = $Since.ToUniversalTime().ToString('o')
        started    = $Started.ToString('o')
        ended      = (Get-Date).ToUniversalTime().ToString('o')
        windows    = [Environment]::OSVersion.Version.ToString()
        powershell = $PSVersionTable.PSVersion.ToString()
        exchange   = $exchange
        elevated   = $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
        changes    = @($Changes)
        notPutBack = @($NotPutBack)
        steps      = @($Steps)
    }
    $file = Join-Path -Path $Root -ChildPath 'manifest.json'
    ConvertTo-Json -InputObject $manifest -Depth 6 | Out-File -FilePath $file -Encoding utf8
}

# --------------------------------------------------------------------------------------------------------- run

[void](New-Item -Path $Root -ItemType Directory)
$completed = $false
try {
    $waits = $false
    if ($EnableCapi2) { Invoke-Step -Step 'change: CAPI2 log' -Action { Start-Capi2 }; $waits = $true }
    if ($EnableProtocolLog) { Invoke-Step -Step 'change: protocol log' -Action { Start-ProtocolLog }; $waits = $true }
    if ($Trace -eq 'Pktmon') { Invoke-Step -Step 'change: trace' -Action { Start-Pktmon }; $waits = $true }
    if ($Trace -eq 'Netsh') { Invoke-Step -Step 'change: trace' -Action { Start-Netsh }; $waits = $true }
    if ($waits) {
        Write-Host 'Now send a test message through the connector and wait until it is refused.'
        Write-Host 'A service that has been running keeps its certificate chain: CAPI2 may show nothing until it is restarted.'
        [void](Read-Host -Prompt 'Press Enter when it was refused')
        # The logs are exported before the size of the log is put back.
    }
    Invoke-Step -Step 'CAPI2 state' -Action { Save-Capi2State }
    Invoke-Step -Step 'CAPI2 log' -Action { Export-Log -Log $Capi2 -File 'capi2.evtx' -Recent $false }
    Invoke-Step -Step 'System log' -Action { Export-Log -Log 'System' -File 'system.evtx' -Recent $true }
    Invoke-Step -Step 'Application log' -Action { Export-Log -Log 'Application' -File 'application.evtx' -Recent $true }
    Restore-All
    if ($Trace -eq 'Pktmon') {
        $capture = Join-Path -Path $Root -ChildPath 'trace\smtp'
        $convert = @('etl2pcap', "$capture.etl", '--out', "$capture.pcapng")
        Invoke-Step -Step 'trace' -Action { Invoke-Program -Program 'pktmon.exe' -Arguments $convert }
    }
    if ($Trace -eq 'Netsh') { Add-Step -Step 'trace' -Status 'ok' -Detail 'convert trace\smtp.etl with etl2pcapng before the analysis' }

    $folders = [ordered]@{}
    try { $folders = Get-SmtpSendFolder } catch { Add-Step -Step 'Send connector log' -Status 'failed' -Detail $_.Exception.Message }
    if ($folders.Count -eq 0) { Add-Step -Step 'Send connector log' -Status 'absent' -Detail 'no Exchange server, or not its shell' }
    foreach ($role in @($folders.Keys)) {
        Invoke-Step -Step "Send connector log $role" -Action { Copy-Log -Source $folders[$role] -Part "SmtpSend-$role" }
    }
    $iis = @(Get-ChildItem -Path "$env:SystemRoot\System32\LogFiles" -Directory -Filter 'SMTPSVC*' -ErrorAction SilentlyContinue)
    if ($iis.Count -eq 0) { Add-Step -Step 'IIS SMTP log' -Status 'absent' -Detail 'no folder SMTPSVC*' }
    foreach ($folder in $iis) {
        Invoke-Step -Step "IIS SMTP log $($folder.Name)" -Action { Copy-Log -Source $folder.FullName -Part $folder.Name }
    }

    if (Test-Command -Cmdlet 'Get-SendConnector') {
        Invoke-Step -Step 'Get-SendConnector' -Action { Save-Object -File 'send-connectors.xml' -Get { Get-SendConnector } }
        Invoke-Step -Step 'Get-ExchangeCertificate' -Action {
            Save-Object -File 'exchange-certificates.xml' -Get {
                Get-ExchangeCertificate | Select-Object -Property $CertificateProperties
            }
        }
        Invoke-Step -Step 'message tracking' -Action {
            Save-Object -File 'tracking.xml' -Get {
                Get-MessageTrackingLog -EventId FAIL -Start $Since -ResultSize Unlimited |
                    Where-Object { "$($_.RecipientStatus)" -match '5\.7\.64' }
            }
        }
        Invoke-Step -Step 'queues' -Action {
            Save-Object -File 'queues.xml' -Get { Get-Queue | Where-Object { "$($_.LastError)" -match '5\.7\.64' } }
        }
    }
    else { Add-Step -Step 'Exchange configuration' -Status 'absent' -Detail 'run in the Exchange Management Shell' }
    if (Test-Command -Cmdlet 'Get-InboundConnector') {
        Invoke-Step -Step 'Get-InboundConnector' -Action { Save-Object -File 'inbound-connectors.xml' -Get { Get-InboundConnector } }
        Invoke-Step -Step 'Get-AcceptedDomain' -Action { Save-Object -File 'accepted-domains.xml' -Get { Get-TenantDomain } }
    }
    else { Add-Step -Step 'Exchange Online configuration' -Status 'absent' -Detail 'not connected with Connect-ExchangeOnline' }

    foreach ($store in 'My', 'CA', 'Root', 'AuthRoot') {
        Invoke-Step -Step "store LocalMachine\$store" -Action { Save-Store -Location 'LocalMachine' -Store $store }
    }
    foreach ($store in 'My', 'CA') {
        Invoke-Step -Step "store CurrentUser\$store" -Action { Save-Store -Location 'CurrentUser' -Store $store }
    }
    Invoke-Step -Step 'certutil My' -Action { Save-CertutilText -Store 'My' }
    Invoke-Step -Step 'clock' -Action { Save-Clock }
    $completed = $true
}
finally {
    # Reached after an error and after Ctrl-C too.
    Restore-All
    if ($completed) { Save-Manifest -State 'completed' } else { Save-Manifest -State 'stopped' }
}

Add-Type -AssemblyName System.IO.Compression.FileSystem
[System.IO.Compression.ZipFile]::CreateFromDirectory($Root, $Zip)
Write-Host "Wrote $Zip"
Write-Host 'It holds names of servers and users, mail addresses and certificates; no private key. Look at it before you send it.'
