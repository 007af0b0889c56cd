"""Model repositories for Triton servers elsewhere, made from the models of this project and a file of settings."""
