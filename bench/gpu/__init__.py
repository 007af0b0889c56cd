"""Measures Triton's Python backend with PyTorch beside plain PyTorch: `python3 -m bench.gpu`, or `make bench-gpu`.

It needs Python, PyTorch and numpy, and no package of the rest of this project, so that it runs on a bare machine with a
GPU. The model has the shape of a Llama and random weights: what it writes has no meaning, but costs the same.
"""
