"""NVIDIA Triton: its models behind the contracts of the mesh."""
