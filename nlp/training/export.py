"""The trained model as ONNX with 8-bit layers.

Each token has its own activation scale (`quantize`). onnxruntime's dynamic quantisation takes one
scale for a whole batch instead, so a text gets other figures in other company, and one outlier
costs every text precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .files import MODEL, TOKENIZER, heads_body, plain_calibration, write_heads, write_tokenizer
from .train import Funnel

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from tokenizers import Tokenizer

OPSET = 18
_WEIGHT_MAX = 127
# Activations are 90 +- 90, not 128 +- 127: processors without VNNI add pairs of u8 x s8 products
# in 16 bits. Of 159 million pairs of real posts 53 overflow so, 10,511 with the full range. Vectors
# stay at cosine 0.998 of fp32 (7-bit weights, the usual way out: 0.995).
_ACTIVATION_MAX = 90


class SmallTable(nn.Module):
    """An embedding whose rows are int8 with one scale each: a quarter of the size."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        scale = table.abs().amax(1, keepdim=True).clamp_min(1e-8) / 127
        self.register_buffer("rows", (table / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of the ids, as float32."""
        return self.rows[ids].float() * self.scale[ids]


def write_model(model: Funnel, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights, tokenizer and a `heads.json` without calibration in `folder`, as they ship."""
    folder.mkdir(exist_ok=True)
    full = folder / "fp32.onnx"
    export_fp32(model, full)
    export_int8(full, folder / MODEL)
    full.unlink()
    write_tokenizer(tokenizer, folder / TOKENIZER)
    write_heads(folder, heads_body(plain_calibration(), {}))


def export_fp32(model: Funnel, path: Path) -> None:
    """ONNX with full-precision layers (the word table is int8 already) to `path`."""
    model.eval()
    words = model.bert.embeddings.word_embeddings
    model.bert.embeddings.word_embeddings = SmallTable(words.weight.detach())
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(
        model,
        (ids, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits", "embedding", "tones", "meaning"],
        dynamic_axes={
            "input_ids": axes,
            "attention_mask": axes,
            "logits": {0: "batch"},
            "embedding": {0: "batch"},
            "tones": axes,
            "meaning": {0: "batch"},
        },
        opset_version=OPSET,
        dynamo=False,
    )
    model.bert.embeddings.word_embeddings = words


def quantize(model: ModelProto) -> ModelProto:
    """The model with every product by a constant matrix done in 8 bits.

    Weights have a scale per output column, activations one per token: y = (q(x) @ W8) * w * a with
    a = max|x| / 90 of the token's row. The column scales are applied first: the other order has a
    pattern that onnxruntime fuses as if `a` were one number.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    constants = [
        numpy_helper.from_array(np.array(_ACTIVATION_MAX, np.float32), "row_max"),
        numpy_helper.from_array(np.array(1e-8, np.float32), "row_least"),
        numpy_helper.from_array(np.array([-1], np.int64), "row_axis"),
        numpy_helper.from_array(np.array(1, np.float32), "row_one"),
        numpy_helper.from_array(np.array(_ACTIVATION_MAX, np.uint8), "row_zero"),
    ]
    nodes: list[NodeProto] = []
    done: set[str] = set()
    replaced: set[str] = set()

    def add(kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        source, name = node.input
        scale, small = f"{source}_scale", f"{source}_small"
        if source not in done:  # query, key and value share their input
            done.add(source)
            top = add("Abs", [source], f"{source}_abs")
            top = add("ReduceMax", [top, "row_axis"], f"{source}_top", keepdims=1)
            top = add("Max", [top, "row_least"], f"{source}_safe")
            add("Div", [top, "row_max"], scale)
            even = add("Div", [source, scale], f"{source}_even")
            add("QuantizeLinear", [even, "row_one", "row_zero"], small)
        if name not in replaced:
            replaced.add(name)
            full = numpy_helper.to_array(weights[name])
            column = np.maximum(np.abs(full).max(0, keepdims=True), 1e-8) / _WEIGHT_MAX
            eight = np.round(full / column).astype(np.int8)
            constants.append(numpy_helper.from_array(eight, f"{name}_small"))
            constants.append(numpy_helper.from_array(column.astype(np.float32), f"{name}_scale"))
        out = node.output[0]
        add("MatMulInteger", [small, f"{name}_small", "row_zero"], f"{out}_sum")
        add("Cast", [f"{out}_sum"], f"{out}_float", to=TensorProto.FLOAT)
        add("Mul", [f"{out}_float", f"{name}_scale"], f"{out}_columns")
        add("Mul", [f"{out}_columns", scale], out)
    kept = [one for name, one in weights.items() if name not in replaced]
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("initializer")
    graph.initializer.extend([*kept, *constants])
    return model


def export_int8(source: Path, path: Path) -> None:
    """The ONNX file `source` quantized to `path`."""
    import onnx

    model = quantize(onnx.load(source))
    onnx.checker.check_model(model)
    onnx.save(model, path)
