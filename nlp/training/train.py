"""Multi-task fine-tuning: one encoder, mean pooling, one linear layer that holds all heads."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlp.encoder import VECTOR, WIDTH, Floats, columns, shorten

from .convert import PAD
from .data import NO_LABEL, Row, balanced, silent, vary
from .files import HEAD_TOKENS, MAX_TOKENS, PREFIX
from .measure import selection

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertModel

LEARN_TOKENS, LEARN_HEAD = 128, 88
PARTS = 4
"""Parts of a batch, taken by the threads as they are free: a busy core then delays nobody."""
FLAGS = slice(columns("intent").start, columns("signal").stop)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that decides the outcome of a run besides the data."""

    seed: int = 1
    epochs: int = 5
    batch: int = 32
    lr: float = 1e-4
    head_lr: float = 1e-3
    layer_decay: float = 0.9
    warmup: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    ema: float = 0.995
    sentiment_per_class: int = 900
    silent_rows: int = 60
    flag_weights: tuple[float, ...] = (1.0, 1.5, 0.7) + (0.35,) * 9
    stage_classes: tuple[float, ...] = (1.0, 1.4, 1.0, 1.6, 1.0)
    sentiment_weight: float = 0.8
    smoothing: float = 0.03
    learn_words: bool = False


class Funnel(nn.Module):
    """Token ids to logits [batch, 20] and mean-pooled vectors [batch, 384]."""

    def __init__(self, bert: BertModel, dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(VECTOR, WIDTH)
        nn.init.normal_(self.heads.weight, std=0.02)
        nn.init.zeros_(self.heads.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return self.heads(self.dropout(pooled)), pooled


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded ids, their mask, and the labels of the rows."""

    ids: Tensor
    mask: Tensor
    stage: Tensor
    flags: Tensor
    flagged: Tensor
    sentiment: Tensor


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], most: int = MAX_TOKENS, head: int = HEAD_TOKENS
) -> list[list[int]]:
    """Ids of prepared texts, prefixed and shortened as at run time (or to `most`, `head`)."""
    encodings = tokenizer.encode_batch_fast([PREFIX + text for text in texts])
    return [shorten(one.ids, most, head) for one in encodings]


def _pad(ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, ids))
    mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids])
    return torch.tensor([one + [PAD] * (width - len(one)) for one in ids]), mask


def collate(rows: Sequence[Row], ids: Sequence[list[int]]) -> Batch:
    """One batch of rows whose ids are given."""
    padded, mask = _pad(ids)
    count = FLAGS.stop - FLAGS.start
    return Batch(
        ids=padded,
        mask=mask,
        stage=torch.tensor([row.stage for row in rows]),
        flags=torch.tensor([row.flags or (0,) * count for row in rows], dtype=torch.float),
        flagged=torch.tensor([bool(row.flags) for row in rows]),
        sentiment=torch.tensor([row.sentiment for row in rows]),
    )


def loss(logits: Tensor, batch: Batch, config: Config) -> Tensor:
    """Sum over rows and heads divided by the batch size, so that every row weighs the same."""
    stage = functional.cross_entropy(
        logits[:, columns("stage")],
        batch.stage,
        weight=torch.tensor(config.stage_classes),
        ignore_index=NO_LABEL,
        label_smoothing=config.smoothing,
        reduction="sum",
    )
    sentiment = functional.cross_entropy(
        logits[:, columns("sentiment")],
        batch.sentiment,
        ignore_index=NO_LABEL,
        label_smoothing=config.smoothing,
        reduction="sum",
    )
    flags = functional.binary_cross_entropy_with_logits(
        logits[:, FLAGS],
        batch.flags * (1 - config.smoothing) + config.smoothing / 2,
        weight=torch.tensor(config.flag_weights) * batch.flagged.unsqueeze(1),
        reduction="sum",
    )
    return (stage + flags + config.sentiment_weight * sentiment) / config.batch


def epoch_batches(
    rows: Sequence[Row], tokenizer: Tokenizer, size: int, rng: random.Random
) -> list[list[Batch]]:
    """Batches of rows of like length, in random order, each as parts that cost about the same."""
    ids = tokenize(tokenizer, [row.text for row in rows], LEARN_TOKENS, LEARN_HEAD)
    order = sorted(range(len(rows)), key=lambda at: len(ids[at]) + rng.random() * 8)
    places = [order[at : at + size] for at in range(0, len(order), size)]
    rng.shuffle(places)
    return [
        [
            collate([rows[at] for at in part], [ids[at] for at in part])
            for part in (whole[start::PARTS] for start in range(PARTS))
            if part
        ]
        for whole in places
    ]


def predict(model: Funnel, tokenizer: Tokenizer, texts: Sequence[str]) -> Floats:
    """Logits [n, 20] of prepared texts, in float32 without dropout."""
    ids = tokenize(tokenizer, texts)
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    out = np.zeros((len(ids), WIDTH), np.float32)
    was = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            part = order[start : start + 32]
            out[part] = model(*_pad([ids[at] for at in part]))[0].numpy()
    model.train(was)
    return out


def _groups(model: Funnel, config: Config) -> list[dict[str, Any]]:
    """Parameter groups: a lower learning rate the nearer a layer is to the input."""
    layers = len(model.bert.encoder.layer)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    words = model.bert.embeddings.word_embeddings.weight
    words.requires_grad_(config.learn_words)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("heads."):
            lr = config.head_lr
        elif ".layer." in name:
            depth = int(name.split(".layer.")[1].split(".")[0])
            lr = config.lr * config.layer_decay ** (layers - 1 - depth)
        else:
            lr = config.lr * config.layer_decay**layers
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((lr, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in groups.items()
    ]


def _rows_of_epoch(
    labelled: Sequence[Row], sentiment: Sequence[Row], config: Config, rng: random.Random
) -> list[Row]:
    drawn = balanced(sentiment, config.sentiment_per_class, rng)
    quiet = silent(config.silent_rows, rng) if config.silent_rows else []
    return [vary(row, rng) for row in (*labelled, *drawn)] + quiet


def fit(
    model: Funnel,
    tokenizer: Tokenizer,
    labelled: Sequence[Row],
    sentiment: Sequence[Row],
    held: Sequence[Row],
    config: Config,
    folder: Path,
) -> Funnel:
    """The model with the averaged weights of its best epoch on `held` (see `measure.selection`).

    Writes config, log and the state after each epoch to `folder`, and goes on from there when
    called again with the same config; `ValueError` when the folder holds a run with another one.
    """
    _claim(folder, config)
    torch.manual_seed(config.seed)
    optimizer = torch.optim.AdamW(_groups(model, config), fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    done, best = 0, -1.0
    last = folder / "last.pt"
    if last.exists():
        state = torch.load(last)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, done, best = state["average"], state["epoch"], state["best"]
    for epoch in range(done + 1, config.epochs + 1):
        began = time.monotonic()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads) as pool:
            lost = _learn_epoch(
                model,
                optimizer,
                rates,
                average,
                tokenizer,
                (labelled, sentiment),
                config,
                epoch,
                pool,
            )
        torch.set_num_threads(threads)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(average)
        figures = selection(held, predict(model, tokenizer, [row.text for row in held]))
        model.load_state_dict(weights)
        if figures["score"] > best:
            best = figures["score"]
            _save(average, folder / "best.pt")
        _log(folder, {"epoch": epoch, "loss": lost, "seconds": time.monotonic() - began} | figures)
        state = {"model": weights, "optimizer": optimizer.state_dict(), "average": average}
        _save(state | {"epoch": epoch, "best": best}, last)
    model.load_state_dict(torch.load(folder / "best.pt"))
    return model


def _learn_epoch(
    model: Funnel,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    average: dict[str, Tensor],
    tokenizer: Tokenizer,
    rows: tuple[Sequence[Row], Sequence[Row]],
    config: Config,
    epoch: int,
    pool: Executor,
) -> float:
    """Mean loss of one pass; changes the model, its optimizer and the averaged weights."""
    rng = random.Random(config.seed * 1000 + epoch)
    torch.manual_seed(config.seed * 1000 + epoch)
    batches = epoch_batches(_rows_of_epoch(*rows, config, rng), tokenizer, config.batch, rng)
    model.train()

    def backward(part: Batch) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            logits, _ = model(part.ids, part.mask)
        value = loss(logits.float(), part, config)
        value.backward()
        return float(value.item())

    lost = 0.0
    for at, batch in enumerate(batches):
        share = (epoch - 1 + at / len(batches)) / config.epochs
        rate = min(share / config.warmup, (1 - share) / (1 - config.warmup)) + 1e-3
        for group, lr in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = lr * rate
        optimizer.zero_grad()
        lost += sum(pool.map(backward, batch))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps = (epoch - 1) * len(batches) + at
        keep = min(config.ema, (1 + steps) / (10 + steps))
        with torch.no_grad():
            for name, one in model.named_parameters():
                if one.requires_grad:
                    average[name].lerp_(one, 1 - keep)
        if at % 50 == 0:
            _logger.info("epoch %d, batch %d of %d", epoch, at, len(batches))
    return lost / len(batches)


def _save(state: dict[str, Any], path: Path) -> None:
    """Writes beside, then renames: a run stopped meanwhile keeps the last whole state."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _claim(folder: Path, config: Config) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(config), indent=1)
    path = folder / "config.json"
    if path.exists() and path.read_text("utf-8") != text:
        raise ValueError(f"{folder} holds a run with another configuration; give another folder")
    path.write_text(text, "utf-8")


def _log(folder: Path, line: dict[str, float]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps({key: round(value, 4) for key, value in line.items()}) + "\n")
    _logger.info("%s", line)
