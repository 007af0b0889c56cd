"""Mutual TLS between the processes of a stack: certificates, and the credentials made of them."""
