"""A chat turn: policy, memory, a model, and delivery of the finished turn to memory."""
