"""GGUF files that end or hold llama.cpp, made of one that works."""

# Loops in loops, of more rounds than anybody can wait for.
ENDLESS = "{% set x = range(9999) %}" + "{% for a in x %}" * 12 + "{% endfor %}" * 12


def with_template(file: bytes, template: str) -> bytes:
    """The file with another chat template, of the same length."""
    begin = _value(file, "tokenizer.chat_template")
    length = int.from_bytes(file[begin : begin + 8], "little")
    text = template.encode().ljust(length)
    assert len(text) == length
    return file[: begin + 8] + text + file[begin + 8 + length :]


def with_flipped_bit(file: bytes, fact: str) -> bytes:
    """The file with the highest bit of a 32-bit number turned."""
    at = _value(file, fact) + 3
    return file[:at] + bytes([file[at] ^ 0x80]) + file[at + 1 :]


def _value(file: bytes, fact: str) -> int:
    """Where a fact's value begins: behind its name and its type."""
    return file.index(fact.encode()) + len(fact) + 4
