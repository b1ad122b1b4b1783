"""The contract as descriptors with comments: one compilation a session."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"

# Field numbers of descriptor.proto, which make up the path of a comment.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2


def load_generator() -> ModuleType:
    """Return `protos/setup.py` as a module: it holds the one way to make the stubs."""
    spec = spec_from_file_location("tapeline_stubs_setup", PROTOS / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Contract:
    """Every element of the contract by its full name, and the names that carry no comment."""

    files: dict[str, FileDescriptorProto] = field(default_factory=dict)
    messages: dict[str, DescriptorProto] = field(default_factory=dict)
    fields: dict[str, FieldDescriptorProto] = field(default_factory=dict)
    enums: dict[str, EnumDescriptorProto] = field(default_factory=dict)
    methods: dict[str, MethodDescriptorProto] = field(default_factory=dict)
    uncommented: list[str] = field(default_factory=list)

    def fields_of(self, message: str) -> dict[str, FieldDescriptorProto]:
        """Return the fields of a message, given as `tapeline.x.v1.M` or `.tapeline.x.v1.M`, by name."""
        return {entry.name: entry for entry in self.messages[message.lstrip(".")].field}

    def add_file(self, file: FileDescriptorProto) -> None:
        """Take in one file of the contract."""
        self.files[file.name] = file
        commented = {
            tuple(location.path)
            for location in file.source_code_info.location
            if location.leading_comments.strip() or location.trailing_comments.strip()
        }
        for name, path in self._elements(file):
            if path not in commented:
                self.uncommented.append(name)

    def _elements(self, file: FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
        for index, message in enumerate(file.message_type):
            yield from self._message(file.package, message, (_MESSAGES, index))
        for index, enum in enumerate(file.enum_type):
            yield from self._enum(file.package, enum, (_ENUMS, index))
        for index, service in enumerate(file.service):
            name, path = f"{file.package}.{service.name}", (_SERVICES, index)
            yield name, path
            for number, method in enumerate(service.method):
                self.methods[f"{name}.{method.name}"] = method
                yield f"{name}.{method.name}", (*path, _METHODS, number)

    def _message(
        self, scope: str, message: DescriptorProto, path: tuple[int, ...]
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        if message.options.map_entry:
            return
        name = f"{scope}.{message.name}"
        self.messages[name] = message
        yield name, path
        for index, entry in enumerate(message.field):
            self.fields[f"{name}.{entry.name}"] = entry
            yield f"{name}.{entry.name}", (*path, _FIELDS, index)
        for index, nested in enumerate(message.nested_type):
            yield from self._message(name, nested, (*path, _NESTED_MESSAGES, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(name, enum, (*path, _NESTED_ENUMS, index))

    def _enum(
        self, scope: str, enum: EnumDescriptorProto, path: tuple[int, ...]
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        name = f"{scope}.{enum.name}"
        self.enums[name] = enum
        yield name, path
        for index, value in enumerate(enum.value):
            yield f"{name}.{value.name}", (*path, _VALUES, index)


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    return load_generator()


@pytest.fixture(scope="session")
def contract(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Contract:
    image = tmp_path_factory.mktemp("contract") / "image.binpb"
    failed = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={generator.google_protos()}",
            f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
            f"--descriptor_set_out={image}",
            "--include_source_info",
            *map(str, generator.proto_files()),
        ]
    )
    assert not failed
    found = Contract()
    for file in FileDescriptorSet.FromString(image.read_bytes()).file:
        found.add_file(file)
    return found
