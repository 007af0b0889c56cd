"""What the documentation of Triton's backends says: names of parameters, arguments, inputs and outputs.

From github.com/triton-inference-server/vllm_backend (README and src/model.py), from vLLM's engine arguments, and from
github.com/NVIDIA/TensorRT-LLM (triton_backend/all_models/llmapi and inflight_batcher_llm).
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
# Of the `LLM` of TensorRT-LLM, and of its `kv_cache_config`.
TENSORRT_LLM_ARGUMENTS = {
    *("model", "backend", "dtype", "tensor_parallel_size", "pipeline_parallel_size", "moe_expert_parallel_size"),
    *("max_seq_len", "max_batch_size", "max_num_tokens", "enable_chunked_prefill", "kv_cache_config", "tokenizer"),
    "trust_remote_code",
}
TENSORRT_LLM_CACHE = {"free_gpu_memory_fraction", "enable_block_reuse", "max_tokens", "dtype", "host_cache_size"}
# Of the model of the LLM API for Triton, and the members of `triton_config` in its `model.yaml`.
TENSORRT_LLM_TRITON = {"max_batch_size", "decoupled", "cancellation_check_period_ms"}
TENSORRT_LLM_INPUTS = {
    "text_input": TYPE_STRING,
    "streaming": TYPE_BOOL,
    "sampling_param_best_of": TYPE_INT32,
    "sampling_param_temperature": TYPE_FP32,
    "sampling_param_top_k": TYPE_INT32,
    "sampling_param_top_p": TYPE_FP32,
    "sampling_param_frequency_penalty": TYPE_FP32,
    "sampling_param_presence_penalty": TYPE_FP32,
    "sampling_param_max_tokens": TYPE_INT32,
    "sampling_param_stop": TYPE_STRING,
    "sampling_param_seed": TYPE_UINT64,
    "sampling_param_exclude_input_from_output": TYPE_BOOL,
    "sampling_param_return_perf_metrics": TYPE_BOOL,
    "return_finish_reason": TYPE_BOOL,
    "return_stop_reason": TYPE_BOOL,
    "return_cumulative_logprob": TYPE_BOOL,
    "stop": TYPE_BOOL,
}
TENSORRT_LLM_OUTPUTS = {
    "text_output": TYPE_STRING,
    "finish_reason": TYPE_STRING,
    "stop_reason": TYPE_STRING,
    "cumulative_logprob": TYPE_FP32,
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
