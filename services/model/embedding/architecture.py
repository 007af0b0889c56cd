"""The architecture of all-MiniLM-L6-v2: a BERT encoder with six layers, mean-pooled to 384 dimensions."""

NAME = "somasuite-embed-v1"
HUB_REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"

LAYERS = 6
HEADS = 12
HIDDEN = 384
MAX_TOKENS = 256
LAYER_NORM_EPSILON = 1e-12
