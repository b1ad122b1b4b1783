"""Health is SERVING between the end of the start and the drain, while the component is ready."""

import asyncio

from grpc_health.v1.health_pb2 import HealthCheckResponse

from servers.runtime.health import Health

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def test_it_serves_after_the_start_and_until_the_drain() -> None:
    health = Health()
    health.name_services(["a.B"])
    assert health.status("a.B") == NOT_SERVING
    assert health.admits_calls is False
    health.mark_started()
    assert [health.status(""), health.status("a.B")] == [SERVING, SERVING]
    assert [health.admits_calls] == [True]
    health.mark_draining()
    health.set_serving(True)
    assert health.status("") == NOT_SERVING
    assert not health.admits_calls
    assert health.status("x.Y") is None


def test_a_component_that_has_to_catch_up_says_when_it_is_ready() -> None:
    health = Health()
    health.set_serving(False)
    health.mark_started()
    assert not health.is_serving
    assert health.admits_calls
    health.set_serving(True)
    assert health.is_serving


async def test_each_watcher_sees_every_change_also_after_another_has_left() -> None:
    health = Health()
    first, second = health.watch(""), health.watch("")
    unknown = health.watch("x.Y")
    assert await anext(first) == await anext(second) == NOT_SERVING
    assert await anext(unknown) == HealthCheckResponse.SERVICE_UNKNOWN
    await first.aclose()  # type: ignore[attr-defined]  # an async generator behind its protocol
    async with asyncio.timeout(5):
        waiting = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0)
        health.mark_started()
        assert await waiting == SERVING
        health.name_services(["x.Y"])
        health.mark_draining()
        assert await anext(second) == NOT_SERVING
        assert await anext(unknown) == NOT_SERVING
    await second.aclose()  # type: ignore[attr-defined]  # likewise
    await unknown.aclose()  # type: ignore[attr-defined]  # likewise
