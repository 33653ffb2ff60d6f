"""What visitors and models can send, invented by a fuzzer (atheris): `make fuzz`, `make fuzz ARGS="600 boxes"`."""
