"""What stops trading: pausing or cancelling a parent order, the kill switch."""

from __future__ import annotations

import uuid
from pathlib import Path

from rich.console import Console
from tapeline.execution.v1 import execution_service_pb2
from tapeline.risk.v1 import risk_service_pb2

from servers.local.client import MeshClient
from servers.local.mesh import read_mesh
from servers.local.screen import state_name


async def cancel_execution(mesh: Path, execution_id: str, console: Console) -> int:
    """Cancel a parent order and say how it stands."""
    async with MeshClient(read_mesh(mesh)) as client:
        response = await client.execution.CancelExecution(
            execution_service_pb2.CancelExecutionRequest(
                request_id=str(uuid.uuid4()), execution_id=execution_id
            )
        )
    console.print(f"execution {execution_id} is {state_name(response.execution)}", highlight=False)
    return 0


async def pause_execution(mesh: Path, execution_id: str, console: Console) -> int:
    """Pause a parent order and say how it stands."""
    async with MeshClient(read_mesh(mesh)) as client:
        response = await client.execution.PauseExecution(
            execution_service_pb2.PauseExecutionRequest(
                request_id=str(uuid.uuid4()), execution_id=execution_id
            )
        )
    console.print(f"execution {execution_id} is {state_name(response.execution)}", highlight=False)
    return 0


async def resume_execution(mesh: Path, execution_id: str, console: Console) -> int:
    """Resume a parent order and say how it stands."""
    async with MeshClient(read_mesh(mesh)) as client:
        response = await client.execution.ResumeExecution(
            execution_service_pb2.ResumeExecutionRequest(
                request_id=str(uuid.uuid4()), execution_id=execution_id
            )
        )
    console.print(f"execution {execution_id} is {state_name(response.execution)}", highlight=False)
    return 0


async def set_kill_switch(mesh: Path, account: str, is_on: bool, reason: str, console: Console) -> int:
    """Turn the kill switch of an account, or of all, on or off and say so."""
    async with MeshClient(read_mesh(mesh)) as client:
        response = await client.risk.SetKillSwitch(
            risk_service_pb2.SetKillSwitchRequest(
                request_id=str(uuid.uuid4()), account=account, is_on=is_on, reason=reason
            )
        )
    state = "on" if response.kill_switch.is_on else "off"
    console.print(f"kill switch of {account or 'all accounts'} is {state}: {reason}", highlight=False)
    return 0
