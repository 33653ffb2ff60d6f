"""ChatGLM-6B, ChatGLM2 and ChatGLM3 from their original files, without their code.

    weights.py     the files onto transformers' Glm, or onto model.py; `load_model`
    model.py       ChatGLM-6B, which transformers does not have
    packed.py      the makers' own int4 and int8 files
    tokenizer.py   fast tokenizers from the SentencePiece files (vocabulary.py); `load_tokenizer`
    prompt.py      prompts and replies as text
    files.py       what a folder holds

The modules below import torch; this one costs nothing.
"""
