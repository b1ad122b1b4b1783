"""Settings come from defaults, TOML, variables and flags, in this order, and a mistake is named."""

from pathlib import Path

import pytest
from pydantic import Field

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
        "[other]\nanything = 1\n"
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
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(text)
    with pytest.raises(WrongSettings, match=message):
        load("--config", str(path))


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
