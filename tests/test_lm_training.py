"""Language-model training on a small repetitive corpus: it learns, resumes exactly, refuses bad input."""

import json
import math
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from real.language_model import LanguageModel
from real.lm_blocks import batch_of, seen_tokens
from real.lm_config import LMConfig
from real.lm_evaluation import evaluate_baselines, evaluate_lm, log_probabilities
from real.lm_training import checkpoints, new_model, train_lm
from real.token_stream import END_OF_TEXT, encode

SMALL = LMConfig(
    layers=1, width=16, heads=2, mlp=32, context=16, vocab=300, batch=4, tokens=64 * 120, learning_rate=2e-2,
    warmup_steps=5, evaluate_every=60, checkpoint_every=40,
)  # fmt: skip


CHAIN = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads only cost time on matrices this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Documents in which each word decides the next."""
    folder = tmp_path_factory.mktemp("corpus")
    with (folder / "documents.jsonl").open("w") as out:
        for n in range(60):
            text = " ".join(CHAIN[(n + k) % len(CHAIN)] for k in range(200))
            split = "held-out" if n % 10 == 0 else "train"
            out.write(json.dumps({"source": "s", "document": f"d{n}", "split": split, "text": text}) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    """The folder of a whole run of SMALL."""
    folder = tmp_path_factory.mktemp("run")
    train_lm(SMALL, corpus, folder, progress=lambda line: None)
    return folder


def held_out(corpus: Path) -> list[str]:
    lines = map(json.loads, (corpus / "documents.jsonl").read_text().splitlines())
    return [line["text"] for line in lines if line["split"] == "held-out"]


def test_a_trained_model_beats_the_unigram(corpus, run):
    train = np.load(run / "tokens" / "train.npy")
    baselines = evaluate_baselines(run / "model", train, held_out(corpus))
    model = evaluate_lm(run / "model", held_out(corpus))
    assert model["tokens"] == baselines["unigram"]["tokens"]
    assert model["bits_per_byte"] < 0.8 * baselines["unigram"]["bits_per_byte"]
    assert baselines["trigram"]["bits_per_byte"] < 0.1  # the next word is certain


def test_a_killed_run_ends_as_if_it_had_never_stopped(corpus, run, tmp_path):
    def kill(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_lm(SMALL, corpus, tmp_path, progress=kill)  # at step 60; the last checkpoint is of step 40
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000040"]
    train_lm(SMALL, corpus, tmp_path, progress=lambda line: None)
    for name in ("model.safetensors", "optimizer.safetensors"):
        whole, resumed = (load_file(checkpoints(folder)[-1] / name) for folder in (run, tmp_path))
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_finished_run_goes_on_as_one_that_was_planned_so(corpus, run, tmp_path):
    longer = replace(SMALL, tokens=64 * 150, restart_tokens=64 * 120, evaluate_every=30)
    planned, gone_on = tmp_path / "planned", tmp_path / "gone-on"
    shutil.copytree(run, gone_on)
    for folder in (planned, gone_on):
        train_lm(longer, corpus, folder, progress=lambda line: None)
    ends = (checkpoints(folder)[-1] for folder in (planned, gone_on))
    first, second = (load_file(end / "model.safetensors") for end in ends)
    assert all(torch.equal(first[name], second[name]) for name in first)
    before = load_file(checkpoints(run)[-1] / "model.safetensors")
    assert not torch.equal(before["gpt_neox.embed_in.weight"], first["gpt_neox.embed_in.weight"])
    rates = [json.loads(line)["learning_rate"] for line in (planned / "log.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([0.02, 0.02, 0.02, 0.02 / 24, 0.02 / 6])  # of steps 29, 59, 89, 119 and 149


def test_a_run_killed_after_its_restart_ends_as_if_it_had_never_stopped(corpus, tmp_path):
    config = replace(SMALL, tokens=64 * 70, restart_tokens=64 * 30, evaluate_every=50)

    def kill(line: str) -> None:
        raise KeyboardInterrupt

    train_lm(config, corpus, tmp_path / "whole", progress=lambda line: None)
    with pytest.raises(KeyboardInterrupt):
        train_lm(
            config, corpus, tmp_path / "killed", progress=kill
        )  # at step 50; the checkpoint is of step 40
    train_lm(config, corpus, tmp_path / "killed", progress=lambda line: None)
    for name in ("model.safetensors", "optimizer.safetensors"):
        ends = (checkpoints(tmp_path / folder)[-1] for folder in ("whole", "killed"))
        whole, killed = (load_file(end / name) for end in ends)
        assert all(torch.equal(whole[key], killed[key]) for key in whole)


def test_a_restart_is_neither_put_nor_taken_away_where_the_run_has_been(corpus, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    longer = replace(SMALL, tokens=64 * 150)
    for restart in (64 * 100, 64 * 119):
        with pytest.raises(ValueError, match=r"7680 tokens old, to keep its restart at 0 tokens, found"):
            train_lm(replace(longer, restart_tokens=restart), corpus, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["restart_tokens"] == 0
    with pytest.raises(ValueError, match=r"restart_tokens of more than warmup_steps=5, found 5"):
        replace(longer, restart_tokens=64 * 5)


def test_steps_in_bfloat16_take_the_path_of_float32(corpus, run, tmp_path):
    train_lm(replace(SMALL, bfloat16=True), corpus, tmp_path, progress=lambda line: None)
    texts = ((folder / "quality.json").read_text() for folder in (run, tmp_path))
    exact, rounded = (json.loads(text)["quality"] for text in texts)
    assert rounded["bits_per_byte"] != exact["bits_per_byte"]
    assert rounded["bits_per_byte"] == pytest.approx(exact["bits_per_byte"], rel=0.1)
    stored = load_file(checkpoints(tmp_path)[-1] / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def test_the_finished_model_is_an_ordinary_folder(run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    trained = load_file(checkpoints(run)[-1] / "model.safetensors")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.data, trained[name].half().float(), rtol=0, atol=0)
    assert tokenizer.decode(tokenizer("one two  naïve\n")["input_ids"]) == "one two  naïve\n"
    assert (
        tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids(END_OF_TEXT) == 0
    )
    assert len(tokenizer) == model.config.vocab_size == SMALL.vocab
    stored = load_file(run / "model" / "model.safetensors")
    assert set(stored) == set(trained)  # the tied embedding is stored once


def test_windows_score_each_token_once_with_the_history_they_reach():
    torch.manual_seed(0)
    model = new_model(SMALL).eval()
    ids = torch.randint(0, 300, (53,))
    expected = []
    for at in range(1, 53):
        start = 0 if at <= 16 else 8 * math.ceil((at - 16) / 8)
        with torch.no_grad():
            logits = model(ids[None, start:at]).logits[0, -1]
        expected.append(logits.log_softmax(-1)[ids[at]])
    found = log_probabilities(LanguageModel(model, None, name="new"), [ids, ids[:2]], context=16)
    every = torch.stack([*expected, expected[0]])
    torch.testing.assert_close(found.sort().values, every.sort().values)


def test_an_epoch_visits_each_block_once():
    stream = np.arange(16 * 40 + 1).astype(np.uint16)
    batches = [batch_of(stream, step, SMALL) for step in range(10)]
    assert sorted(torch.cat(batches)[:, 0].tolist()) == list(range(0, 16 * 40, 16))
    assert all((blocks[:, -1] - blocks[:, 0] == 16).all() for blocks in batches)
    second_epoch = torch.cat([batch_of(stream, step, SMALL) for step in range(10, 20)])
    assert not torch.equal(second_epoch, torch.cat(batches))


def test_seen_tokens_are_those_that_the_steps_predict():
    stream = np.arange(16 * 40 + 1).astype(np.uint16)
    config = replace(SMALL, tokens=64 * 7)
    predicted = torch.cat([batch_of(stream, step, config)[:, 1:] for step in range(7)])
    assert np.flatnonzero(seen_tokens(stream, config)).tolist() == sorted(predicted.flatten().tolist())


def test_a_run_ends_with_its_quality_beside_the_baselines(run):
    saved = json.loads((run / "quality.json").read_text())
    quality = saved["quality"]
    assert quality["tokens_trained"] == SMALL.tokens
    assert quality["trigram_whole_corpus"] <= quality["trigram"] < quality["bigram"] < quality["unigram"]
    assert quality["bits_per_byte"] < quality["unigram"]
    assert f"{quality['bits_per_byte']:.3f} bits per byte" in saved["note"]
    assert saved["versions"]["torch"] == torch.__version__


def test_the_rate_warms_up_stays_and_decays():
    config = replace(SMALL, tokens=64 * 100, warmup_steps=10, decay_share=0.2, learning_rate=1.0)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:80] == pytest.approx([1.0] * 71)
    assert rates[99] == pytest.approx(1 / 20)
    assert replace(config, tokens=64 * 200).rate(150) == 1.0  # a longer budget moves the decay back


def test_a_document_begins_with_the_end_of_text_token(run):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    stream = encode(["one two", "three"], tokenizer)
    assert (stream == 0).sum() == 2
    assert stream[0] == 0
    assert tokenizer.decode(stream[1:3].tolist()) == "one two"[: len(tokenizer.decode(stream[1:3].tolist()))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "expected heads that divide width, found width=16 and heads=3"),
        ({"tokens": 64}, "expected more steps than warmup_steps=5, found 1"),
        ({"batch": 0}, "expected batch > 0, found 0"),
        ({"seed": -1}, r"expected a seed from 0 to 2\*\*40 - 1, found -1"),
        ({"learning_rate": float("nan")}, "expected learning_rate > 0, found nan"),
        ({"weight_decay": -0.1}, "expected weight_decay of 0 or more, found -0.1"),
        ({"decay_share": 2.0}, r"expected decay_share in \[0, 1\], found 2.0"),
    ],
)
def test_a_config_that_cannot_work_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_bad_input_is_refused(corpus, run, tmp_path):
    with pytest.raises(ValueError, match=r"expected a corpus with documents\.jsonl in .*, found none"):
        train_lm(SMALL, tmp_path / "nothing", tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected text that fills a vocabulary of 9000, found only"):
        train_lm(replace(SMALL, vocab=9000), corpus, tmp_path / "b")
    with pytest.raises(ValueError, match=r"expected a vocabulary of 257 .*, found 99"):
        train_lm(replace(SMALL, vocab=99), corpus, tmp_path / "c")
    with pytest.raises(
        ValueError, match=r"expected more than context=100000 tokens in the train split, found"
    ):
        train_lm(replace(SMALL, context=100_000, tokens=10**7), corpus, tmp_path / "d")
    with pytest.raises(ValueError, match=r"to go on with seed=0, found seed=1: give another folder"):
        train_lm(replace(SMALL, seed=1), corpus, run)
    with pytest.raises(ValueError, match=r"expected documents to score, found none"):
        evaluate_lm(run / "model", [])


def test_the_bundled_model_is_what_its_recipe_says():
    from transformers import AutoConfig

    bundled = Path(__file__).parent.parent / "real" / "bundled"
    recipe = LMConfig(**tomllib.loads((bundled / "train_lm.toml").read_text()))
    shape = AutoConfig.from_pretrained(bundled / "model")
    found = shape.num_hidden_layers, shape.hidden_size, shape.num_attention_heads, shape.intermediate_size
    assert found == (recipe.layers, recipe.width, recipe.heads, recipe.mlp)
    assert (shape.max_position_embeddings, shape.vocab_size) == (recipe.context, recipe.vocab)
    saved = json.loads((bundled / "quality.json").read_text())
    assert saved["quality"]["tokens_trained"] == recipe.steps * recipe.batch * recipe.context
    card = (bundled / "MODEL_CARD.md").read_text()
    for name in ("bits_per_byte", "trigram", "trigram_whole_corpus", "bigram", "unigram"):
        assert f"{saved['quality'][name]:.3f}" in card
