"""Chat turns: policy, memory, a model, and the delivery of finished turns to memory."""
