"""Training is determined by its seed and can be resumed; the released format is what was written.
Run: python3 tools/train/test_training.py
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import torch
except ImportError:
    sys.exit("test_training: skipped, PyTorch is not installed")

import numpy as np

import phases
from checkpoint import decode, export, load, load_masters, load_slim, read_safetensors, save_slim
from config import Config
from model import Model
from move_streams import moved
from quantize import quantize_weight

HERE = os.path.dirname(os.path.abspath(__file__))
ALPHABET = [chr(c) for c in range(97, 123)]


def small_config():
    """Every part of the architecture at its smallest."""
    return Config(
        vocab_size=64, hidden_size=32, moe_intermediate_size=32, num_attention_heads=2, head_dim=32,
        qk_rope_head_dim=16, q_lora_rank=32, o_lora_rank=32, index_n_heads=2, index_head_dim=32,
        index_topk=8, candidate_topk_blocks=4, candidate_block_size=4, sliding_window=16,
        engram_vocab_size=50, n_routed_experts=4, dspark_n_routed_experts=2, dspark_markov_rank=8,
        dspark_noise_token_id=63, image_token_id=62,
    )  # fmt: skip


def write_inputs(directory):
    """A config, a tokenizer of single letters and rows of random text."""
    small_config().save(os.path.join(directory, "config.json"))
    vocabulary = {t: i for i, t in enumerate(["<b>", "<e>", "<p>", *ALPHABET])}
    with open(os.path.join(directory, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump({"model": {"vocab": vocabulary}}, file)
    write_rows(directory, 1, 8)
    os.makedirs(os.path.join(directory, "more"))
    write_rows(os.path.join(directory, "more"), 2, 12)


def write_rows(directory, seed, rows):
    tokens = np.random.default_rng(seed).integers(3, 29, size=(rows, 65)).astype("<u2")
    tokens.tofile(os.path.join(directory, "tokens.u16"))
    np.full((rows, 65), 255, dtype=np.uint8).tofile(os.path.join(directory, "weights.u8"))
    with open(os.path.join(directory, "meta.json"), "w", encoding="utf-8") as file:
        json.dump({"rows": rows, "row_length": 65}, file)


def train(inputs, out, *more):
    command = [sys.executable, os.path.join(HERE, "train.py"), "--device", "cpu"]
    command += ["--data", inputs, f"{inputs}/more", "--first-until", "0.3"]
    command += ["--tokenizer", f"{inputs}/tokenizer.json"]
    if "--start-from" not in more:
        command += ["--config", f"{inputs}/config.json"]
    command += ["--out", out, "--batch", "2", "--length", "64", "--steps", "4", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    with open(os.path.join(out, "model.safetensors"), "rb") as file:
        return file.read()


def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class TrainingTest(unittest.TestCase):
    def test_same_seed_same_model_and_resumed(self):
        with tempfile.TemporaryDirectory() as root:
            inputs, one, two, three = (os.path.join(root, n) for n in ("in", "1", "2", "3"))
            os.makedirs(inputs)
            write_inputs(inputs)
            whole = train(inputs, one)
            self.assertEqual(whole, train(inputs, two))
            train(inputs, three, "--stop-after", "2")
            self.assertEqual(whole, train(inputs, three, "--resume"))
            self.assertNotEqual(whole, train(inputs, two, "--seed", "2"))

    def test_a_run_that_starts_from_a_released_model_moves_its_weights_only_by_learning(self):
        with tempfile.TemporaryDirectory() as root:
            inputs, one, still, moved = (os.path.join(root, n) for n in ("in", "1", "2", "3"))
            os.makedirs(inputs)
            write_inputs(inputs)
            train(inputs, one)
            train(inputs, still, "--start-from", one, "--rate", "0")
            train(inputs, moved, "--start-from", one)
            released, same, other = (read_safetensors(f"{d}/model.safetensors") for d in (one, still, moved))
            changed = 0
            for name, (dtype, _) in released.items():
                if name.endswith("gate.bias") or dtype == "F8_E8M0":
                    continue  # experts are balanced at any rate; scales come with their tensor
                self.assertTrue(torch.equal(decode(released, name), decode(same, name)), name)
                changed += not torch.equal(decode(released, name), decode(other, name))
            self.assertGreater(changed, 20)
            self.assertEqual(read_text(f"{one}/config.json"), read_text(f"{still}/config.json"))

    def test_the_head_goes_on_tied_to_the_embedding(self):
        with tempfile.TemporaryDirectory() as root:
            model = Model(small_config(), list(range(29)), seed=3)
            export(model, f"{root}/model.safetensors")
            again = Model(small_config(), list(range(29)), seed=4)
            load_masters(again, f"{root}/model.safetensors")
            self.assertEqual(model.parameters.tie, again.parameters.tie)
            head = quantize_weight(model.parameters.value("head"), "bf16")
            self.assertLess((again.parameters.value("head") - head).abs().max(), 1e-6)

    def test_a_moved_stream_begins_as_the_window_of_its_layer(self):
        with tempfile.TemporaryDirectory() as root:
            write_inputs(root)
            config, weights = small_config(), f"{root}/model.safetensors"
            model = Model(config, list(range(29)), seed=3)
            export(model, weights)
            config = small_config()
            config.compress_ratios = [0, 2, 2, 1, 1, 1, 1, 1, 0, 0]
            config.kv_source_layer_ids, config.index_source_layer_ids = [1, 3], [1, 3, 6, 7]
            config.candidate_source_layer_id = 3
            after, new = moved(config, f"{root}/tokenizer.json", weights)
            self.assertEqual({name.split(".")[1] for name in new}, {"3"})
            w = after.weights()
            self.assertTrue(torch.equal(w["layers.3."]["attn.compressor.wkv"], w["layers.3."]["attn.wkv"].bfloat16().float()))
            load(model, weights)
            kept = model.weights()
            for key in ("attn.wkv", "attn.indexer.wq_b", "ffn.experts.w1"):
                self.assertTrue(torch.equal(w["layers.6."][key], kept["layers.6."][key]), key)

    def test_a_run_that_goes_on_reads_and_rounds_as_released(self):
        for fraction in (0.0, 0.5, 1.0):
            place = phases.continued(fraction)
            self.assertEqual(1.0, phases.rounding(place))
            self.assertAlmostEqual(64, phases.readable_rows(place, 2048, 64))
        self.assertEqual(1.0, phases.learning_rate(phases.continued(0.0)))
        self.assertAlmostEqual(0.02, phases.learning_rate(phases.continued(1.0)))

    def test_the_released_format_holds_the_rounded_weights(self):
        with tempfile.TemporaryDirectory() as root:
            model = Model(small_config(), list(range(29)), seed=3)
            wanted = {k: quantize_weight(model.parameters.value(k), s.kind) for k, s in model.parameters.stacks.items()}
            export(model, f"{root}/model.safetensors")
            save_slim(model, root)
            again = Model(small_config(), list(range(29)), seed=4)
            load(again, f"{root}/model.safetensors")
            for key, value in wanted.items():
                self.assertTrue(torch.equal(again.parameters.tensor(key), value), key)
            load_slim(again, root)
            for key in wanted:
                difference = (again.parameters.tensor(key) - model.parameters.value(key)).abs()
                self.assertLessEqual(difference.max(), model.parameters.value(key).abs().max() / 200)


if __name__ == "__main__":
    unittest.main()
