#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made part of test/fuzz/corpus/gguf/: small files that reach every branch of the
reader. Files named by a hash came from the fuzzer."""
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "gguf")


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def array(kind, values):
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def info(name, ne, kind, offset):
    return text(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)


def gguf(keys=(), infos=(), data=b"", version=3, alignment=32, order="<", magic=b"GGUF"):
    head = magic + struct.pack(order + "IQQ", version, len(infos), len(keys))
    head += b"".join(keys) + b"".join(infos)
    if data:
        head += bytes(-len(head) % alignment) + data
    return head


def u32(n):
    return struct.pack("<I", n)


SCALARS = [key(f"k{i}", kind, value) for i, (kind, value) in enumerate([
    (0, b"\xff"), (1, b"\x80"), (2, b"\xff\xff"), (3, b"\0\x80"), (4, u32(7)), (5, u32(2**32 - 1)),
    (6, struct.pack("<f", 1.5)), (7, b"\1"), (8, text("text")), (10, struct.pack("<Q", 2**64 - 1)),
    (11, struct.pack("<q", -2**63)), (12, struct.pack("<d", 1e300))])]
ALL_FORMATS = [(0, 1, 4), (1, 1, 2), (2, 32, 18), (3, 32, 20), (6, 32, 22), (7, 32, 24), (8, 32, 34),
               (10, 256, 84), (11, 256, 110), (12, 256, 144), (13, 256, 176), (14, 256, 210),
               (20, 32, 18), (23, 256, 136), (30, 1, 2), (39, 32, 17)]


def formats():
    infos, data = [], b""
    for kind, block, size in ALL_FORMATS:
        data += bytes(-len(data) % 32)
        infos.append(info(f"t{kind}", [block], kind, len(data)))
        data += bytes(range(size))
    return gguf(infos=infos, data=data)


FILES = {
    "empty_model": gguf(),
    "version_2": gguf([key("general.architecture", 8, text("llama"))], version=2),
    "version_1": gguf(version=1),
    "big_endian": gguf(order=">"),
    "old_magic": b"tjgg\3\0\0\0",
    "lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "scalars": gguf(SCALARS),
    "arrays": gguf([
        key("tokenizer.ggml.tokens", 9, array(8, [text("a"), text(""), text(b"\xff\0")])),
        key("tokenizer.ggml.token_type", 9, array(5, [u32(1), u32(3)])),
        key("tokenizer.ggml.scores", 9, array(6, [struct.pack("<f", -1.0)])),
        key("llama.attention.head_count_kv", 9, array(4, [u32(1)])),
        key("a", 9, array(8, [])), key("k", 9, array(0, [b"\1", b"\2"]))]),
    "nested_array": gguf([key("a", 9, array(9, [array(4, [u32(1)])]))]),
    "alignment_8": gguf([key("general.alignment", 4, u32(8))],
                        [info("a", [3], 0, 0), info("b", [1], 0, 16)], bytes(20), alignment=8),
    "alignment_bad": gguf([key("general.alignment", 4, u32(24))], [info("a", [1], 0, 0)], bytes(4)),
    "formats": formats(),
    "four_dimensions": gguf(infos=[info("a", [32, 2, 1, 3], 8, 0)], data=bytes(204)),
    "unsupported_type": gguf(infos=[info("a", [256], 16, 0)], data=bytes(66)),
    "same_names": gguf(infos=[info("a", [1], 0, 0), info("a", [1], 0, 32)], data=bytes(36)),
    "same_keys": gguf([key("a", 4, u32(1)), key("k", 4, u32(1)), key("a", 4, u32(1))]),
    "overlap": gguf(infos=[info("a", [16], 0, 0), info("b", [16], 0, 32)], data=bytes(96)),
    "split": gguf([key("split.no", 2, b"\0\0"), key("split.count", 2, b"\2\0"),
                   key("split.tensors.count", 5, u32(1))]),
    "huge_counts": b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + bytes(64),
    "huge_shape": gguf(infos=[info("a", [2**32, 2**31], 0, 0)], data=bytes(64)),
}

os.makedirs(HERE, exist_ok=True)
for name, content in FILES.items():
    with open(os.path.join(HERE, name + ".gguf"), "wb") as f:
        f.write(content)
print(f"{len(FILES)} files, {sum(map(len, FILES.values()))} bytes")
