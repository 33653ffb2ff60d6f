"""A small Qwen-VL that knows drawn scenes, and everything that makes it.

scenes.py       scenes from a seed: what stands where
drawing.py      their pictures
dialogues.py    questions and answers about them, in english.py and chinese.py
vocabulary.py   its qwen.tiktoken, learnt on the dialogues
train.py        the training:    python -m starters.qwen_vl.train
evaluate.py     how often it is right:  python -m starters.qwen_vl.evaluate
checkpoint/     the trained model, in the files and names of the original Qwen-VL
"""
