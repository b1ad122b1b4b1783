"""What a server says of its own health."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servers.local.mesh import TRITON, Mesh
from servers.runtime.security import CertificateFolder

HEALTH_SECONDS = 2.0


async def health_in(mesh: Mesh, server: str, certificates: CertificateFolder | None) -> str:
    """Return the health of a server of a mesh. Raises MeshError when the mesh has no such server."""
    # Triton is no server of ours: it speaks in the clear, on loopback.
    return await health_of(mesh.address(server), None if server == TRITON else certificates)


async def health_of(address: str, certificates: CertificateFolder | None = None) -> str:
    """Return SERVING, NOT_SERVING, or UNREACHABLE; `certificates` are those of a mesh with TLS."""
    async with _dial(address, certificates) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return "UNREACHABLE"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _dial(address: str, certificates: CertificateFolder | None) -> grpc.aio.Channel:
    if certificates is None:
        return grpc.aio.insecure_channel(address)
    certificates.refresh()
    return grpc.aio.secure_channel(address, certificates.channel_credentials())
