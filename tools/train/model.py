"""The V4.1 text model. Spec: deepseek-v4.1.md section 4."""

import torch
import torch.nn.functional as F

from attention import attend, attend_flex, compress, compressed_rows, output, project, with_sink
from dspark import draft_hidden, draft_logits
from engram import EngramHash, Rows, inject
from hyper_connections import enter, final, leave
from indexer import (
    attention_mass,
    candidate_rows,
    index_keys,
    index_loss,
    index_queries,
    select,
    select_exactly,
)
from moe import moe
from parameters import Parameters
from region import region
from rope import angles, frequencies


@region
def mean_copies(h):
    return h.float().mean(-2).to(h.dtype)


class Model:
    """Forward passes over Parameters. Holds no state between calls but `loads` and `index_losses`."""

    def __init__(self, config, compressed_ids, seed=0, dtype=torch.float32):
        config.engram_compressed_vocab_size = max(compressed_ids) + 1
        self.hash = EngramHash(config, compressed_ids)
        config.engram_num_embeddings = self.hash.rows
        self.config = config
        self.dtype = dtype
        self.parameters = Parameters(config, seed)
        self.plain = frequencies(config.rope_theta, config.qk_rope_head_dim)
        self.yarn = frequencies(config.compress_rope_theta, config.qk_rope_head_dim, config.rope_scaling)
        self.hc = (config.hc_sinkhorn_iters, config.hc_eps, config.rms_norm_eps)
        self.masks = None  # FlexMasks, where FlexAttention is used
        self.fused = None  # fused_attention.fused, where that is used
        self.trace = None  # a dict, to look inside
        self.live_engram = True
        self.loads = {}

    def to(self, device):
        self.parameters.to(device)
        self.hash.to(device)
        self.plain, self.yarn = self.plain.to(device), self.yarn.to(device)
        return self

    def angles(self, ratio, positions):
        return angles(positions, self.yarn if ratio else self.plain)

    def identity(self, h):
        pre = torch.zeros(h.shape[:-1], device=h.device)
        pre[..., 0] = 1
        return pre

    def experts(self, p, tag=""):
        routed = [p[f"{tag}ffn.experts.{name}"] for name in ("w1", "w2", "w3")]
        shared = [p[f"ffn.shared_experts.{name}"] for name in ("w1", "w2", "w3")]
        return [p[tag + "ffn.gate"], p[tag + "ffn.gate.bias"], *routed, *shared]

    def note_load(self, tag, owner, load):
        self.loads.setdefault(tag, {})[owner] = load

    def weights(self, amount=None):
        return self.parameters.used(amount, self.dtype)

    def forward(self, w, tokens, amount=None, count=None, samples=None):
        """(normed hidden rows [B, L, D], draft input [B, L, targets * D], index loss).

        w: from `weights`. amount: how much of the released formats' rounding to apply. count: rows
        a query may read, a tensor; None: the config's, chosen exactly. samples [n]: the positions
        at which the indexer learns; None: it does not.
        """
        c = self.config
        self.loads = {}
        b, length = tokens.shape
        positions = torch.arange(length, device=tokens.device)
        h = Rows.apply(w[""]["embed"], tokens)
        h = h.unsqueeze(-2).expand(b, length, c.hc_mult, -1).contiguous()
        pre = self.identity(h)
        streams = Streams(self, w, count, samples, amount)
        table_rows = self.hash(tokens)
        targets = []
        for i in range(c.num_hidden_layers):
            p = w[f"layers.{i}."]
            if i in c.engram_layer_ids and self.live_engram:
                rows = table_rows[c.engram_layer_ids.index(i)]
                e = Rows.apply(w[""]["engram.embed"], rows).flatten(-2)
                h = inject(h, e, p["engram.wkv"], p["engram.q_weight"], p["engram.k_weight"], c.rms_norm_eps, amount)  # fmt: skip
            if i in c.dspark_target_layer_ids:
                targets.append(mean_copies(h))
            y, attn_pre, post, comb = enter(h, pre, p["hc_attn_fn"], p["hc_attn_scale"], p["hc_attn_base"], p["attn_norm"], *self.hc)  # fmt: skip
            y = self.attention(i, p, y, positions, streams, amount)
            h = leave(y, h, post, comb)
            y, pre, post, comb = enter(h, attn_pre, p["hc_ffn_fn"], p["hc_ffn_scale"], p["hc_ffn_base"], p["ffn_norm"], *self.hc)  # fmt: skip
            y, load = moe(y, *self.experts(p), c.num_experts_per_tok, c.routed_scaling_factor, c.swiglu_limit, amount)  # fmt: skip
            self.note_load("", f"layers.{i}.", load)
            h = leave(y, h, post, comb)
            if self.trace is not None:
                self.trace[f"h.L{i}"] = h
        _, normed = final(h, pre, w[""]["norm"], c.rms_norm_eps)
        hidden = torch.cat(targets, -1).detach() if targets else None
        return normed, hidden, streams.finish()

    def attention(self, i, p, x, positions, streams, amount):
        c = self.config
        ratio = c.compress_ratios[i]
        cos, sin = self.angles(ratio, positions)
        latent, q, kv = project(x, p["attn.wq_a"], p["attn.q_norm"], p["attn.wq_b"], p["attn.wkv"], p["attn.kv_norm"], cos, sin, c.head_dim, c.rms_norm_eps, amount)  # fmt: skip
        if ratio:
            streams.publish(i, p, x, latent, cos, sin)
        sink = p["attn.attn_sink"]
        compressed = streams.compressed if ratio else None
        if self.fused is not None:
            selected = streams.selected if ratio else None
            o, lse = self.fused(q, kv, compressed, selected, c.sliding_window, ratio)
            o, lse = with_sink(o.transpose(1, 2), lse.transpose(1, 2), sink)
        elif self.masks is not None:
            mask = self.masks.mask(c.index_source_of(i) if ratio else None, ratio)
            o, lse = attend_flex(q, kv, compressed, mask, sink)
        else:
            selected = streams.selected if ratio else None
            o, lse = attend(q, kv, compressed, selected, sink, c.sliding_window)
        if ratio:
            streams.observe(q, lse, ratio)
        return output(o, p["attn.wo_a"], p["attn.wo_b"], cos, sin, c.o_groups, amount)

    def logits(self, w, normed):
        return F.linear(normed, w[""]["head"]).float()

    def draft(self, w, hidden, anchors, first_tokens, amount=None):
        """Draft rows and a function that gives row i's logits from the token before."""
        last = w[f"mtp.{self.config.num_nextn_predict_layers - 1}."]
        x, normed = draft_hidden(self, w, hidden, anchors, first_tokens, amount)
        head = w[""]["head"].detach()

        def logits(previous, rows=slice(None)):
            return draft_logits(normed[:, :, rows], head, previous, last["markov_head.embed"], last["markov_head.head"])  # fmt: skip

        return x, logits


class Streams:
    """What source layers publish for the layers after them, and the indexer's lessons."""

    def __init__(self, model, w, count, samples, amount):
        self.model, self.w, self.count, self.samples, self.amount = model, w, count, samples, amount
        self.compressed = self.keys = self.selected = self.candidates = None
        self.lesson = None  # (queries, head weights, keys, ratio) of the latest index source
        self.mass = None
        self.losses = []

    def publish(self, i, p, x, latent, cos, sin):
        c = self.model.config
        ratio = c.compress_ratios[i]
        if i in c.kv_source_layer_ids:
            wgate = p.get("attn.compressor.wgate")
            latents = compress(x, p["attn.compressor.wkv"], wgate, p["attn.compressor.norm"], c.rms_norm_eps, ratio)  # fmt: skip
            starts = slice(0, latents.shape[1] * ratio, ratio)
            row_cos, row_sin = cos[starts].contiguous(), sin[starts].contiguous()
            self.compressed = compressed_rows(latents, row_cos, row_sin, self.amount)
            self.keys = index_keys(latents, p["attn.indexer.wk"], p["attn.indexer.k_norm"], row_cos, row_sin, c.rms_norm_eps, self.amount)  # fmt: skip
        if i in c.index_source_layer_ids:
            self.learn()
            q, hw = index_queries(latent, x, p["attn.indexer.wq_b"], p["attn.indexer.weights_proj"], cos, sin, c.index_head_dim, self.amount)  # fmt: skip
            self.lesson = (q, hw, self.keys, ratio)
            self.choose(i, q.detach(), hw.detach(), self.keys.detach(), ratio)

    def choose(self, i, q, hw, keys, ratio):
        c = self.model.config
        source = c.candidate_source_layer_id
        is_source = i == source
        obeys = source is not None and i > source
        with torch.no_grad():
            if self.count is None:
                blocks = c.candidate_topk_blocks if is_source else None
                chosen, published = select_exactly(
                    q, hw, keys, ratio, c.index_topk, self.candidates if obeys else None, blocks, c.candidate_block_size
                )  # fmt: skip
                if is_source:
                    self.candidates = published
            else:
                if is_source:
                    blocks = (self.count / c.index_topk * c.candidate_topk_blocks)
                    self.candidates = candidate_rows(q, hw, keys, blocks, c.candidate_block_size)
                chosen = select(q, hw, keys, self.count, ratio, self.candidates if obeys else None)
            if self.model.masks is not None:
                self.model.masks.buffer(i, chosen.shape[-1]).copy_(chosen)
            self.selected = chosen
        if self.model.trace is not None:
            self.model.trace[f"selected.L{i}"] = chosen

    def observe(self, q, lse, ratio):
        """Adds a layer's attention mass on the compressed rows to the current lesson."""
        if self.samples is None:
            return
        s = self.samples
        mass = attention_mass(
            q.detach().index_select(1, s), self.compressed.detach(), lse.detach().index_select(1, s), s, ratio, self.model.config.head_dim
        )  # fmt: skip
        self.mass = mass if self.mass is None else self.mass + mass

    def learn(self):
        if self.samples is None or self.lesson is None:
            return
        q, hw, keys, ratio = self.lesson
        s = self.samples
        self.losses.append(index_loss(q.index_select(1, s), hw.index_select(1, s), keys, self.mass, s, ratio))
        self.lesson = self.mass = None

    def finish(self):
        self.learn()
        return torch.stack(self.losses).sum() if self.losses else None
