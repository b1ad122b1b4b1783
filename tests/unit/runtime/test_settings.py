"""Settings come from defaults, TOML, variables and flags, in this order, and a mistake is named."""

from pathlib import Path

import pytest
from pydantic import Field

from servers.runtime.ports import PORTS
from servers.runtime.settings import ServerSettings
from servers.runtime.sources import WrongSettings, load_settings, make_parser


class ShopSettings(ServerSettings):
    shelf_count: int = Field(3, gt=0, description="shelves")
    is_open: bool = Field(False, description="whether it sells")
    names: list[str] = Field(default_factory=list, description="who works there")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.toml"
    path.write_text(
        '[common]\nlog_level = "debug"\ndrain_seconds = 1\n'
        '[shop]\nshelf_count = 5\ndrain_seconds = 2.5\npeers = { risk = "10.0.0.1:8003" }\n'
        "[orders]\nanything = 1\n"
    )
    return path


def load(*flags: str, **variables: str) -> ShopSettings:
    return load_settings("shop", ShopSettings, flags, variables)


def test_defaults_hold_where_nothing_is_said() -> None:
    settings = load()
    assert settings.shelf_count == 3
    assert settings.host == "127.0.0.1"
    assert settings.origin("shelf_count") == "default"


def test_a_later_source_wins_and_says_so(config: Path) -> None:
    settings = load("--config", str(config))
    assert (settings.shelf_count, settings.drain_seconds, settings.log_level) == (5, 2.5, "debug")
    assert settings.origin("shelf_count") == f"{config} [shop]"
    assert settings.origin("log_level") == f"{config} [common]"

    settings = load(TAPELINE_CONFIG=str(config), TAPELINE_SHOP_SHELF_COUNT="6")
    assert settings.shelf_count == 6
    assert settings.origin("shelf_count") == "TAPELINE_SHOP_SHELF_COUNT"

    settings = load("--shelf-count", "7", "--is-open", "--config", str(config), TAPELINE_SHOP_SHELF_COUNT="6")
    assert (settings.shelf_count, settings.is_open) == (7, True)
    assert settings.origin("shelf_count") == "--shelf-count"
    assert not load("--no-is-open", TAPELINE_SHOP_IS_OPEN="true").is_open


def test_tables_and_lists_are_read_from_text() -> None:
    settings = load(
        "--peers",
        "risk=127.0.0.1:1, orders=127.0.0.1:2",
        TAPELINE_SHOP_NAMES='["ann", "bob"]',
        TAPELINE_SHOP_ROLES="execution=trader+reader,ann=operator",
    )
    assert settings.peers == {"risk": "127.0.0.1:1", "orders": "127.0.0.1:2"}
    assert settings.names == ["ann", "bob"]
    assert settings.roles == {"execution": {"trader", "reader"}, "ann": {"operator"}}
    assert load("--peers", '{"risk": "a:1"}').peers == {"risk": "a:1"}
    assert load(TAPELINE_SHOP_PEERS="").peers == {}


def test_peers_have_default_addresses() -> None:
    settings = ServerSettings(peers={"risk": "10.0.0.1:1"})
    assert settings.peer_address("risk") == "10.0.0.1:1"
    assert settings.peer_address("orders") == "127.0.0.1:8011"
    with pytest.raises(KeyError, match="nobody"):
        settings.peer_address("nobody")


def test_the_port_of_a_known_server_is_its_default() -> None:
    settings = load_settings("orders", ServerSettings)
    assert (settings.port, settings.resolved_metrics_port()) == (8011, 9011)
    assert settings.origin("port") == "default"
    assert load().resolved_metrics_port() == 0
    assert ServerSettings(port=0, metrics_port=7).resolved_metrics_port() == 7


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        ((), {"TAPELINE_SHOP_SHELVES": "1"}, "TAPELINE_SHOP_SHELVES: no such setting of shop"),
        (
            (),
            {"TAPELINE_SHOP_SHELF_COUNT": "many"},
            r"shelf_count \(from TAPELINE_SHOP_SHELF_COUNT\).*'many'",
        ),
        (("--shelf-count", "0"), {}, r"shelf_count \(from --shelf-count\): .*greater than 0; got '0'"),
        (("--peers", "risk"), {}, "'risk' is not of the form name=value"),
        (("--config", "/nowhere.toml"), {}, "/nowhere.toml: No such file"),
        ((), {"TAPELINE_SHOP_NAMES": "ann"}, "names"),
        (("--trace-sample-ratio", "2"), {}, "trace_sample_ratio"),
        (
            ("--peers", "market-data=127.0.0.1:8001"),
            {},
            r"peers \(from --peers\): 'market-data' is no server; there are .*market_data",
        ),
        *(
            (
                ("--peers", f"risk={address}"),
                {},
                rf"peers \(from --peers\): risk='{address}' is not host:port",
            )
            for address in ("127.0.0.1", ":8003", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x")
        ),
        (
            (),
            {"TAPELINE_SHOP_PORT": "65000"},
            r"port \(from TAPELINE_SHOP_PORT\): 65000 leaves no port \+ 1000 for /metrics",
        ),
    ],
)
def test_a_mistake_is_named_with_its_origin(
    flags: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(WrongSettings, match=message):
        load(*flags, **variables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[shop]\nshelves = 1\n", r"\[shop\] shelves: no such setting"),
        ("[common]\nshelf_count = 1\n", r"\[common\] shelf_count: no such setting"),
        ("[shop\n", "mesh.toml: "),
        ('[shop]\nshelf_count = "x"\n', r"mesh.toml \[shop\]"),
        ("[rsik]\ncollar_bps = 1\n", r"mesh.toml: \[rsik\]: no such server; there are common, .*risk"),
        ('log_level = "debug"\n', r"mesh.toml: log_level: a setting stands in a table, \[common\] or"),
        ("common = 3\n", r"mesh.toml: common: a setting stands in a table"),
        ("[common]\n# caf\xe9\n", r"mesh.toml: .*can't decode byte 0xe9"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(WrongSettings, match=message):
        load("--config", str(path))


def test_every_wrong_name_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text("[rsik]\n[common]\nshelf_count = 1\n[shop]\nshelves = 1\n")
    with pytest.raises(WrongSettings) as wrong:
        load("--config", str(path), TAPELINE_SHOP_SHELVES="1", TAPELINE_SHOP_PROT="1")
    assert [line.partition(": no such")[0] for line in str(wrong.value).splitlines()] == [
        f"{path}: [rsik]",
        f"{path}: [common] shelf_count",
        f"{path}: [shop] shelves",
        "TAPELINE_SHOP_SHELVES",
        "TAPELINE_SHOP_PROT",
    ]


def test_one_file_serves_every_server_and_the_trace_receiver(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text("".join(f"[{server}]\n" for server in (*PORTS, "telemetry", "shop", "common")))
    assert load("--config", str(path)).shelf_count == 3


def test_a_port_at_the_top_takes_metrics_elsewhere() -> None:
    assert load("--port", "65000", "--metrics-port", "64000").resolved_metrics_port() == 64000


def test_an_unknown_flag_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load("--shelves", "1")
    assert stopped.value.code == 2
    assert "--shelves" in capsys.readouterr().err


def test_variables_of_other_servers_are_left_alone() -> None:
    assert load(TAPELINE_ORDERS_NONSENSE="1", TAPELINE_NATIVE="debug").shelf_count == 3


def test_help_shows_every_setting_with_default_and_unit() -> None:
    text = " ".join(make_parser("orders", ShopSettings).format_help().split())
    for field in ShopSettings.model_fields:
        assert "--" + field.replace("_", "-") in text
    assert "shelves (default: 3)" in text
    assert "seconds (default: 5.0)" in text
    assert "(default: 8011)" in text


def test_values_given_in_code_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_COUNT", "9")
    settings = ShopSettings(is_open=True)
    assert settings.shelf_count == 3
    assert settings.origin("is_open") == "code"
