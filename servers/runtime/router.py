"""All methods of a server by path, each in its wrapper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from servers.runtime.component import Registration
from servers.runtime.handlers import CALL_METADATA, ServedMethod, Serving, wrap

_NOBODY: frozenset[str] = frozenset()


class Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Finds the handler of a call; given to grpc as its only generic handler."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._handlers: dict[str, Any] = {}
        self.services: set[str] = set()

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler, and keep the metadata: grpc decodes it anew each time it is asked for it."""
        CALL_METADATA.set(handler_call_details.invocation_metadata or ())
        return self._handlers.get(handler_call_details.method)

    def add(self, registration: Registration, *, is_infrastructure: bool = False) -> None:
        """Wrap the methods of one servicer. Raises ValueError when a role is given for no method of it."""
        collected = _Collected()
        registration.add(registration.servicer, collected)
        names = {path.rpartition("/")[2] for path in collected.handlers}
        strangers = sorted({*registration.roles, *registration.exempt} - names)
        if strangers:
            raise ValueError(f"no such method: {', '.join(strangers)}; there are {', '.join(sorted(names))}")
        for path, handler in collected.handlers.items():
            _, service, name = path.split("/")
            self.services.add(service)
            method = ServedMethod(
                path=path,
                name=path[1:],
                allowed=registration.roles.get(name, _NOBODY),
                is_exempt=is_infrastructure or name in registration.exempt,
                is_infrastructure=is_infrastructure,
                figures=self._serving.telemetry.calls.served(service, name),
                latency=self._serving.limit.method(),
            )
            self._handlers[path] = wrap(self._serving, method, handler)


class _Collected:
    # Stands in for the server in generated `add_XServicer_to_server` functions.
    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, generic_handlers: Sequence[Any]) -> None:
        for generic in generic_handlers:
            self.handlers.update(generic._method_handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self.handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})
