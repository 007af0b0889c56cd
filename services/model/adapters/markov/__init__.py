"""`somasuite-markov-v1`: a small word model, trained on a text of our own when the process starts."""
