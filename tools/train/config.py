"""Shape of a V4.1 text model, read from and written as the released config.json.

Spec: deepseek-v4.1.md section 1. Field names are those of `text_config`.
"""

import json
from dataclasses import asdict, dataclass, field, fields


@dataclass
class Config:
    """Everything that sizes the network. The defaults are the built-in model, `mini`."""

    vocab_size: int = 4096
    hidden_size: int = 192
    moe_intermediate_size: int = 128
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    head_dim: int = 64
    qk_rope_head_dim: int = 32
    q_lora_rank: int = 96
    o_lora_rank: int = 96
    o_groups: int = 2
    swiglu_limit: float = 10.0
    rms_norm_eps: float = 1e-20
    max_position_embeddings: int = 1048576
    rope_theta: float = 10000
    compress_rope_theta: float = 160000
    # Frequencies with fewer than beta_slow turns within the trained length are all but stopped, so
    # that no angle at a long distance is one that training has not shown.
    rope_scaling: dict = field(
        default_factory=lambda: {
            "rope_type": "yarn",
            "factor": 65536,
            "beta_fast": 32,
            "beta_slow": 8,
            "original_max_position_embeddings": 2048,
        }
    )
    n_routed_experts: int = 8
    num_experts_per_tok: int = 2
    routed_scaling_factor: float = 1.5
    sliding_window: int = 128
    # The stream of ratio 1 begins where the heads that find words again stand (layers 6 and 7): its rows hold
    # what the five layers before found out about a word's neighbours. From layer 4 on, only digits were found.
    compress_ratios: list = field(default_factory=lambda: [0, 2, 2, 2, 2, 2, 1, 1, 0, 0])
    kv_source_layer_ids: list = field(default_factory=lambda: [1, 6])
    index_source_layer_ids: list = field(default_factory=lambda: [1, 3, 6, 7])
    index_n_heads: int = 4
    index_head_dim: int = 32
    index_topk: int = 64
    candidate_source_layer_id: int = 6
    candidate_topk_blocks: int = 64
    candidate_block_size: int = 8
    hc_mult: int = 4
    # The mixes of a small model do not converge in a few rounds: it must run with those it learned with.
    hc_sinkhorn_iters: int = 6
    hc_eps: float = 1e-6
    engram_layer_ids: list = field(default_factory=lambda: [1, 3])
    engram_num_embeddings: list = field(default_factory=list)  # follows from the primes
    engram_max_ngram_size: int = 4
    engram_vocab_size: int = 6000
    engram_n_heads: int = 2
    engram_head_dim: int = 32
    engram_pad_token_id: int = 2
    engram_compressed_vocab_size: int = 0  # follows from the tokenizer
    num_nextn_predict_layers: int = 2
    dspark_block_size: int = 4
    dspark_noise_token_id: int = 4094
    dspark_target_layer_ids: list = field(default_factory=lambda: [5, 6, 7])
    dspark_markov_rank: int = 32
    dspark_n_routed_experts: int = 4
    dspark_num_experts_per_tok: int = 2
    bos_token_id: int = 0
    eos_token_id: int = 1
    pad_token_id: int = 2
    image_token_id: int = 4095

    @staticmethod
    def load(path):
        """The config of a released config.json."""
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
        text = {**root["text_config"]}
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "image_token_id"):
            if name in root:
                text[name] = root[name]
        known = {f.name for f in fields(Config)}
        return Config(**{k: v for k, v in text.items() if k in known})

    def released(self):
        """The JSON object of config.json."""
        text = asdict(self)
        root = {
            "architectures": ["DeepseekV41ForCausalLM"],
            "model_type": "deepseek_v41",
            "dtype": "bfloat16",
        }
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "image_token_id"):
            root[name] = text.pop(name)
        root["quantization_config"] = {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [32, 32],
            "scale_fmt": "ue8m0",
            "expert_dtype": "fp4",
        }
        root["text_config"] = {
            "model_type": "deepseek_v41_text",
            "num_key_value_heads": 1,
            "n_shared_experts": 1,
            "hidden_act": "silu",
            "scoring_func": "sqrtsoftplus",
            "topk_method": "noaux_tc",
            "norm_topk_prob": True,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": True,
            "tie_word_embeddings": False,
            **text,
        }
        return root

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.released(), file, indent=1)
            file.write("\n")

    def engram_columns(self):
        """Table rows read per token: n-gram sizes 2 and up, each with its hash heads."""
        return (self.engram_max_ngram_size - 1) * self.engram_n_heads

    def kv_source_of(self, layer):
        """The layer whose compressed rows `layer` reads."""
        return max(s for s in self.kv_source_layer_ids if s <= layer)

    def index_source_of(self, layer):
        """The layer whose selection `layer` reads."""
        return max(s for s in self.index_source_layer_ids if s <= layer)
