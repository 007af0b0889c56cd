"""Generated from the contracts by `make gen`; do not edit."""
