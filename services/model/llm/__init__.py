"""The part `llm`: llama.cpp in a process of its own, which serves GGUF files in OpenAI's protocol.

`engine` and `grammar` need nothing of the mesh. `files` says which models there are, without a running process.
"""
