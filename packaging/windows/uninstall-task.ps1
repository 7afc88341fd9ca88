<#
.SYNOPSIS
Ends LanHaven and takes its task away. Models, settings and keys stay where they are.
#>
[CmdletBinding()]
param(
    [string] $TaskName = 'LanHaven'
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$task = Get-ScheduledTask -TaskName $TaskName -ErrorAction SilentlyContinue
if ($null -eq $task) {
    Write-Output "There is no task $TaskName."
    return
}
if ($task.State -eq 'Running') {
    Stop-ScheduledTask -TaskName $TaskName
}
Unregister-ScheduledTask -TaskName $TaskName -Confirm:$false
Write-Output "The task $TaskName is gone."
