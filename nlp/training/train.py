"""Multi-task fine-tuning: one encoder, mean pooling, one linear layer that holds all heads.

Seeds fix the data, its order and its variations. They do not fix the last bits of the weights: the
parts of a batch run in threads, which draw from one source of dropout and add up their gradients as
they come. With one thread (`torch.set_num_threads(1)`) a run repeats exactly.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nlp.base import SENTIMENTS
from nlp.encoder import VECTOR, WIDTH, Floats, columns
from nlp.reading import covered, shorten

from .convert import PAD
from .data import NO_LABEL, Row, balanced, silent, vary
from .files import HEAD_TOKENS, MAX_TOKENS, PREFIX
from .measure import selection, target_f1

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
    sentiment_per_class: int = 2_500
    silent_rows: int = 60
    flag_weights: tuple[float, ...] = (1.0, 1.5, 0.7) + (0.35,) * 9
    stage_classes: tuple[float, ...] = (1.0, 1.4, 1.0, 1.6, 1.0)
    sentiment_weight: float = 0.8
    target_weight: float = 0.8
    teacher_weight: float = 0.0
    smoothing: float = 0.03
    learn_words: bool = False


class Funnel(nn.Module):
    """Token ids to logits [batch, 20], vectors [batch, 384], tones [batch, tokens, 3], meanings.

    Tones are logits of the sentiment toward what a token names; a target has the mean over its own.
    Meanings [batch, 384] are for telling what a text is about: the mean of every second layer, for
    the last one is fitted to buying stages.
    """

    def __init__(self, bert: BertModel, dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(VECTOR, WIDTH)
        self.tones = nn.Linear(VECTOR, len(SENTIMENTS))
        for layer in (self.heads, self.tones):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        layers = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        ).hidden_states
        hidden = layers[-1]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)

        def pooled(layer: Tensor) -> Tensor:
            return (layer * mask).sum(1) / mask.sum(1)

        vectors = pooled(hidden)
        some = [functional.normalize(pooled(layer)) for layer in layers[:0:-2]]
        return (
            self.heads(self.dropout(vectors)),
            vectors,
            self.tones(self.dropout(hidden)),
            torch.stack(some).mean(0),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded ids, their mask, and the labels of the rows.

    Of each target: its row, the share of each token in it [targets, tokens] and its sentiment.
    `teacher` are logits to follow, `taught` says which rows have them.
    """

    ids: Tensor
    mask: Tensor
    stage: Tensor
    flags: Tensor
    flagged: Tensor
    sentiment: Tensor
    target_row: Tensor
    target_share: Tensor
    target: Tensor
    teacher: Tensor
    taught: Tensor


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of prepared texts, prefixed and shortened as at run time."""
    encodings = tokenizer.encode_batch_fast([PREFIX + text for text in texts])
    return [shorten(one.ids, MAX_TOKENS, HEAD_TOKENS) for one in encodings]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids of a text as the model gets them, and for each target which of them belong to it."""

    ids: list[int]
    targets: tuple[tuple[list[int], int], ...] = ()


def tokenize_rows(tokenizer: Tokenizer, rows: Sequence[Row]) -> list[Tokens]:
    """Tokens of rows to learn from."""
    encodings = tokenizer.encode_batch([PREFIX + row.text for row in rows])
    out = []
    for row, one in zip(rows, encodings, strict=True):
        places = shorten(list(range(len(one.ids))), LEARN_TOKENS, LEARN_HEAD)
        spans = [one.offsets[place] for place in places]
        targets = tuple(
            (inside, sentiment)
            for start, end, sentiment in row.targets
            if (inside := covered(spans, start + len(PREFIX), end + len(PREFIX)))
        )
        out.append(Tokens([one.ids[place] for place in places], targets))
    return out


def _pad(ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, ids))
    mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids])
    return torch.tensor([one + [PAD] * (width - len(one)) for one in ids]), mask


def collate(rows: Sequence[Row], tokens: Sequence[Tokens]) -> Batch:
    """One batch of rows whose tokens are given."""
    padded, mask = _pad([one.ids for one in tokens])
    count = FLAGS.stop - FLAGS.start
    targets = [(at, *target) for at, one in enumerate(tokens) for target in one.targets]
    share = torch.zeros(len(targets), padded.shape[1])
    for at, (_, inside, _) in enumerate(targets):
        share[at, inside] = 1 / len(inside)
    return Batch(
        ids=padded,
        mask=mask,
        stage=torch.tensor([row.stage for row in rows]),
        flags=torch.tensor([row.flags or (0,) * count for row in rows], dtype=torch.float),
        flagged=torch.tensor([bool(row.flags) for row in rows]),
        sentiment=torch.tensor([row.sentiment for row in rows]),
        target_row=torch.tensor([row for row, _, _ in targets], dtype=torch.long),
        target_share=share,
        target=torch.tensor([sentiment for _, _, sentiment in targets], dtype=torch.long),
        teacher=torch.tensor([row.teacher or (0.0,) * WIDTH for row in rows]),
        taught=torch.tensor([bool(row.teacher) for row in rows]),
    )


def loss(logits: Tensor, tones: Tensor, batch: Batch, config: Config) -> Tensor:
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
    toward = torch.einsum("kt,ktc->kc", batch.target_share, tones[batch.target_row])
    target = functional.cross_entropy(
        toward, batch.target, label_smoothing=config.smoothing, reduction="sum"
    )
    total = stage + flags + config.sentiment_weight * sentiment + config.target_weight * target
    gap = (logits - batch.teacher).square().mean(1)
    return (total + config.teacher_weight * (gap * batch.taught).sum()) / config.batch


def epoch_batches(
    rows: Sequence[Row], tokenizer: Tokenizer, size: int, rng: random.Random
) -> list[list[Batch]]:
    """Batches of rows of like length, in random order, each as parts that cost about the same."""
    tokens = tokenize_rows(tokenizer, rows)
    order = sorted(range(len(rows)), key=lambda at: len(tokens[at].ids) + rng.random() * 8)
    places = [order[at : at + size] for at in range(0, len(order), size)]
    rng.shuffle(places)
    return [
        [
            collate([rows[at] for at in part], [tokens[at] for at in part])
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
    with _evaluating(model):
        for start in range(0, len(order), 32):
            part = order[start : start + 32]
            out[part] = model(*_pad([ids[at] for at in part]))[0].numpy()
    return out


def predict_targets(model: Funnel, tokenizer: Tokenizer, rows: Sequence[Row]) -> Floats:
    """Logits [targets, 3] of the targets of the rows, in their order."""
    out = []
    with _evaluating(model):
        for row in rows:
            batch = collate([row], tokenize_rows(tokenizer, [row]))
            tones = model(batch.ids, batch.mask)[2]
            out.append(torch.einsum("kt,ktc->kc", batch.target_share, tones[batch.target_row]))
    return torch.cat(out).numpy() if out else np.zeros((0, len(SENTIMENTS)), np.float32)


@contextmanager
def _evaluating(model: Funnel) -> Iterator[None]:
    was = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(was)


def parameter_groups(model: Funnel, config: Config) -> list[dict[str, Any]]:
    """Groups for an optimizer: the new layers learn fast, others slower the nearer the input."""
    layers = len(model.bert.encoder.layer)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    words = model.bert.embeddings.word_embeddings.weight
    words.requires_grad_(config.learn_words)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(("heads.", "tones.")):
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
    aimed = [row for row in held if row.targets]
    held = [row for row in held if not row.targets]
    torch.manual_seed(config.seed)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), fused=True)
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
        figures["target_f1"] = target_f1(aimed, predict_targets(model, tokenizer, aimed))
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
            logits, _, tones, _ = model(part.ids, part.mask)
        value = loss(logits.float(), tones.float(), part, config)
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
