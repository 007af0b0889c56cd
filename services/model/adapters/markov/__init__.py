"""`somasuite-markov-v1`: a small word model, trained on a packaged text when the process starts."""
