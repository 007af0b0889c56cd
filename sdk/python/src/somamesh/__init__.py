"""SomaMesh: the Python client."""
