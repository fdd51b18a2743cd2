"""Reads and writes models in the released format (safetensors). Spec: section 2."""

import json
import os
import struct

import numpy as np
import torch

from quantize import GROUP, dequantize, fp4_weight, fp8_weight

_NUMPY = {"F32": np.float32, "BF16": np.uint16, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8, "I8": np.uint8, "U8": np.uint8}  # fmt: skip


def read_safetensors(path):
    """{name: (dtype name, numpy array of raw elements)}"""
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    result = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _NUMPY:
            continue
        begin, end = (8 + size + o for o in entry["data_offsets"])
        values = np.frombuffer(data[begin:end], dtype=_NUMPY[entry["dtype"]])
        result[name] = (entry["dtype"], values.reshape(entry["shape"]))
    return result


def write_safetensors(path, tensors):
    """tensors: {name: (dtype name, numpy array)}, written in order."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())


# ---- Codes ----


def _e4m3_table():
    values = []
    for code in range(256):
        sign, exponent, mantissa = code >> 7, code >> 3 & 15, code & 7
        value = mantissa * 2.0**-9 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
        values.append(-value if sign else value)
    return torch.tensor(values, dtype=torch.float32)


_E4M3 = _e4m3_table()
_E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def _e4m3_codes(values):
    """Codes of values that are exactly e4m3."""
    magnitudes = _E4M3[:127].contiguous()
    codes = torch.searchsorted(magnitudes, values.abs().contiguous())
    return (codes + 128 * torch.signbit(values)).to(torch.uint8).numpy()


def _e2m1_codes(values):
    codes = torch.searchsorted(_E2M1[:8].contiguous(), values.abs().contiguous())
    return (codes + 8 * torch.signbit(values)).to(torch.uint8)


def _e8m0_codes(scales):
    return ((scales.contiguous().view(torch.int32) >> 23) & 255).to(torch.uint8).numpy()


def _bf16_bits(values):
    return values.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def encode(name, w, kind):
    """{released name: (dtype, raw)} of one tensor."""
    w = w.detach().float().cpu()
    scale_name = name[: -len("weight")] + "scale"
    if kind == "f32":
        return {name: ("F32", w.numpy())}
    if kind == "bf16":
        return {name: ("BF16", _bf16_bits(w))}
    if kind == "fp4":
        values, scales = fp4_weight(w)
        codes = _e2m1_codes(values)
        packed = (codes[:, 0::2] | codes[:, 1::2] << 4).numpy()
        return {name: ("I8", packed), scale_name: ("F8_E8M0", _e8m0_codes(scales))}
    values, scales = fp8_weight(w, 1 if kind == "row8" else GROUP, GROUP)
    return {name: ("F8_E4M3", _e4m3_codes(values)), scale_name: ("F8_E8M0", _e8m0_codes(scales))}


def decode(raw, name):
    """The f32 value of a released tensor."""
    dtype, values = raw[name]
    if dtype == "F32":
        return torch.from_numpy(values.copy())
    if dtype == "BF16":
        return torch.from_numpy(values.astype(np.int32) << 16).view(torch.float32)
    scales = raw[name[: -len("weight")] + "scale"][1]
    scales = torch.from_numpy(scales.astype(np.int32) << 23).view(torch.float32)
    if dtype == "F8_E4M3":
        w = _E4M3[torch.from_numpy(values.astype(np.int64))]
        rows = 1 if scales.shape[0] == w.shape[0] and w.shape[0] > 1 else GROUP
        return dequantize(w, scales, rows, GROUP)
    codes = torch.from_numpy(values.astype(np.int64))
    codes = torch.stack((codes & 15, codes >> 4), -1).flatten(-2)
    return dequantize(_E2M1[codes], scales, 1, GROUP)


# ---- Models ----


def places(model):
    """(released name, parameter key, index, kind) of every released tensor."""
    c = model.config
    for stack in model.parameters.stacks.values():
        for i, owner in enumerate(stack.owners):
            if stack.key == "engram.embed":
                first = 0
                for layer, rows in zip(c.engram_layer_ids, c.engram_num_embeddings):
                    yield f"layers.{layer}.{stack.suffix}", stack, (i, slice(first, first + rows))
                    first += rows
            elif stack.experts:
                for e in range(stack.shape[0]):
                    yield owner + stack.suffix.format(e), stack, (i, e)
            else:
                yield owner + stack.suffix, stack, (i,)


def export(model, path):
    """Writes model.safetensors in the released format; returns its size."""
    tensors = {}
    for name, stack, index in sorted(places(model), key=lambda p: p[0]):
        tensors.update(encode(name, model.parameters.value(stack.key)[index], stack.kind))
    write_safetensors(path, tensors)
    return sum(v.nbytes for _, v in tensors.values())


def load(model, path, value_of=decode):
    """Fills the parameters with the values of a released model.safetensors. value_of(raw, name): the
    value of a tensor; None: it stays as it is."""
    raw = read_safetensors(path)
    model.parameters.tie = 0
    with torch.no_grad():
        for name, stack, index in places(model):
            value = value_of(raw, name)
            if value is None:
                continue
            target = model.parameters.tensor(stack.key)[index]
            assert value.shape == target.shape, (name, value.shape, target.shape)
            target.copy_(value)


def load_masters(model, path):
    """Fills the parameters so that training goes on with the values of a released model."""
    tie = model.parameters.tie
    load(model, path)
    model.parameters.tie = tie
    with torch.no_grad():
        model.parameters.tensor("head").sub_(tie * model.parameters.tensor("embed"))


# ---- Full-precision copies ----

_PART = 14 << 20


def save_slim(model, directory):
    """The parameters without the optimizer (matrices as bf16), in files of at most 14 MiB."""
    blob = b""
    for stack in model.parameters.stacks.values():
        w = model.parameters.value(stack.key).detach().cpu()
        blob += (w.float().numpy() if stack.kind == "f32" else _bf16_bits(w)).tobytes()
    for i in range(0, len(blob), _PART):
        path = f"{directory}/slim-{i // _PART}.bin"
        with open(path + ".tmp", "wb") as file:
            file.write(blob[i : i + _PART])
        os.replace(path + ".tmp", path)


def load_slim(model, directory):
    """Fills the parameters from what save_slim wrote."""
    blob, i = b"", 0
    while os.path.exists(path := f"{directory}/slim-{i}.bin"):
        with open(path, "rb") as file:
            blob += file.read()
        i += 1
    offset = 0
    model.parameters.tie = 0
    with torch.no_grad():
        for stack in model.parameters.stacks.values():
            p = model.parameters.tensor(stack.key)
            size = p.numel() * (4 if stack.kind == "f32" else 2)
            piece = blob[offset : offset + size]
            offset += size
            if stack.kind == "f32":
                values = torch.from_numpy(np.frombuffer(piece, np.float32).copy())
            else:
                bits = np.frombuffer(piece, np.uint16).astype(np.int32) << 16
                values = torch.from_numpy(bits).view(torch.float32)
            p.copy_(values.view_as(p))
