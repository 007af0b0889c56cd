"""What the documentation of Triton's backends says: names of parameters, arguments, inputs and outputs.

From github.com/triton-inference-server/vllm_backend (README and src/model.py), from vLLM's engine arguments, and from
github.com/NVIDIA/TensorRT-LLM (triton_backend/all_models/inflight_batcher_llm).
"""

from tritonclient.grpc.model_config_pb2 import TYPE_BOOL, TYPE_FP32, TYPE_INT32, TYPE_STRING, TYPE_UINT32, TYPE_UINT64

VLLM_ARGUMENTS = {
    *("model", "tokenizer", "dtype", "quantization", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "seed"),
    *("tensor_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization", "enable_prefix_caching"),
    *("kv_cache_dtype", "enforce_eager", "enable_lora", "max_lora_rank", "trust_remote_code", "swap_space"),
}
VLLM_INPUTS = {
    "text_input": TYPE_STRING,
    "image": TYPE_STRING,
    "stream": TYPE_BOOL,
    "sampling_parameters": TYPE_STRING,
    "exclude_input_in_output": TYPE_BOOL,
    "return_finish_reason": TYPE_BOOL,
    "return_cumulative_logprob": TYPE_BOOL,
    "return_logprobs": TYPE_BOOL,
    "return_num_input_tokens": TYPE_BOOL,
    "return_num_output_tokens": TYPE_BOOL,
    "embedding_request": TYPE_STRING,
}
VLLM_OUTPUTS = {
    "text_output": TYPE_STRING,
    "finish_reason": TYPE_STRING,
    "cumulative_logprob": TYPE_FP32,
    "logprobs": TYPE_STRING,
    "num_input_tokens": TYPE_UINT32,
    "num_output_tokens": TYPE_UINT32,
}
TENSORRT_LLM_PARAMETERS = {
    *("max_beam_width", "FORCE_CPU_ONLY_INPUT_TENSORS", "gpt_model_type", "gpt_model_path", "encoder_model_path"),
    *("max_tokens_in_paged_kv_cache", "max_attention_window_size", "sink_token_length", "batch_scheduler_policy"),
    *("kv_cache_free_gpu_mem_fraction", "cross_kv_cache_fraction", "kv_cache_host_memory_bytes"),
    *("kv_cache_onboard_blocks", "enable_trt_overlap", "exclude_input_in_output", "cancellation_check_period_ms"),
    *("stats_check_period_ms", "iter_stats_max_iterations", "request_stats_max_iterations", "enable_kv_cache_reuse"),
    *("normalize_log_probs", "enable_chunked_context", "gpu_device_ids", "participant_ids", "num_nodes"),
    *("lora_cache_optimal_adapter_size", "lora_cache_max_adapter_size", "lora_cache_gpu_memory_fraction"),
    *("lora_cache_host_memory_bytes", "lora_prefetch_dir", "decoding_mode", "executor_worker_path"),
    *("lookahead_window_size", "lookahead_ngram_size", "lookahead_verification_set_size", "medusa_choices"),
    *("eagle_choices", "gpu_weights_percent", "enable_context_fmha_fp32_acc", "multi_block_mode", "cuda_graph_mode"),
    *("cuda_graph_cache_size", "speculative_decoding_fast_logits", "tokenizer_dir", "guided_decoding_backend"),
    "xgrammar_tokenizer_info_path",
}
TENSORRT_LLM_INPUTS = {
    "input_ids": TYPE_INT32,
    "input_lengths": TYPE_INT32,
    "request_output_len": TYPE_INT32,
    "num_return_sequences": TYPE_INT32,
    "end_id": TYPE_INT32,
    "pad_id": TYPE_INT32,
    "beam_width": TYPE_INT32,
    "temperature": TYPE_FP32,
    "runtime_top_k": TYPE_INT32,
    "runtime_top_p": TYPE_FP32,
    "len_penalty": TYPE_FP32,
    "repetition_penalty": TYPE_FP32,
    "min_tokens": TYPE_INT32,
    "presence_penalty": TYPE_FP32,
    "frequency_penalty": TYPE_FP32,
    "seed": TYPE_UINT64,
    "return_log_probs": TYPE_BOOL,
    "return_num_input_tokens": TYPE_BOOL,
    "return_num_output_tokens": TYPE_BOOL,
    "exclude_input_in_output": TYPE_BOOL,
    "stop": TYPE_BOOL,
    "streaming": TYPE_BOOL,
}
TENSORRT_LLM_OUTPUTS = {
    "output_ids": TYPE_INT32,
    "sequence_length": TYPE_INT32,
    "cum_log_probs": TYPE_FP32,
    "output_log_probs": TYPE_FP32,
}
# Of the ensemble, and of `tensorrt_llm_bls`.
TEXT_INPUTS = {
    "text_input": TYPE_STRING,
    "max_tokens": TYPE_INT32,
    "bad_words": TYPE_STRING,
    "stop_words": TYPE_STRING,
    "exclude_input_in_output": TYPE_BOOL,
    "end_id": TYPE_INT32,
    "pad_id": TYPE_INT32,
    "top_k": TYPE_INT32,
    "top_p": TYPE_FP32,
    "temperature": TYPE_FP32,
    "length_penalty": TYPE_FP32,
    "repetition_penalty": TYPE_FP32,
    "min_tokens": TYPE_INT32,
    "presence_penalty": TYPE_FP32,
    "frequency_penalty": TYPE_FP32,
    "seed": TYPE_UINT64,
    "return_log_probs": TYPE_BOOL,
    "return_num_input_tokens": TYPE_BOOL,
    "return_num_output_tokens": TYPE_BOOL,
    "beam_width": TYPE_INT32,
    "stream": TYPE_BOOL,
}
