"""The client side: one cached channel for each peer.

A channel is given to a generated stub like any `grpc.aio.Channel`:

    stub = OrdersServiceStub(context.channels.channel("orders"))
    response = await stub.SubmitOrder(request)           # timeout: what the caller has left, minus a margin

Calls raise `grpc.aio.AioRpcError` as usual; `servers.runtime.status.from_rpc_error` turns one into our
own error, and the server's wrapper does so for errors that nobody catches. Only reads (`Get...`,
`List...`) are tried again, and only on UNAVAILABLE.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import grpc

from servers.runtime.call import seconds_left
from servers.runtime.metrics import CallCollector
from servers.runtime.peer_channel import Calling, PeerChannel
from servers.runtime.ports import PORTS, default_address
from servers.runtime.security import CertificateFolder
from servers.runtime.tracing import Tracer

TRANSPORT_MESSAGE_BYTES = 16 << 20
TLS_REFRESH_SECONDS = 2.0

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
}
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # what one attempt may take
    # A new channel dials at once, and waits out no pause that an older one to the address has earned.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", TRANSPORT_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", TRANSPORT_MESSAGE_BYTES),
)


class Channels:
    """The channels of one server to its peers.

    Args:
        peers: name -> `host:port`; a name that is missing is looked for at its default port.
        call_timeout_seconds: the longest time a call gets unless its caller says otherwise.
        margin_seconds: what is kept of the own caller's time for answering it.
        certificates: the own key pair; without it the channels are in the clear.
        tls_server_name: the name to expect in the peers' certificates, where it is not their address.
        refresh_seconds: how often to look for a new key pair.
    """

    def __init__(
        self,
        peers: Mapping[str, str],
        *,
        tracer: Tracer,
        calls: CallCollector,
        call_timeout_seconds: float = 5.0,
        margin_seconds: float = 0.01,
        certificates: CertificateFolder | None = None,
        tls_server_name: str | None = None,
        refresh_seconds: float = TLS_REFRESH_SECONDS,
    ) -> None:
        self._peers = peers
        self._call_timeout_seconds = call_timeout_seconds
        self._margin_seconds = margin_seconds
        self._certificates = certificates
        self._tls_server_name = tls_server_name
        self._refresh_seconds = refresh_seconds
        self._calling = Calling(tracer, calls, self._dial, self._refresh, self.deadline)
        self._channels: dict[str, PeerChannel] = {}
        self._old: list[grpc.aio.Channel] = []
        self._refreshed_at = time.monotonic()
        self._pair = None if certificates is None else certificates.pair

    def channel(self, peer: str) -> PeerChannel:
        """Return the channel to `peer`. Raises KeyError for a name without an address."""
        channel = self._channels.get(peer)
        if channel is None:
            address = self._peers.get(peer)
            if address is None:
                if peer not in PORTS:
                    raise KeyError(f"no address for peer {peer!r}: set peers")
                address = default_address(peer)
            channel = self._channels[peer] = PeerChannel(self._calling, peer, address)
        return channel

    def deadline(self, timeout_seconds: float | None = None) -> float:
        """Return the timeout of the next call: what is asked for or the default, never past the caller's."""
        longest = self._call_timeout_seconds if timeout_seconds is None else timeout_seconds
        return min(longest, seconds_left() - self._margin_seconds)

    async def close(self) -> None:
        """Close all channels; calls in flight are cancelled."""
        for channel in (*self._channels.values(), *self._old):
            await channel.close(None)
        self._channels.clear()
        self._old.clear()

    def _dial(self, address: str) -> grpc.aio.Channel:
        target = address if ":///" in address or address.startswith("unix:") else f"dns:///{address}"
        if self._certificates is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        options = _OPTIONS
        if self._tls_server_name is not None:
            options = (*options, ("grpc.ssl_target_name_override", self._tls_server_name))
        return grpc.aio.secure_channel(target, self._certificates.channel_credentials(), options=options)

    def _refresh(self) -> None:
        """Dial anew when the own key pair has been replaced.

        Calls and streams in flight stay where they are: closing a connection under a stream cancels the
        task that follows it. Without calls an old connection goes by itself after gRPC's idle time.
        """
        if self._certificates is None:
            return
        now = time.monotonic()
        if now - self._refreshed_at < self._refresh_seconds:
            return
        self._refreshed_at = now
        self._certificates.refresh()
        if self._certificates.pair is self._pair:
            return
        self._pair = self._certificates.pair
        for channel in self._channels.values():
            old = channel.hang_up()
            if old is not None:
                self._old.append(old)
