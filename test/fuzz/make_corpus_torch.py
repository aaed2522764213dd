#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/torch/: pickles for fuzz_torch.c, which puts them into an archive with
data/0 (64 bytes) and data/1 (4 bytes), and a few archives. Files of PyTorch itself are added from
test/fixtures/checkpoints.

    python3 test/fuzz/make_corpus_torch.py
"""
import io
import os
import shutil
import struct
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "corpus", "torch")
FIXTURES = os.path.join(HERE, "..", "fixtures", "checkpoints")


def text(s):
    return b"X" + struct.pack("<I", len(s.encode())) + s.encode()


def ints(*values):
    return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"


def tensor(storage="torch\nFloatStorage", key="0", numel=16, offset=0, shape=(4, 4), strides=(4, 1)):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"(" + text("storage") + b"c" + storage.encode() + b"\n" +
            text(key) + text("cpu") + b"J" + struct.pack("<i", numel) + b"tQ" + b"J" + struct.pack("<i", offset) +
            ints(*shape) + ints(*strides) + b"\x89" + b"ccollections\nOrderedDict\n)R" + b"tR")


def pickle(members):
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in members) + b"u."


PICKLES = {
    "good": pickle([("a", tensor()), ("b", tensor(shape=(), strides=(), offset=15)),
                    ("c", tensor(storage="torch\nByteStorage", key="1", numel=4, shape=(1, 4), strides=(9, 1)))]),
    "parameter": pickle([("p", b"ctorch._utils\n_rebuild_parameter\n" + tensor() + b"\x88N\x87R")]),
    "size": pickle([("s", tensor().replace(ints(4, 4), b"ctorch\nSize\n" + ints(4, 4) + b"\x85R"))]),
    "memo": b"\x80\x02}q\x00(" + text("a") + tensor() + b"r\x05\x00\x00\x00" + text("b") + b"h\x05" + text("c") +
            b"j\x05\x00\x00\x00u0".replace(b"0", b"") + b".",
    "nested": pickle([("epoch", b"K\x03"), ("model", b"}(" + text("w") + tensor() + b"u"), ("x", b"](K\x01K\x02e")]),
    "protocol4": b"\x80\x04\x95" + struct.pack("<Q", 50) + b"}\x94(\x8c\x01a\x94\x8c\x05torch\x94\x8c\x04Size\x94\x93\x94" +
                 ints(1) + b"\x85\x81u.",
    "forbidden": b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R.",
    "memo_bomb": b"\x80\x02}r\xff\xff\xff\xff.",
    "transposed": pickle([("t", tensor(strides=(1, 4)))]),
    "beyond": pickle([("t", tensor(offset=1))]),
    "negative": pickle([("t", tensor(offset=-1))]),
    "long": b"\x80\x02\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "cycle": b"\x80\x02}q\x00" + text("model") + b"h\x00s.",
    "underflow": b"\x80\x02R.",
    "build": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("_metadata") + b"Nsb.",
}


def archive(entries, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as z:
        for name, data in entries:
            z.writestr(name, data)
    return out.getvalue()


def main():
    os.makedirs(OUT, exist_ok=True)
    files = dict(PICKLES)
    files["zip_big_endian"] = archive([("r/data.pkl", PICKLES["good"]), ("r/data/0", bytes(64)), ("r/byteorder", b"big")])
    files["zip_deflated"] = archive([("r/data.pkl", PICKLES["good"])], compression=zipfile.ZIP_DEFLATED)
    files["zip_empty"] = archive([])
    for name, data in files.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(data)
    shutil.copy(os.path.join(FIXTURES, "torch-module", "pytorch_model.bin"), os.path.join(OUT, "zip_module"))
    shutil.copy(os.path.join(FIXTURES, "refused", "script.bin"), os.path.join(OUT, "zip_script"))


if __name__ == "__main__":
    main()
