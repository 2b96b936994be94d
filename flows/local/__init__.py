"""The servers and the worker of one machine: how they start, and who may ask them."""
