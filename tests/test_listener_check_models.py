"""What `listener check` says of the models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from listener.check_models import model_rows
from listener.cli import main
from listener.config import parse
from listener.models import Models
from nlp.base import ModelMissing
from nlp.encoder import MODEL_FOLDER
from nlp.own_heads import FEATURES, FILE, Comparison, Fitted, OwnHeads

BRAND = '[brand]\nname = "Lumora"\n'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def models(folder: Path, settings: str = "") -> Models:
    """With its database, and the heads beside it, in `folder`."""
    return Models(parse(BRAND + settings, file="config.toml", folder=folder))


def looked(folder: Path, settings: str = "") -> dict[str, tuple[str, str]]:
    rows = model_rows(models(folder, settings))
    return {row["what"]: (row["status"], row["note"]) for row in rows}


def save_own(path: Path, *, model: str, f1: float) -> None:
    figures = {"f1": f1, "average_precision": f1}
    zero = dict.fromkeys(figures, 0.0)
    won = Comparison(
        n=99, positives=40, own=figures, shipped=dict.fromkeys(figures, 0.5), error=zero,
        threshold=0.5,
    )  # fmt: skip
    head = Fitted(
        labels=("1",), weights=np.zeros((1, FEATURES)), bias=np.zeros(1), compared={"es": won}
    )
    OwnHeads(model=model, heads={"early": head}, seen=frozenset()).save(path)


def test_the_shipped_model_and_its_first_stage_are_fine(tmp_path: Path) -> None:
    rows = looked(tmp_path)
    assert {what: status for what, (status, _) in rows.items()} == {
        "model": "ok",
        "own heads": "ok",
    }
    assert models(tmp_path).shipped.version in rows["model"][1]
    assert "listener train" in rows["own heads"][1]
    assert looked(tmp_path, "[nlp]\nfirst_stage = true\n")["first stage"][0] == "ok"


def test_a_folder_without_a_model_is_told_by_its_key(tmp_path: Path) -> None:
    shutil.copy(MODEL_FOLDER / "heads.json", tmp_path)
    settings = f"[nlp]\nmodel = {json.dumps(str(tmp_path))}\nfirst_stage = true\n"
    ((status, note),) = looked(tmp_path, settings).values()
    assert status == "failed"
    assert note.startswith(f"{tmp_path} lacks model.onnx, tokenizer.json: correct `[nlp] model`")
    with pytest.raises(ModelMissing, match=r"`\[nlp\] model`"):
        models(tmp_path, settings).tagger  # noqa: B018  # it loads


@pytest.mark.parametrize("damaged", ["heads.json", "model.onnx", "tokenizer.json"])
def test_a_damaged_model_is_one_sentence(tmp_path: Path, damaged: str) -> None:
    for name in ("heads.json", "model.onnx", "tokenizer.json"):
        (tmp_path / name).symlink_to(MODEL_FOLDER / name)
    (tmp_path / damaged).unlink()
    (tmp_path / damaged).write_bytes(b'{"half": ')
    settings = f"[nlp]\nmodel = {json.dumps(str(tmp_path))}\n"
    ((status, note),) = looked(tmp_path, settings).values()
    assert status == "failed"
    assert f"{damaged} cannot be loaded" in note
    assert note.endswith("correct the folder in `[nlp] model`")


def test_a_first_stage_that_is_not_there_or_of_another_model(tmp_path: Path) -> None:
    for name in ("heads.json", "model.onnx", "tokenizer.json"):
        (tmp_path / name).symlink_to(MODEL_FOLDER / name)
    settings = f"[nlp]\nmodel = {json.dumps(str(tmp_path))}\nfirst_stage = true\n"
    status, note = looked(tmp_path, settings)["first stage"]
    assert status == "failed"
    assert "first_stage = false" in note
    with np.load(MODEL_FOLDER / "first_stage.npz") as stored:
        parts: dict[str, Any] = dict(stored)
    np.savez(tmp_path / "first_stage.npz", **parts | {"teacher": np.array("other")})
    status, note = looked(tmp_path, settings)["first stage"]
    assert status == "failed"
    assert "was made for model other" in note


def test_own_heads_are_told_with_what_they_are_used_for(tmp_path: Path) -> None:
    version = models(tmp_path).shipped.version
    save_own(tmp_path / FILE, model=version, f1=0.9)
    assert looked(tmp_path)["own heads"] == ("ok", "used for early (es)")
    save_own(tmp_path / FILE, model=version, f1=0.1)
    assert looked(tmp_path)["own heads"] == ("ok", "none was better than the shipped ones")
    save_own(tmp_path / FILE, model="older", f1=0.9)
    status, note = looked(tmp_path)["own heads"]
    assert (status, "fit them again" in note) == ("warning", True)
    (tmp_path / FILE).write_text("{}")
    assert looked(tmp_path)["own heads"][0] == "failed"


def test_every_other_model_that_cannot_answer_is_told_at_once(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text(json.dumps({"id2label": {"0": "bad", "1": "good"}}))
    rows = looked(
        tmp_path,
        '[nlp]\nmodel = "absent"\nown_heads = "absent.json"\n'
        '[nlp.heads.stage]\nmodel = "./absent"\n'
        f'[nlp.heads.early]\nmodel = "acme/tiny"\nrevision = "{COMMIT}"\n'
        '[nlp.heads.sentiment]\nmodel = "./mine"\nlabels = { bad = "neg" }\n'
        '[nlp.heads.promo]\nmodel = "./mine"\nlabels = { bad = "0", good = "1" }\n',
    )
    assert {status for status, _ in rows.values()} == {"failed"}
    for what, told in (
        ("model", "`[nlp] model`"),
        ("model for stage", "[nlp.heads.stage] model"),
        ("model for early", f"hf download acme/tiny --revision {COMMIT}"),
        ("model for sentiment", "nothing is said of `good`"),
        ("model for promo", "holds no weights"),
    ):
        assert told in rows[what][1]


def test_check_ends_with_1_for_a_wrong_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(f'{BRAND}[nlp]\nmodel = "absent"\n[sources.sample]\n')
    result = CliRunner().invoke(main, ["check", "--json"])
    assert result.exit_code == 1
    (row,) = [row for row in json.loads(result.stdout) if row["what"] == "model"]
    assert row["status"] == "failed"
