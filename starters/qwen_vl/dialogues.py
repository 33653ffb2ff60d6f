"""Questions about scenes and their true answers, in English and Chinese."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import NamedTuple

from starters.qwen_vl import chinese, english
from starters.qwen_vl.scenes import COLOURS, KINDS, Box, Item, Scene, changed, make

LANGUAGES = (english, chinese)
Slots = dict[str, str]
# How often a question of each task comes, compared with the others.
WEIGHTS = {
    "caption": 6, "detail": 4, "ground": 2, "read": 5, "find": 6, "count": 5, "colour": 3, "where": 2,
    "relation": 1, "present": 1.5, "biggest": 0.7, "background": 0.7, "region": 6, "value": 4, "highest": 2,
    "lowest": 1, "slice": 2, "hello": 0.1, "nothing": 0.4,
}  # fmt: skip
SPELT = ("caption", "read")  # whose answers end with all that is printed
TWO_PICTURES = {"compare": 3, "more": 2}
OF_ONE = ("caption", "read", "find", "count", "colour", "background", "region")  # asked about one of two


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        task: a key of WEIGHTS or TWO_PICTURES.
        pictures: those that come with the question, before its text.
        spelt: the answer ends with all letters of the picture, in the order of its places.
    """

    task: str
    question: str
    answer: str
    pictures: tuple[Scene, ...] = ()
    spelt: bool = False


def on_grid(scene: Scene, boxes: Iterable[Box], exact: bool = False) -> str:
    """Boxes as Qwen-VL writes them."""
    corners = (scene.on_grid(box, exact) for box in boxes)
    return "".join(f"<box>({x1},{y1}),({x2},{y2})</box>" for x1, y1, x2, y2 in corners)


def marked(scene: Scene, name: str, boxes: Iterable[Box]) -> str:
    return f"<ref>{name}</ref>{on_grid(scene, boxes)}"


class Asker:
    """Asks about one scene in one language. Each task's method returns what its question names and the
    answer, or None where the scene gives no such question.

    Args:
        speak: a language: `english` or `chinese`.
        choose: decides what is asked.
    """

    def __init__(self, scene: Scene, speak: ModuleType, choose: random.Random) -> None:
        self.scene, self.speak, self.random = scene, speak, choose

    def ask(self, task: str) -> Turn | None:
        """A question of a task, in one of its wordings."""
        method: Callable[[], tuple[str, str] | None] = getattr(self, task)
        asked = method()
        if asked is None:
            return None
        name, answer = asked
        question: str = self.random.choice(self.speak.QUESTIONS[task]).format(x=name)
        if self.random.random() < 0.15:
            question = question.rstrip(".。?？")
        spelt = task in SPELT and all(item.kind == "text" for item in self.scene.items if item.text)
        return Turn(task, question, self.answered(task, answer), spelt=spelt)

    def answered(self, task: str, answer: str) -> str:
        known = self.scene.layout != "unknown" or task in ("hello", "nothing")
        text: str = answer if known else self.speak.ANSWERS["unknown"]
        return text[:1].upper() + text[1:]

    def said(self, answer: str, **slots: str) -> str:
        text: str = self.speak.ANSWERS[answer].format(**slots)
        return text

    # --- what the scene holds ---

    def some(self, item: Item, size: str = "", count: int = 1) -> str:
        """One item, or several like it, with indefinite articles."""
        if item.kind == "text":
            words: str = self.speak.the_text([item.text])
        elif item.kind == "bar":
            words = self.speak.bar(item.label, item.text)
        else:
            words = self.speak.some(count, item.colour, item.kind, size)
        if item.kind in KINDS and item.text:
            words = self.speak.bearing(words, item.text)
        return words

    def contents(self, items: Sequence[Item]) -> str:
        """The items, equal ones counted together, texts last."""
        groups = Counter((item.colour, item.kind, item.text) for item in items if item.kind != "text")
        first = {(item.colour, item.kind, item.text): item for item in reversed(items)}
        parts = [self.some(first[group], count=count) for group, count in groups.items()]
        texts = [item.text for item in items if item.kind == "text"]
        whole: str = self.speak.listing([*parts, *([self.speak.the_text(texts)] if texts else [])])
        return whole

    def depiction(self) -> str:
        """The whole scene in one phrase."""
        scene, speak = self.scene, self.speak
        phrase: str
        if scene.layout == "bars":
            phrase = speak.bars([(item.label, item.text) for item in scene.items])
        elif scene.layout == "pie":
            phrase = speak.pie([item.colour for item in scene.items])
        elif scene.layout == "sign" and scene.panel:
            phrase = speak.sign(scene.panel[0], speak.the_text(scene.texts))
        else:
            phrase = self.contents(scene.items) if scene.items else ""
            if scene.layout != "free":
                phrase = speak.lattice(scene.layout, scene.shape, phrase)
        return phrase

    def named(self) -> list[tuple[str, list[Item]]]:
        """Names that a question may use, with all that each stands for."""
        speak, objects = self.speak, self.scene.objects
        names = [
            *((item.colour, item.kind) for item in objects),
            *(("", item.kind) for item in objects),
        ]
        found = []
        for tint, kind in dict.fromkeys(names):
            meant = matching(objects, tint, kind)
            found.append((speak.the(tint, kind, len(meant)), meant))
        texts = [item for item in self.scene.items if item.kind == "text"]
        found += [(speak.the_text([item.text]), [item]) for item in texts]
        return found + [
            (speak.the_bar(item.label), [item]) for item in self.scene.items if item.kind == "bar"
        ]

    def one(self) -> tuple[str, Item] | None:
        """A name that stands for one item."""
        names = [(name, items[0]) for name, items in self.named() if len(items) == 1]
        return self.random.choice(names) if names else None

    def kind(self, absent: float) -> tuple[str, str]:
        """Colour and kind, each perhaps "", of some objects, or with this probability of any at all."""
        objects = self.scene.objects
        if not objects or self.random.random() < absent:
            tint, kind = self.random.choice(list(COLOURS)), self.random.choice(KINDS)
        else:
            item = self.random.choice(objects)
            tint, kind = item.colour, item.kind
        return self.random.choice(((tint, kind), ("", kind), ("", kind), (tint, "")))

    # --- tasks ---

    def caption(self) -> tuple[str, str]:
        scene, speak = self.scene, self.speak
        if scene.layout in ("bars", "pie"):
            return "", self.detail()[1] if scene.layout == "pie" else speak.sentence(self.depiction())
        return "", speak.sentence(speak.on_background(self.depiction(), scene.background))

    def detail(self) -> tuple[str, str]:
        scene, speak = self.scene, self.speak
        facts = [self.depiction()]
        if scene.layout == "pie" and (slices := scene.items):
            facts.append(speak.largest_slice(max(slices, key=lambda item: item.share).colour))
        elif scene.layout == "bars":
            facts += [self._extreme("highest"), self._extreme("lowest")]
        elif scene.layout == "free":
            things = speak.some(len(scene.objects))
            facts = [speak.on_background(things, scene.background)]
            facts += [
                speak.stands(
                    self.some(item, scene.size(item) if item.kind in KINDS else ""), scene.place(item)
                )
                for item in scene.items
            ]
        else:
            facts = [speak.on_background(facts[0], scene.background), *self._rows()]
        return "", speak.sentences(facts)

    def _rows(self) -> list[str]:
        rows, columns = self.scene.shape
        lines = (self.scene.items[row * columns : (row + 1) * columns] for row in range(rows))
        return [
            self.speak.line(number, self.speak.listing([self.some(item) for item in line]))
            for number, line in enumerate(lines, 1)
        ]

    def ground(self) -> tuple[str, str] | None:
        scene = self.scene
        if scene.layout in ("pie", "grid") or not 0 < len(scene.items) < 5:
            return None if scene.layout != "unknown" else ("", "")
        return "", self.speak.listing([marked(scene, self.some(item), [item.box]) for item in scene.items])

    def read(self) -> tuple[str, str] | None:
        if self.scene.texts:
            return "", self.said("text", x=self.speak.quoted(self.scene.texts))
        likely = 1 if self.scene.layout == "unknown" else 0.4
        return ("", self.speak.ANSWERS["no text"]) if self.random.random() < likely else None

    def find(self) -> tuple[str, str] | None:
        if self.scene.layout == "pie":
            return None
        if self.random.random() < 0.1 or not self.scene.items:
            tint, kind = self.kind(1)
            if not matching(self.scene.objects, tint, kind):
                return self.speak.the(tint, kind), self.speak.sentence(self.speak.there(0, tint, kind))
        names = [(name, items) for name, items in self.named() if len(items) < 5]
        if not names:
            return None
        name, items = self.random.choice(names)
        asked = name.removeprefix("the ") if self.random.random() < 0.3 else name
        return asked, marked(self.scene, name, [item.box for item in items])

    def count(self) -> tuple[str, str] | None:
        if self.scene.layout in ("bars", "pie", "sign"):
            return None
        tint, kind = ("", "") if self.random.random() < 0.25 else self.kind(0.1)
        found = matching(self.scene.objects, tint, kind)
        return self.speak.named(tint, kind, 2), self.speak.sentence(self.speak.there(len(found), tint, kind))

    def colour(self) -> tuple[str, str] | None:
        of_one = [(self.speak.the("", item.kind), item) for item in self.scene.objects]
        of_one = [
            (name, item) for name, item in of_one if len(matching(self.scene.objects, "", item.kind)) == 1
        ]
        of_one += [pair for pair in self._ones() if pair[1].kind not in KINDS]
        if not of_one:
            return None
        name, item = self.random.choice(of_one)
        return name, self.said("colour", x=name, y=self.speak.colour(item.colour))

    def _ones(self) -> list[tuple[str, Item]]:
        return [(name, items[0]) for name, items in self.named() if len(items) == 1]

    def where(self) -> tuple[str, str] | None:
        named = self.one() if self.scene.layout in ("free", "sign") else None
        if named is None:
            return None
        return named[0], self.speak.sentence(self.speak.stands(named[0], self.scene.place(named[1])))

    def relation(self) -> tuple[str, str] | None:
        first, second = self.one(), self.one()
        if self.scene.layout == "bars" or not first or not second:
            return None
        (name, item), (other, beside) = first, second
        across = (item.centre[0] - beside.centre[0]) / self.scene.width
        down = (item.centre[1] - beside.centre[1]) / self.scene.height
        if max(abs(across), abs(down)) < 0.2:
            return None
        if abs(across) > abs(down):
            side, wrong = ("left", "right") if across < 0 else ("right", "left")
        else:
            side, wrong = ("above", "below") if down < 0 else ("below", "above")
        true = self.random.random() < 0.5
        asked = self.speak.beside_asked(name, side if true else wrong, other)
        return asked, self.said("yes" if true else "no", x=self.speak.beside(name, side, other))

    def present(self) -> tuple[str, str] | None:
        if self.scene.layout in ("bars", "pie"):
            return None
        tint, kind = self.kind(0.4)
        count = len(matching(self.scene.objects, tint, kind))
        answer = self.said("yes" if count else "no", x=self.speak.there(count, tint, kind))
        return self.speak.some(1, tint, kind), answer

    def biggest(self) -> tuple[str, str] | None:
        order = sorted(self.scene.objects, key=lambda item: -item.area)
        if len(order) < 2 or order[0].area < 1.5 * order[1].area:
            return None
        return "", self.said("biggest", x=self.speak.the(order[0].colour, order[0].kind))

    def background(self) -> tuple[str, str]:
        return "", self.said("background", x=self.speak.colour(self.scene.background))

    def region(self) -> tuple[str, str] | None:
        """A box around one item, two, or none, drawn by an unsteady hand."""
        scene = self.scene
        if scene.layout == "pie":
            return None
        for _ in range(10):
            box = self._box()
            covered = [(item, _overlap(item.box, box) / item.area) for item in scene.items]
            clear = all(part > 0.7 or part < 0.1 for _, part in covered)
            inside = [item for item, part in covered if part > 0.7]
            if clear and (inside or scene.layout != "sign"):
                answer = self.contents(inside) if inside else ""
                said = self.speak.sentence(answer) if inside else self.speak.ANSWERS["only background"]
                return on_grid(scene, [box], exact=True), said
        return None

    def _box(self) -> Box:
        scene, draw = self.scene, self.random
        count = draw.choice((0, 1, 1, 1, 1, 2))
        items = draw.sample(scene.items, min(count, len(scene.items)))
        unsteady = 0.05 * min(scene.width, scene.height)
        if not items:
            wide, high = (draw.uniform(0.15, 0.4) * side for side in (scene.width, scene.height))
            left, top = draw.uniform(0, scene.width - wide), draw.uniform(0, scene.height - high)
            return left, top, left + wide, top + high
        below = items[0].height if items[0].kind == "bar" else 0
        lefts, tops, rights, bottoms = zip(*(item.box for item in items), strict=True)
        return (
            min(lefts) - draw.uniform(0, unsteady),
            min(tops) - below - draw.uniform(0, unsteady),
            max(rights) + draw.uniform(0, unsteady),
            max(bottoms) + below + draw.uniform(0, unsteady),
        )

    def value(self) -> tuple[str, str] | None:
        if self.scene.layout != "bars":
            return None
        item = self.random.choice(self.scene.items)
        return self.speak.the_bar(item.label), self.said("value", x=item.label, y=item.text)

    def highest(self) -> tuple[str, str] | None:
        return ("", self.speak.sentence(self._extreme("highest"))) if self.scene.layout == "bars" else None

    def lowest(self) -> tuple[str, str] | None:
        return ("", self.speak.sentence(self._extreme("lowest"))) if self.scene.layout == "bars" else None

    def _extreme(self, which: str) -> str:
        choose = max if which == "highest" else min
        item = choose(self.scene.items, key=lambda item: int(item.text))
        return self.said(which, x=item.label, y=item.text)

    def slice(self) -> tuple[str, str] | None:
        order = sorted(
            (item for item in self.scene.items if item.kind == "slice"), key=lambda item: -item.share
        )
        if not order:
            return None
        return "", self.speak.sentence(self.speak.largest_slice(order[0].colour))

    def hello(self) -> tuple[str, str]:
        return "", self.speak.ANSWERS["hello"]

    def nothing(self) -> tuple[str, str]:
        return "", self.speak.ANSWERS["nothing"]


def matching(items: Iterable[Item], tint: str, kind: str) -> list[Item]:
    """The items of a colour and a kind, "" being any."""
    return [item for item in items if tint in ("", item.colour) and kind in ("", item.kind)]


def _overlap(first: Box, second: Box) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, wide) * max(0, high)


# --- what an answer says -------------------------------------------------------------------------


def _any(words: Iterable[str]) -> str:
    """A pattern of any of the words, of the longest that fits."""
    return "|".join(sorted(words, key=len, reverse=True))


MOST = 12  # things in a scene that are counted
NUMBERS: dict[ModuleType, dict[str, int]] = {
    speak: {speak.number(count): count for count in range(MOST + 1)} for speak in LANGUAGES
}
NUMBERS[english] |= {"a": 1, "an": 1}
MEASURES = {*chinese.MEASURES.values(), "个"}
_VALUES = {**NUMBERS[english], **NUMBERS[chinese], "没有": 0}
# "A" may be a bar's letter.
_COUNTED = re.compile(
    rf"(?<!bar)(?<!rs:)(?:^| )({_any(NUMBERS[english])})\b(?!,)"
    rf"|.?({_any(NUMBERS[chinese])})(?={_any(MEASURES)}|根)|(没有)",
    re.IGNORECASE,
)


class Told(NamedTuple):
    """Things of one sort that a text names with their number and colour in text[start:end], in English with the
    space before. `number` is 0 for "no"."""

    start: int
    end: int
    number: int
    colour: str
    kind: str


def told(text: str) -> Iterator[Told]:
    """What a text in one of the languages names with its number and colour, from left to right."""
    for speak in LANGUAGES:
        pattern, numbers, tints, kinds = _grammar(speak)
        for match in pattern.finditer(text):
            number, tint, noun = match.groups()
            yield Told(*match.span(), numbers[number.lower()], tints[tint], kinds[noun])


@cache
def _grammar(speak: ModuleType) -> tuple[re.Pattern[str], dict[str, int], dict[str, str], dict[str, str]]:
    """How a language names things, and the numbers, colours and kinds that its words stand for."""
    tints = {speak.colour(name): name for name in COLOURS}
    kinds = {speak.named("", kind, count): kind for kind in KINDS for count in (1, 2)}
    if speak is english:
        words = r" ?\b({}) (?:\w+ )??({}) ({})\b"
    else:
        words = f"({{}})(?:{_any(MEASURES)})(?:{_any({*chinese.SIZES.values()})})?({{}})({{}})"
    numbers = NUMBERS[speak]
    pattern = re.compile(words.format(_any(numbers), _any(tints), _any(kinds)), re.IGNORECASE)
    return pattern, numbers, tints, kinds


def counted(text: str) -> Iterator[tuple[int, int, int]]:
    """Where a text in one of the languages says how many there are, and how many.

    Yields:
        (start, end, number): from the character before the number to the first of the number itself.
    """
    for found in _COUNTED.finditer(text):
        word = found.lastindex or 0
        yield found.start(), found.start(word) + 1, _VALUES[found[word].lower()]


# --- dialogues -----------------------------------------------------------------------------------


def about_one(scene: Scene, count: int, choose: random.Random) -> list[Turn]:
    """Questions about one picture, which comes with the first of them."""
    turns: list[Turn] = []
    first = choose.choice(LANGUAGES)
    while len(turns) < count:
        speak = first if choose.random() < 0.7 else choose.choice(LANGUAGES)
        task = choose.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if turn := Asker(scene, speak, choose).ask(task):
            turns.append(turn if turns else replace(turn, pictures=(scene,)))
    return turns


def about_two(pair: tuple[Scene, Scene], count: int, choose: random.Random) -> list[Turn]:
    """Questions about two pictures, which come with the first of them."""
    turns: list[Turn] = []
    while len(turns) < count:
        speak = choose.choice(LANGUAGES)
        askers = [Asker(scene, speak, choose) for scene in pair]
        if choose.random() < 0.5:
            turn: Turn | None = compared(askers, choose.choice(("compare", "compare", "more")))
        else:
            at = choose.randrange(2)
            turn = askers[at].ask(choose.choice(OF_ONE))
            if turn:
                turn = replace(turn, question=speak.in_picture(turn.question, at + 1))
        if turn:
            turns.append(turn if turns else replace(turn, pictures=pair))
    return turns


def compared(askers: Sequence[Asker], task: str) -> Turn | None:
    """One question that needs both pictures."""
    first = askers[0]
    speak, choose = first.speak, first.random
    tint, kind = ("", "") if task == "compare" else choose.choice(askers).kind(0)
    counts = [len(matching(asker.scene.objects, tint, kind)) for asker in askers]
    more = _more(speak, counts, tint, kind)
    if task == "more" and not any(counts):
        return None
    if task == "compare":
        facts = [f"{speak.picture(n)}{speak.COLON}{asker.depiction()}" for n, asker in enumerate(askers, 1)]
        more = speak.sentences(facts) + (speak.GAP + more if all(counts) else "")
    name = speak.named(tint, kind, 2)
    return Turn(task, choose.choice(speak.QUESTIONS[task]).format(x=name), more)


def _more(speak: ModuleType, counts: Sequence[int], tint: str, kind: str) -> str:
    things = speak.named(tint, kind, 2)
    said = [speak.number(count) for count in counts]
    if counts[0] == counts[1]:
        text: str = speak.ANSWERS["same"].format(x=things, y=said[0])
    else:
        text = speak.ANSWERS["more"].format(
            n=speak.ORDER[counts[1] > counts[0]], x=things, y=said[0], z=said[1]
        )
    return text


def about_nothing(count: int, choose: random.Random) -> list[Turn]:
    """Questions that come without a picture."""
    speak = choose.choice(LANGUAGES)
    turns = []
    for _ in range(count):
        task = choose.choice(("hello", "hello", "nothing", "caption", "detail", "read", "count"))
        question = choose.choice(speak.QUESTIONS[task]).format(x=speak.named("", choose.choice(KINDS), 2))
        turns.append(Turn(task, question, speak.ANSWERS.get(task, speak.ANSWERS["no picture"])))
    return turns


def pair(seed: int, busy: float = 1) -> tuple[Scene, Scene]:
    """Two scenes to be compared; half of the time they differ in one object."""
    first, second = make(seed, busy=busy), make(-seed - 1, busy=busy)
    while "unknown" in (first.layout, second.layout):
        seed += 1_000_003
        first, second = make(seed, busy=busy), make(-seed - 1, busy=busy)
    return first, changed(first, seed) if first.layout == "free" and seed % 2 else second


def dialogue(seed: int, turns: int = 12, busy: float = 1, alike: int = 1) -> list[Turn]:
    """A conversation. The same arguments always give the same one.

    Args:
        turns: how many questions in all.
        busy: from 0 for the simplest scenes to 1 for all that there are.
        alike: so many neighbouring seeds give conversations with equally many pictures.
    """
    choose = random.Random(f"dialogue {seed}")
    pictures = random.Random(f"pictures {seed // alike}").choices((0, 1, 2), (2, 80, 18))[0]
    if pictures == 0:
        return about_nothing(turns, choose)
    if pictures == 1:
        return about_one(make(seed, busy=busy), turns, choose)
    if choose.random() < 0.7:
        return about_two(pair(seed, busy), turns, choose)
    half = turns // 2
    second = about_one(make(-seed - 1, busy=busy), turns - half, choose)
    return about_one(make(seed, busy=busy), half, choose) + second
