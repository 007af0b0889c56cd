"""Opens sessions of ONNX Runtime: one thread for each run, and little memory."""

from pathlib import Path

from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions


def open_session(model: Path | bytes) -> InferenceSession:
    """A session that several threads may run at the same time.

    Parallel runs give the throughput. Two threads inside one run wait for each other at every node; if other programs
    run on the machine, they reach half the throughput of two runs.
    """
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena never releases its memory.
    options.enable_cpu_mem_arena = False
    # At higher levels, the runtime fuses nodes that are faster as separate nodes (see graph.py).
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return InferenceSession(
        str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
    )
