"""The rules of the contract that matter most, checked also where buf is absent."""

import re
from pathlib import PurePosixPath

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from tests.contract.conftest import Contract

READING = re.compile(r"^(Get|List|Stream|Explain|Classify)[A-Z]")
REQUEST_IDS = {"request_id", "client_order_id"}
# A check of a parent order reserves under the parent's own id, which exists before the parent does.
IDS_OF_OTHER_NAMES = {"tapeline.risk.v1.RiskService.CheckExecution": {"execution_id"}}
# What a stream of state sends is the whole and then changes; it has no event to resume after.
STATE_STREAMS = {
    "tapeline.execution.v1.ExecutionService.StreamExecution",
    "tapeline.marketdata.v1.MarketDataService.StreamQuotes",
    "tapeline.news.v1.NewsService.StreamSentiment",
    "tapeline.portfolio.v1.PortfolioService.StreamPortfolio",
    "tapeline.risk.v1.RiskService.StreamRiskState",
    "tapeline.signals.v1.SignalsService.StreamSignals",
}
# Columns are packed: little-endian int64, whose length and unit the comment states.
NANOS_TYPES = {FieldDescriptorProto.TYPE_INT64, FieldDescriptorProto.TYPE_BYTES}


def message_name(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def test_a_contract_was_found(contract: Contract) -> None:
    areas = {file.package for file in contract.files.values()}
    assert {
        f"tapeline.{area}.v1"
        for area in ("trading", "marketdata", "orders", "risk", "portfolio", "execution", "exchange")
    } <= areas


def test_the_package_of_a_file_is_its_folder(contract: Contract) -> None:
    wrong = [
        name
        for name, file in contract.files.items()
        if PurePosixPath(name).parent.as_posix() != file.package.replace(".", "/")
    ]
    assert wrong == []


def test_a_service_lives_in_a_file_named_after_its_area(contract: Contract) -> None:
    wrong = [
        name for name, file in contract.files.items() if bool(file.service) != name.endswith("_service.proto")
    ]
    assert wrong == []


def test_areas_import_the_shared_nouns_and_never_each_other(contract: Contract) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, file in contract.files.items()
        for imported in file.dependency
        if imported.startswith("tapeline/")
        and PurePosixPath(imported).parts[1] not in {"trading", PurePosixPath(name).parts[1]}
    ]
    assert wrong == []


def test_every_rpc_has_a_request_and_a_response_of_its_own(contract: Contract) -> None:
    wrong = [
        name
        for name, method in contract.methods.items()
        if message_name(method.input_type) != f"{method.name}Request"
        or message_name(method.output_type) != f"{method.name}Response"
    ]
    assert wrong == []


def test_everything_is_commented(contract: Contract) -> None:
    assert contract.uncommented == []


def test_the_zero_of_an_enum_is_unspecified_and_values_carry_the_enum_name(contract: Contract) -> None:
    wrong = []
    for name, enum in contract.enums.items():
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
        zero = [value.name for value in enum.value if value.number == 0]
        if zero != [prefix + "UNSPECIFIED"] or not all(value.name.startswith(prefix) for value in enum.value):
            wrong.append(name)
    assert wrong == []


def test_nanos_are_int64_or_a_packed_column(contract: Contract) -> None:
    wrong = [
        name
        for name, entry in contract.fields.items()
        if entry.name.endswith("_nanos") and entry.type not in NANOS_TYPES
    ]
    assert wrong == []


def test_a_whole_number_of_price_or_quantity_says_its_unit(contract: Contract) -> None:
    """A double may be a price where it is a statistic, as a VWAP is; an integer is nanos, lots or ticks."""
    measured = re.compile(r"(^|_)(price|quantity|volume|size)$")
    wrong = [
        name
        for name, entry in contract.fields.items()
        if measured.search(entry.name)
        and entry.name != "page_size"
        and entry.type in {entry.TYPE_INT64, entry.TYPE_UINT64, entry.TYPE_INT32, entry.TYPE_UINT32}
    ]
    assert wrong == []


def test_a_request_that_changes_something_carries_an_id(contract: Contract) -> None:
    wrong = []
    for name, method in contract.methods.items():
        if READING.match(method.name):
            continue
        fields = contract.fields_of(method.input_type)
        nested = {
            inner
            for entry in fields.values()
            if entry.type_name.lstrip(".") in contract.messages
            for inner in contract.fields_of(entry.type_name)
        }
        if not (set(fields) | nested) & (REQUEST_IDS | IDS_OF_OTHER_NAMES.get(name, set())):
            wrong.append(name)
    assert wrong == []


def test_every_list_pages(contract: Contract) -> None:
    wrong = [
        name
        for name, method in contract.methods.items()
        if method.name.startswith("List")
        and not (
            {"page_size", "page_token"} <= set(contract.fields_of(method.input_type))
            and "next_page_token" in contract.fields_of(method.output_type)
        )
    ]
    assert wrong == []


def test_every_stream_of_events_resumes_by_sequence(contract: Contract) -> None:
    wrong = [
        name
        for name, method in contract.methods.items()
        if method.server_streaming
        and name not in STATE_STREAMS
        and "resume_after_sequence" not in contract.fields_of(method.input_type)
    ]
    assert wrong == []


def test_the_streams_named_as_state_exist(contract: Contract) -> None:
    assert set(contract.methods) >= STATE_STREAMS
    assert set(contract.methods) >= set(IDS_OF_OTHER_NAMES)


def test_field_numbers_leave_no_gap_that_is_not_reserved(contract: Contract) -> None:
    wrong = []
    for name, message in contract.messages.items():
        used = {entry.number for entry in message.field}
        reserved = {number for span in message.reserved_range for number in range(span.start, span.end)}
        if used and used | reserved != set(range(1, max(used | reserved) + 1)):
            wrong.append(name)
    assert wrong == []
