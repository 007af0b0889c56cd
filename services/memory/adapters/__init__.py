"""The model service and protobuf's values, as memory uses them."""
