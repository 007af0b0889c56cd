"""How ONNX Runtime is asked to run: one thread a run, little memory kept."""

from pathlib import Path

from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions


def open_session(model: Path | bytes) -> InferenceSession:
    """A session that several threads may run at once.

    Throughput comes from runs beside each other: two threads inside one run wait for each other at every node, and
    with anything else on the machine reach half of what two runs do.
    """
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena keeps its high-water mark for good.
    options.enable_cpu_mem_arena = False
    # Beyond this level the runtime fuses what graph.py keeps apart because it is faster so.
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return InferenceSession(
        str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
    )
