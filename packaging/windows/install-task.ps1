<#
.SYNOPSIS
Starts LanHaven with Windows, as a task of the Task Scheduler. No service host of somebody else is needed.

.DESCRIPTION
At log-on of this user (the usual choice: the GPU is there, and the user's models are found), or with -AtStartup before
anybody logs on, which needs an elevated PowerShell. It is started again when it ends with an error. Run it twice and the
task is replaced. What the server needs to know stands in config.yaml; no key is written here.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File install-task.ps1 -Lanhaven C:\lanhaven\.venv\Scripts\lanhaven.exe
#>
[CmdletBinding()]
param(
    # The program; by default the one on PATH.
    [string] $Lanhaven = '',
    # Words after "up", such as "--lan".
    [string[]] $Arguments = @(),
    [string] $TaskName = 'LanHaven',
    # Before anybody logs on.
    [switch] $AtStartup
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

if (-not $Lanhaven) {
    $found = Get-Command -Name 'lanhaven.exe' -CommandType Application -ErrorAction SilentlyContinue
    if ($null -eq $found) {
        throw 'lanhaven.exe is not on PATH. Try  -Lanhaven C:\path\to\.venv\Scripts\lanhaven.exe'
    }
    $Lanhaven = @($found)[0].Source
}
if (-not (Test-Path -LiteralPath $Lanhaven -PathType Leaf)) {
    throw "There is no file $Lanhaven. Try  -Lanhaven C:\path\to\.venv\Scripts\lanhaven.exe"
}
$program = (Resolve-Path -LiteralPath $Lanhaven).Path
$user = [System.Security.Principal.WindowsIdentity]::GetCurrent().Name

$quoted = foreach ($word in @('up') + $Arguments) {
    if ($word -match '["\s]') { '"' + $word.Replace('"', '\"') + '"' } else { $word }
}
$action = New-ScheduledTaskAction -Execute $program -Argument ($quoted -join ' ') -WorkingDirectory $HOME
if ($AtStartup) {
    $trigger = New-ScheduledTaskTrigger -AtStartup
    $principal = New-ScheduledTaskPrincipal -UserId $user -LogonType S4U -RunLevel Limited
} else {
    $trigger = New-ScheduledTaskTrigger -AtLogOn -User $user
    $principal = New-ScheduledTaskPrincipal -UserId $user -LogonType Interactive -RunLevel Limited
}
$settings = New-ScheduledTaskSettingsSet `
    -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -StartWhenAvailable `
    -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew `
    -RestartCount 10 -RestartInterval (New-TimeSpan -Minutes 1)
$task = @{
    TaskName    = $TaskName
    Description = 'LanHaven: one server for the language models of this network'
    Action      = $action
    Trigger     = $trigger
    Principal   = $principal
    Settings    = $settings
    Force       = $true
}
Register-ScheduledTask @task | Out-Null
Start-ScheduledTask -TaskName $TaskName
Write-Output "The task $TaskName runs $program up. Is it there?  lanhaven status"
