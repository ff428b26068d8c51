"""A client of the container runtime interface, made from cri.proto at run time.

No generated code: protoc writes a descriptor set, and calls take and return messages made from
it. Needs grpcio, grpcio-tools (for protoc) and protobuf from 4.22.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

from .workload import CriError

PROTO = Path(__file__).with_name("cri.proto")
SERVICES = ("runtime.v1.RuntimeService", "runtime.v1.ImageService")


class CriClient:
    """Calls by name: call("ExecSync", {"container_id": ..., "cmd": [...]}).

    Its threads belong to the test's process. Close it with close().
    """

    def __init__(self, socket: Path, directory: Path) -> None:
        """Compile cri.proto into `directory` and open a channel to the runtime's `socket`."""
        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self._methods: dict[str, tuple[Any, Any]] = {}
        pool = descriptor_pool.DescriptorPool()
        for file in _descriptors(directory).file:
            pool.Add(file)
        for service in SERVICES:
            for method in pool.FindServiceByName(service).methods:
                request = message_factory.GetMessageClass(method.input_type)
                response = message_factory.GetMessageClass(method.output_type)
                call = self._channel.unary_unary(
                    f"/{service}/{method.name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )
                self._methods[method.name] = (request, call)

    def call(self, method: str, request: Mapping[str, Any], timeout_seconds: float = 30) -> Any:
        """Send a request, written with the field names of cri.proto, and return the response.

        Raises CriError when the runtime answers with an error or not in time.
        """
        make, call = self._methods[method]
        try:
            return call(json_format.ParseDict(request, make()), timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise CriError(method, error.code().name, error.details() or "") from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _descriptors(directory: Path) -> Any:
    target = directory / "cri.descriptors"
    status = protoc.main(
        ["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={target}", str(PROTO)]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with {status} on {PROTO}")
    return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
