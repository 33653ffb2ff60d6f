"""A small Qwen-VL that knows drawn scenes, and everything that makes it.

scenes.py       scenes from a seed: what stands where
drawing.py      their pictures
dialogues.py    questions and answers about them, in english.py and chinese.py
cells.py        what each place of a picture shows: what the tower has to see, and the decoder to count
matching.py     first weights with which the decoder finds what words name
data.py         scenes and dialogues as tensors
vocabulary.py   its qwen.tiktoken, learnt on the dialogues
train.py        the training:    python -m starters.qwen_vl.train
evaluate.py     how often it is right:  python -m starters.qwen_vl.evaluate
checkpoint/     the trained model, in the files and names of the original Qwen-VL
"""
