/* SPDX-License-Identifier: MIT
 * Changes of a fixture's config.json that nothing can be run with, and words of the message. */
#ifndef TEST_DECODE_ARCHS_REFUSED_H
#define TEST_DECODE_ARCHS_REFUSED_H

#include "nibble.h"

static const struct {
    const char *name, *from, *to;
    nib_status code;
    const char *part, *also; /* of the message */
} refused[] = {
    {"codegen", "\"n_head\": 4", "\"n_head\": 5", NIB_ERR_FORMAT, "n_head", "multiple of 4"},
    {"codegen", "\"n_head\": 4", "\"n_head\": 3", NIB_ERR_FORMAT, "n_head", "divisor"},
    {"codegen", "\"n_head\": 4", "\"n_head\": \"4\"", NIB_ERR_FORMAT, "n_head", "integer"},
    {"codegen", "\"n_layer\": 2", "\"n_layers\": 2", NIB_ERR_FORMAT, "n_layer", "no such key"},
    {"codegen", "\"n_layer\": 2", "\"n_layer\": null", NIB_ERR_FORMAT, "n_layer", "no such key"},
    {"codegen", "\"n_layer\": 2", "\"n_layer\": 3", NIB_ERR_FORMAT, "h.2.", "needs it"},
    {"codegen", "\"n_layer\": 2", "\"n_layer\": 1", NIB_ERR_UNSUPPORTED, "h.1.", "not part"},
    {"codegen", "\"rotary_dim\": 2", "\"rotary_dim\": 3", NIB_ERR_FORMAT, "rotary_dim", "even"},
    {"codegen", "\"rotary_dim\": 2", "\"rotary_dim\": 6", NIB_ERR_FORMAT, "rotary_dim", "2..5"},
    {"codegen", "\"vocab_size\": 53", "\"vocab_size\": 52", NIB_ERR_FORMAT, "wte.weight", "52"},
    {"codegen", "\"gelu_new\"", "\"mish\"", NIB_ERR_UNSUPPORTED, "activation_function", "mish"},
    {"codegen", "\"model_type\": \"codegen\"", "\"model_type\": \"codegen9\"", NIB_ERR_UNSUPPORTED,
     "model_type", "got \"codegen9\", expected one of codegen"},
    {"codegen", "\"model_type\": \"codegen\"", "\"model_kind\": \"codegen\"", NIB_ERR_FORMAT,
     "model_type", "no such key"},
    {"gpt2", "\"n_embd\": 15", "\"n_embd\": 18", NIB_ERR_FORMAT, "wte.weight", "18 x 37"},
    {"gpt2", "\"n_positions\": 90", "\"n_positions\": 91", NIB_ERR_FORMAT, "wpe.weight", "91"},
    {"gpt2", "\"n_inner\": null", "\"n_inner\": 61", NIB_ERR_FORMAT, "mlp.c_fc", "61"},
    {"gpt2", "\"n_embd\"", "\"tie_word_embeddings\": false, \"n_embd\"", NIB_ERR_FORMAT,
     "lm_head.weight", "needs it"},
    {"gpt2", "\"n_embd\"", "\"add_cross_attention\": true, \"n_embd\"", NIB_ERR_UNSUPPORTED,
     "add_cross_attention", "cannot be run"},
    {"bigcode", "\"multi_query\": true", "\"multi_query\": false", NIB_ERR_FORMAT, "c_attn", "54"},
    {"santacoder", "multiquery", "multihead", NIB_ERR_FORMAT, "kv_attn", "14"},
    {"santacoder", "multiquery", "grouped", NIB_ERR_UNSUPPORTED, "attention_head_type", "grouped"},
    {"neox", "\"rotary_pct\": 0.25", "\"rotary_pct\": 0.01", NIB_ERR_FORMAT, "rotary_pct", "two"},
    {"neox", "\"rotary_pct\": 0.25", "\"rotary_pct\": 0.4", NIB_ERR_FORMAT, "rotary_pct", "even"},
    {"llama", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", NIB_ERR_FORMAT,
     "num_key_value_heads", "divisor"},
    {"llama", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": -1", NIB_ERR_FORMAT, "rms_norm_eps",
     "-1.0"},
    {"llama", "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2}",
     NIB_ERR_UNSUPPORTED, "rope_scaling.type", "longrope"},
    {"llama", "\"rope_scaling\": null", "\"rope_scaling\": \"linear\"", NIB_ERR_FORMAT,
     "rope_scaling", "an object"},
    {"llama", "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}", NIB_ERR_FORMAT,
     "rope_scaling.factor", "no such key"},
    {"llama", "\"vocab_size\": 51",
     "\"vocab_size\": 51, \"quantization_config\": "
     "{\"quant_method\": \"gptq\"}",
     NIB_ERR_UNSUPPORTED, "quant_method", "GGUF"},
    {"phi", "\"qk_layernorm\": false", "\"qk_layernorm\": true", NIB_ERR_FORMAT,
     "self_attn.q_layernorm.weight", "no such tensor"},
    {"stablelm", "\"qk_layernorm\": false", "\"qk_layernorm\": true", NIB_ERR_UNSUPPORTED,
     "qk_layernorm", "cannot be run"},
    {"opt", "\"word_embed_proj_dim\": 20", "\"word_embed_proj_dim\": 10", NIB_ERR_FORMAT,
     "embed_tokens.weight", "expected 10 x 38"},
    {"opt_350m", "\"do_layer_norm_before\": false", "\"do_layer_norm_before\": true",
     NIB_ERR_FORMAT, "final_layer_norm.weight", "no such tensor"},
    {"gptneo", "\"local\",", "\"sparse\",", NIB_ERR_UNSUPPORTED, "attention_layers",
     "layer 1: expected global or local, got \"sparse\""},
    {"gptneo", "\"local\",", "", NIB_ERR_FORMAT, "attention_layers", "for each layer, got 2"},
    {"gptneo", "\"window_size\": 6", "\"window_size\": 0", NIB_ERR_FORMAT, "window_size", "got 0"},
    {"codegen", "\"n_head\": 4", "\"n_head\": 4, \"head_dim\": 128", NIB_ERR_UNSUPPORTED,
     "head_dim", "got 128"},
    {"codegen", "\"n_head\": 4", "\"n_head\": 4, \"head_dim\": 5", NIB_ERR_FORMAT, "n_head",
     "multiple of 8"},
    {"llama", "\"vocab_size\": 51", "\"vocab_size\": 51, \"rope_parameters\": {}", NIB_ERR_FORMAT,
     "rope_parameters.rope_theta", "no such key"},
    {"llama", "\"vocab_size\": 51",
     "\"vocab_size\": 51, \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5}}",
     NIB_ERR_UNSUPPORTED, "rope_parameters.full_attention", "cannot be run"},
    {"llama-3", "\"rope_type\": \"llama3\"", "\"rope_type\": \"yarn\", \"mscale\": 0.7",
     NIB_ERR_UNSUPPORTED, "rope_scaling.mscale", "cannot be run"},
    {"gemma3", "\"vocab_size\": 38",
     "\"vocab_size\": 38, \"layer_types\": [\"full_attention\", "
     "\"chunked_attention\", \"full_attention\"]",
     NIB_ERR_UNSUPPORTED, "layer_types", "got \"chunked_attention\""},
    {"gemma3", "\"vocab_size\": 38", "\"vocab_size\": 38, \"use_bidirectional_attention\": true",
     NIB_ERR_UNSUPPORTED, "use_bidirectional_attention", "cannot be run"},
    {"gemma3", "\"head_dim\": 10", "\"head_dim\": 9", NIB_ERR_FORMAT, "head_dim", "even"},
};

#endif
