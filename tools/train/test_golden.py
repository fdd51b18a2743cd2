"""The PyTorch model against golden data: loads the tiny V4.1 checkpoint of tests/golden and compares
logits, selections and drafts in f32. Run: python3 tools/train/test_golden.py
"""

import os
import sys
import unittest

try:
    import torch
except ImportError:
    sys.exit("test_golden: skipped, PyTorch is not installed")

from checkpoint import load, read_safetensors
from config import Config
from engram import token_map
from model import Model

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "..", "tests", "golden", "v41-tiny-a")


def golden():
    raw = {}
    from checkpoint import _NUMPY

    _NUMPY.update({"I64": "int64", "I32": "int32"})
    for name, (dtype, values) in read_safetensors(os.path.join(GOLDEN, "golden.safetensors")).items():
        raw[name] = torch.from_numpy(values.copy()) if values.dtype != "uint16" else values
    return raw


class GoldenTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        config = Config.load(os.path.join(GOLDEN, "config.json"))
        cls.rows = list(config.engram_num_embeddings)
        cls.vocabulary = config.engram_compressed_vocab_size
        cls.map = token_map(os.path.join(GOLDEN, "tokenizer.json"))
        cls.model = Model(config, cls.map)
        load(cls.model, os.path.join(GOLDEN, "model.safetensors"))
        cls.golden = golden()
        cls.ids = torch.cat((cls.golden["ids.prefill"], cls.golden["ids.decode"])).long()
        cls.model.trace = {}
        with torch.no_grad():
            cls.weights = cls.model.weights()
            cls.normed, cls.hidden, _ = cls.model.forward(cls.weights, cls.ids[None])
            cls.logits = cls.model.logits(cls.weights, cls.normed)[0]

    def test_token_map_and_hash(self):
        self.assertEqual(self.map, self.golden["engram.token_map"].tolist()[: len(self.map)])
        self.assertEqual(self.model.config.engram_compressed_vocab_size, self.vocabulary)
        self.assertEqual(self.model.config.engram_num_embeddings, self.rows)
        rows = self.model.hash(self.ids[None])[:, 0]  # layers, tokens, columns
        rows[1] -= self.rows[0]
        self.assertTrue(torch.equal(rows.transpose(0, 1), self.golden["hash_ids"].long()))

    def test_logits(self):
        difference = (self.logits - self.golden["f32.logits"]).abs().max().item()
        print(f"largest difference of a logit: {difference:.2e}")
        self.assertLess(difference, 2e-4)

    def test_selections(self):
        for layer in self.model.config.index_source_layer_ids:
            mask = self.model.trace[f"selected.L{layer}"][0]
            listed = self.golden[f"f32.topk.L{layer}"].long()
            expected = torch.zeros_like(mask)
            for t, row in enumerate(listed):
                expected[t, row[row >= 0]] = True
            self.assertTrue(torch.equal(mask, expected), f"layer {layer}")

    def test_drafts(self):
        first = len(self.golden["ids.prefill"])
        tokens = self.golden["f32.spec.tokens"].long()  # [40, block + 1]
        anchors = torch.arange(first, first + len(tokens))
        with torch.no_grad():
            x, logits = self.model.draft(self.weights, self.hidden, anchors, tokens[None, :, 0])
            drafted = tokens[None, :, :1]
            for i in range(self.model.config.dspark_block_size):
                row, _ = logits(drafted[:, :, i : i + 1], slice(i, i + 1))
                if i < len(self.golden["f32.spec.logits"][0]):
                    wanted = self.golden["f32.spec.logits"][:, i]
                    got = row[0, : len(wanted), 0]
                    self.assertLess((got - wanted).abs().max().item(), 5e-4)
                drafted = torch.cat((drafted, row.argmax(-1)), -1)
        self.assertTrue(torch.equal(drafted[0], tokens))


if __name__ == "__main__":
    unittest.main()
