from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import (
    MAX_HEADER_BYTES,
    MAX_JSON_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameReader,
    GpuSample,
    ProtocolError,
    RunStatus,
    Sample,
    encode,
    from_wire,
    to_wire,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
frames = st.lists(
    st.tuples(
        st.fixed_dictionaries({"id": st.integers(0, 9), "result": json_values}), st.binary(max_size=300)
    ),
    max_size=5,
)


def read_all(chunks: Iterable[bytes]) -> list[Frame]:
    reader = FrameReader()
    return [frame for chunk in chunks for frame in reader.feed(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(frames, st.lists(st.integers(0, 5000), max_size=20))
def test_any_chunking_gives_the_same_frames(sent: list[tuple[dict, bytes]], places: list[int]) -> None:
    data = b"".join(encode(header, payload) for header, payload in sent)
    got = read_all(cut(data, places))
    assert [({k: v for k, v in frame.header.items() if k != "n"}, frame.payload) for frame in got] == sent


def test_byte_by_byte() -> None:
    data = encode({"id": 1}, b"\n{}\n") + encode({"id": 2})
    got = read_all(data[index : index + 1] for index in range(len(data)))
    assert [frame.header["id"] for frame in got] == [1, 2]
    assert got[0].payload == b"\n{}\n"


@given(frames, st.integers(0, 5000), st.binary(min_size=1, max_size=8))
def test_mutated_bytes_give_frames_or_a_protocol_error(
    sent: list[tuple[dict, bytes]], place: int, noise: bytes
) -> None:
    data = bytearray(b"".join(encode(header, payload) for header, payload in sent))
    place %= len(data) + 1
    data[place : place + len(noise)] = noise
    try:
        for frame in read_all([bytes(data)]):
            assert isinstance(frame.header, dict)
    except ProtocolError:
        pass


@given(st.binary(max_size=2000))
def test_garbage_never_crashes(data: bytes) -> None:
    with suppress(ProtocolError):
        read_all([data, b"\n"])


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"1",
        b"",
        b'{"n":-1}',
        b'{"n":1.5}',
        b'{"n":true}',
        b'{"n":"3"}',
        b'{"n":%d}' % (MAX_PAYLOAD_BYTES + 1),
        b'{"json":"result","n":%d}' % (MAX_JSON_BYTES + 1),
        b'{"json":"id","n":2}',
        b'{"json":[],"n":2}',
        b'{"x":NaN}',
        '{"x":"é"}'.encode(),
        b'{"x":' + b"[" * 50_000,
    ],
)
def test_malformed_header_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_all([line + b"\n"])


def test_endless_header_is_refused_before_it_is_stored() -> None:
    reader = FrameReader()
    with pytest.raises(ProtocolError):
        for _ in range(MAX_HEADER_BYTES // 1024 + 1):
            assert list(reader.feed(b"x" * 1024)) == []


def test_body_of_json_that_is_not_json_is_refused() -> None:
    with pytest.raises(ProtocolError):
        read_all([b'{"id":1,"json":"result","n":3}\n{x}'])


@pytest.mark.parametrize("key", ["result", "params"])
def test_a_long_result_arrives_as_if_it_were_short(key: str) -> None:
    body = {"runs": ["x" * 1000] * 500}
    data = encode({"id": 1, key: body})
    assert data.index(b"\n") < MAX_HEADER_BYTES
    (frame,) = read_all(cut(data, [70, 100_000, 200_000]))
    assert frame == Frame({"id": 1, key: body})


def test_encode_refuses_what_a_reader_would() -> None:
    with pytest.raises(ValueError):
        encode({"result": float("nan")})
    with pytest.raises(ValueError):
        encode({"id": 1}, b"x" * (MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(ValueError):
        encode({"other": "x" * MAX_HEADER_BYTES})
    with pytest.raises(ValueError):
        encode({"result": "x" * MAX_JSON_BYTES})


def test_wire_types_survive_json() -> None:
    sample = Sample(at=1.5, gpus=(GpuSample(0, "H200", 98.0, 1, 2),), missing=("x",))
    assert from_wire(Sample, json.loads(json.dumps(to_wire(sample)))) == sample


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"run": 1, "state": "running"},
        {"run": "r", "state": "running", "loss": "1"},
        {"run": "r", "state": "running", "loss": float("inf")},
        {"run": "r", "state": "running", "loss": 10**400},
        {"run": "r", "state": "running", "step": True},
        {"run": "r", "state": "running", "step": 1.0},
    ],
)
def test_hostile_values_are_refused(data: object) -> None:
    with pytest.raises(ProtocolError):
        from_wire(RunStatus, data)


def test_a_newer_peers_keys_are_ignored() -> None:
    assert from_wire(RunStatus, {"run": "r", "state": "lost", "mood": 1}) == RunStatus("r", "lost")
