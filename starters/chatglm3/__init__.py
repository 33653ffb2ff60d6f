"""A ChatGLM3 of a few million parameters, in the original file format, and all that made it.

    python -m starters.chatglm3.dialogues --count 3     dialogues as the training has them
    python -m starters.chatglm3.train --out FOLDER      the vocabulary and the model
    python -m starters.chatglm3.evaluate                accuracy on dialogues that training never saw

talk.py, arithmetic.py, lookups.py, days.py and code.py write questions with their answers, in the form
that exchange.py gives them; dialogues.py mixes them, vocabulary.py learns their pieces and batches.py
turns them into ids. copying.py sets the first weights, and ../muon.py improves them.
"""
