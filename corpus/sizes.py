"""What fields of configurations are called, and how small they become."""

from collections.abc import Mapping
from typing import Any

VOCABULARY = 160
POSITIONS = 512
HIDDEN = 64
HEADS = 4
HEAD = 16
WINDOW = 24

_BY_VALUE: Mapping[int, str] = {
    VOCABULARY: "vocab_size vocab_size_per_layer_input decoder_vocab_size unpadded_vocab_size",
    POSITIONS: """max_position_embeddings n_positions n_ctx max_seq_len seq_length context_length
    model_max_length max_target_positions original_max_position_embeddings""",
    HIDDEN: """hidden_size d_model n_embd embedding_dim embedding_size word_embed_proj_dim emb_dim
    lru_width attention_hidden_size linear_hidden_size mamba_d_ssm input_embedding_size
    output_embedding_size""",
    96: """intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim n_inner d_inner dff dim_ff
    ffn_hidden_size intermediate_size_mlp dense_intermediate_size feed_forward_size
    shared_intermediate_size""",
    48: """moe_intermediate_size expert_ffn_hidden_size shared_expert_intermediate_size
    moe_shared_expert_intermediate_size shared_experts_intermediate_size""",
    HEADS: """num_attention_heads n_head n_heads num_heads decoder_attention_heads
    encoder_attention_heads attention_heads num_decoder_attention_heads swa_num_attention_heads
    linear_num_value_heads linear_num_heads mamba_num_heads index_n_heads
    num_encoder_attention_heads""",
    2: """num_key_value_heads num_kv_heads swa_num_key_value_heads linear_num_key_heads n_groups
    mamba_n_groups mamba_ngroups num_query_groups num_experts_per_tok num_experts_per_token
    moe_topk moe_k n_group num_expert_group num_mem_blocks num_nextn_predict_layers o_groups
    num_layers_per_stack altup_num_inputs hc_mult hc_count""",
    HEAD: """head_dim swa_head_dim global_head_dim dim_head d_head d_kv linear_key_head_dim
    linear_value_head_dim linear_head_dim kv_channels mamba_head_dim mamba_headdim v_head_dim
    qk_nope_head_dim index_head_dim attention_head_dim hidden_size_per_layer_input laurel_rank
    attention_head_size qk_rope_head_dim mamba_d_state ssm_state_size state_size router_hidden_size
    mamba_chunk_size chunk_size ple_embed_dim d_rel gated_norm_rank hc_lowrank adapter_rank
    o_lora_rank""",
    8: """rotary_dim num_experts n_routed_experts num_local_experts
    moe_num_experts time_step_rank mamba_dt_rank index_topk""",
    32: "q_lora_rank kv_lora_rank",
    2 * HEAD: "qk_head_dim",
    1: """topk_group first_k_dense_replace n_shared_experts num_shared_experts
    moe_num_shared_experts num_dense_layers moe_layer_start_index num_kv_shared_layers
    zero_expert_num""",
}
SIZES: Mapping[str, Any] = {
    name: value for value, names in _BY_VALUE.items() for name in names.split()
} | {"is_decoder": True, "layers": 2, "mamba_d_head": 32, "mamba_n_heads": 4, "expand": 2}
"""Field → small value.  `layers` is the least number of layers."""

LAYER_COUNTS = """num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers
num_decoder_layers num_encoder_layers num_blocks""".split()
"""Fields that count layers."""

WINDOWS: Mapping[str, int] = dict.fromkeys(
    """sliding_window sliding_window_size attention_window_size window_size local_attention
    attention_chunk_size keep_window_size rel_extent""".split(),
    WINDOW,
)
"""Fields that are a window over the sequence: smaller than the sequences of the proof."""

BUILT_IN = ("transformers_version", "id2label", "label2id")
"""Fields that no configuration takes back."""

VARIANTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"num_key_value_heads": HEADS, "num_kv_heads": HEADS, "num_query_groups": HEADS},
    {"layers": 4},
    {"head_dim": 32, "hidden_size": 128, "layers": 4},
    {"n_group": 1, "num_attention_heads": 8, "hidden_size": 128},
    {"linear_num_key_heads": HEADS, "num_experts_per_tok": 1},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "head_dim": HEAD},
)
"""What else is tried where the first does not work."""
