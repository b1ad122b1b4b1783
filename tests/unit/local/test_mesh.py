"""Addresses are picked before anything starts, and mesh.json says where everything is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from servers.local.free_ports import free_ports
from servers.local.mesh import Mesh, MeshError, pick_places, read_mesh


def test_free_ports_are_all_different() -> None:
    places = pick_places(["orders", "risk", "exchange"], 0)
    addresses = [place.address for place in places.values()] + [place.metrics for place in places.values()]
    assert len(set(addresses)) == 6
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_a_base_moves_all_documented_ports_together() -> None:
    for _ in range(20):  # a neighbour of the free port may be taken
        base = free_ports(1)[0] - 11
        try:
            places = pick_places(["orders", "risk"], base)
        except MeshError:
            continue
        break
    assert places["orders"].address == f"127.0.0.1:{base + 11}"
    assert places["orders"].metrics == f"127.0.0.1:{base + 1011}"
    assert places["risk"].address == f"127.0.0.1:{base + 3}"


def test_a_taken_port_is_named_with_its_owner() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MeshError, match=f"port {port} for orders is taken by pid {os.getpid()}"):
            pick_places(["orders"], port - 11)


def test_a_mesh_is_found_by_its_folder_or_its_file(tmp_path: Path) -> None:
    mesh = Mesh(str(tmp_path), os.getpid(), "simulated", pick_places(["orders"], 0))
    mesh.write(tmp_path / "mesh.json")
    assert read_mesh(tmp_path) == mesh
    assert read_mesh(tmp_path / "mesh.json").address("orders") == mesh.servers["orders"].address
    with pytest.raises(MeshError, match="no server 'risk'"):
        mesh.address("risk")


def test_no_mesh_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="tapeline up"):
        read_mesh(tmp_path)


def test_a_mesh_whose_supervisor_is_gone_is_no_mesh(tmp_path: Path) -> None:
    Mesh(str(tmp_path), 2**22 + 1, "simulated").write(tmp_path / "mesh.json")
    with pytest.raises(MeshError, match="no longer running"):
        read_mesh(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"servers": {"orders": {"port": 1}}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mesh.json").write_text(text)
    with pytest.raises(MeshError, match=r"mesh\.json is not a mesh\.json"):
        read_mesh(tmp_path)
