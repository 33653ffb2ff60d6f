"""How the captioner speaks English: nouns, numbers, questions and answers.

`chinese.py` has the same names. QUESTIONS and ANSWERS leave room for what is
asked for, {x}, and for what is said of it.
"""

from collections.abc import Sequence

NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
PLURALS = {"box": "boxes", "cross": "crosses", "fish": "fish"}
PLACES = (
    "at the top left", "at the top", "at the top right",
    "on the left", "in the centre", "on the right",
    "at the bottom left", "at the bottom", "at the bottom right",
)  # fmt: skip
SIDES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
COLON, GAP, ORDER = ": ", " ", "12"


def number(count: int) -> str:
    return NUMBERS[count]


def colour(name: str) -> str:
    return name


def named(tint: str = "", kind: str = "", count: int = 1) -> str:
    """ "red star", "stars", "red object"."""
    noun = kind or "object"
    noun = noun if count == 1 else PLURALS.get(noun, f"{noun}s")
    return f"{tint} {noun}" if tint else noun


def the(tint: str = "", kind: str = "", count: int = 1) -> str:
    return f"the {named(tint, kind, count)}"


def some(count: int, tint: str = "", kind: str = "", size: str = "") -> str:
    """ "a small red star", "two stars", "no red objects"."""
    words = f"{size} {named(tint, kind, count)}".strip()
    return f"{_a(words)} {words}" if count == 1 else f"{number(count)} {words}"


def there(count: int, tint: str = "", kind: str = "") -> str:
    """ "there is one star", "there are no stars"."""
    return f"there {'is' if count == 1 else 'are'} {number(count)} {named(tint, kind, count)}"


def _a(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def bearing(thing: str, text: str) -> str:
    """A thing with a letter or a number on it."""
    return f'{thing} with "{text}" on it'


def quoted(texts: Sequence[str]) -> str:
    return listing([f'"{text}"' for text in texts])


def the_text(texts: Sequence[str], colour: str = "") -> str:
    return f"the text {quoted(texts)}" + (f" in {colour}" if colour else "")


def listing(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def sentences(texts: Sequence[str]) -> str:
    return " ".join(map(sentence, texts))


def on_background(things: str, tint: str) -> str:
    return f"{things} on a {tint} background"


def stands(thing: str, place: int) -> str:
    return f"{thing} is {PLACES[place]}"


def beside(thing: str, side: str, other: str) -> str:
    return f"{thing} is {SIDES[side]} {other}"


def beside_asked(thing: str, side: str, other: str) -> str:
    return f"{thing} {SIDES[side]} {other}"


def lattice(layout: str, shape: tuple[int, int], things: str) -> str:
    """What holds a row, a column or a grid, and the things in it."""
    if layout == "grid":
        rows, columns = map(number, shape)
        return f"a grid of {rows} rows and {columns} columns with {things}"
    return f"a {layout} of {things}"


def line(row: int, things: str) -> str:
    return f"row {number(row)}: {things}"


def sign(board: str, words: str) -> str:
    return f"{_a(board)} {board} sign with {words}"


def bars(values: Sequence[tuple[str, str]]) -> str:
    named = listing([f"{label} {value}" for label, value in values])
    return f"a bar chart with {number(len(values))} bars: {named}"


def the_bar(label: str) -> str:
    return f"bar {label}"


def bar(label: str, value: str) -> str:
    return f"bar {label} with the value {value}"


def pie(colours: Sequence[str]) -> str:
    return f"a pie chart with {number(len(colours))} slices: {listing(colours)}"


def largest_slice(colour: str) -> str:
    return f"the largest slice is {colour}"


def in_picture(question: str, number_of_picture: int) -> str:
    return f"In picture {number_of_picture}: {question}"


def picture(number_of_picture: int) -> str:
    return f"picture {number_of_picture}"


QUESTIONS: dict[str, tuple[str, ...]] = {
    "caption": (
        "Describe this picture in one sentence.", "Describe the picture.", "What is in the picture?",
        "Generate the caption in English:", "What do you see?", "Write a caption for this picture.",
    ),
    "detail": (
        "Describe this picture in detail.", "Describe the picture in detail.", "Give a detailed description.",
        "Tell me everything that you see.",
    ),
    "ground": (
        "Generate the caption in English with grounding:", "Mark every object.",
        "Find everything in the picture.", "Detect all objects.",
    ),
    "read": (
        "Read the text in this picture.", "What does the text say?", "Read the text.", "What is written here?",
        "Which words are in the picture?", "OCR",
    ),
    "find": ("Find {x}.", "Where is {x}? Draw a box.", "Locate {x}.", "Mark {x}.", "Find: {x}", "Draw a box around {x}."),
    "count": ("How many {x} are there?", "How many {x} do you see?", "Count the {x}.", "How many {x}?"),
    "colour": ("What colour is {x}?", "What color is {x}?", "Which colour does {x} have?"),
    "where": ("Where is {x}?", "In which part of the picture is {x}?", "What is the position of {x}?"),
    "relation": ("Is {x}?", "Tell me: is {x}?"),
    "present": ("Is there {x}?", "Do you see {x}?", "Is there {x} in the picture?"),
    "biggest": ("Which object is the biggest?", "What is the largest object?", "What is the biggest?"),
    "background": ("What colour is the background?", "What color is the background?", "Which background is it?"),
    "region": (
        "What is in this region? {x}", "{x} What is here?", "What is in {x}?", "Describe this region: {x}",
        "<ref>This</ref>{x} is",
    ),
    "compare": (
        "Compare the two pictures.", "What is the difference between the two pictures?",
        "What is different?", "Compare these pictures.",
    ),
    "more": ("Which picture has more {x}?", "Where are more {x}, in picture 1 or in picture 2?"),
    "value": ("What is the value of {x}?", "How much is {x}?", "What is {x}?"),
    "highest": ("Which bar is the highest?", "Which value is the largest?", "What is the maximum?"),
    "lowest": ("Which bar is the lowest?", "Which value is the smallest?", "What is the minimum?"),
    "slice": ("Which slice is the largest?", "What is the biggest part of the chart?"),
    "hello": ("Hello!", "Hi", "Hello, who are you?", "What can you do?", "Who are you?", "Help"),
    "nothing": (
        "Who is the president?", "What is the weather today?", "Write a poem.", "Translate this into French.",
        "What is 12 times 7?", "Tell me a joke.", "Who painted this?", "How old is this person?",
        "What is the capital of France?", "Write some Python code.", "What time is it?", "Is this person happy?",
        "Which city is this?", "What brand is it?", "How do I cook rice?", "Why is the sky blue?",
        "What will happen next?", "How does this picture make you feel?", "Who took this photo?",
    ),
}  # fmt: skip

ANSWERS = {
    "no text": "There is no text in this picture.",
    "text": "The text says {x}.",
    "colour": "{x} is {y}.",
    "yes": "Yes, {x}.",
    "no": "No, {x}.",
    "biggest": "The biggest is {x}.",
    "background": "The background is {x}.",
    "only background": "Only the background.",
    "more": "Picture {n} has more {x}: {y} and {z}.",
    "same": "Both pictures have the same number of {x}: {y}.",
    "value": "Bar {x} has the value {y}.",
    "highest": "bar {x} is the highest, with {y}",
    "lowest": "bar {x} is the lowest, with {y}",
    "hello": "I am a very small Qwen-VL. I know only drawn scenes: shapes, printed words and simple charts. Give me a picture and ask what is in it.",
    "nothing": "I do not know that. I know only drawn scenes: shapes, printed words and simple charts.",
    "unknown": "I know only drawn scenes: shapes, printed words and simple charts. This picture is something else.",
    "no picture": "I see no picture yet. Give me a drawn scene and ask what is in it.",
}
