"""The drawn scenes that the small Qwen-VL learns from: the same for a seed, and true."""

import random
import re
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import torch

from models.qwen_vl.tokenizer import FILE, load_tokenizer
from starters.qwen_vl import cells, chinese, english
from starters.qwen_vl.data import DEFAULT_SYSTEM, IGNORED, Writer, message
from starters.qwen_vl.dialogues import (
    LANGUAGES,
    TWO_PICTURES,
    WEIGHTS,
    Asker,
    Turn,
    about_one,
    dialogue,
    matching,
    pair,
    told,
)
from starters.qwen_vl.drawing import POLYGONS, draw
from starters.qwen_vl.evaluate import boxes, overlap, things
from starters.qwen_vl.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    Scene,
    changed,
    glyphs,
    make,
    step_of,
    written,
)
from starters.qwen_vl.train import visible
from starters.qwen_vl.vocabulary import corpus, learn, write

LAYOUTS = ("free", "line", "grid", "sign", "bars", "pie", "unknown", "crowd")
BOX = re.compile(r"<box>\((\d+),(\d+)\),\((\d+),(\d+)\)</box>")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_seed_always_gives_the_same_picture(layout: str) -> None:
    first, second = make(7, layout), make(7, layout)
    assert first == second
    assert draw(first).tobytes() == draw(second).tobytes()
    assert draw(make(8, layout)).tobytes() != draw(first).tobytes()


def test_a_seed_always_gives_the_same_dialogue() -> None:
    assert [dialogue(seed) for seed in range(20)] == [dialogue(seed) for seed in range(20)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_scene_holds_is_inside_the_picture(layout: str) -> None:
    for seed in range(40):
        scene = make(seed, layout)
        assert seed > 4 or draw(scene).size == (scene.width, scene.height)
        for item in scene.items:
            left, top, right, bottom = item.box
            assert 0 <= left < right <= scene.width, (seed, item)
            assert 0 <= top < bottom <= scene.height, (seed, item)


def test_objects_that_stand_free_do_not_touch() -> None:
    for seed in range(60):
        items = make(seed, "free").items
        for n, first in enumerate(items):
            for second in items[n + 1 :]:
                apart_x = first.box[2] < second.box[0] or second.box[2] < first.box[0]
                apart_y = first.box[3] < second.box[1] or second.box[3] < first.box[1]
                assert apart_x or apart_y, seed


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_of_an_object_holds_what_is_drawn_and_no_more(kind: str) -> None:
    for seed in range(3000):
        scene = make(seed, "free", busy=0)
        if scene.items[0].kind == kind and not scene.items[0].text:
            break
    image = draw(scene).convert("RGB")
    background = BACKGROUNDS[scene.background]
    ink = [
        (n % scene.width, n // scene.width)
        for n, pixel in enumerate(image.get_flattened_data())
        if pixel != background
    ]
    columns, rows = zip(*ink, strict=True)
    drawn = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    assert drawn == pytest.approx(scene.items[0].box, abs=0.07 * (drawn[3] - drawn[1]) + 2)


def test_a_lattice_has_as_many_objects_as_it_says() -> None:
    for seed in range(40):
        scene = make(seed, "grid")
        rows, columns = scene.shape
        assert len(scene.objects) == rows * columns


def test_letters_stand_in_their_text() -> None:
    scene = next(scene for seed in range(99) if len((scene := make(seed, "sign")).texts[0]) > 3)
    item = scene.items[0]
    found = glyphs(item)
    assert "".join(letter for letter, _, _ in found) == item.text
    middles = [x for _, x, _ in found]
    assert middles == sorted(middles)
    assert item.box[0] - 3 < middles[0] < middles[-1] < item.box[2] + 3


def test_slices_fill_the_circle() -> None:
    for seed in range(20):
        assert sum(item.share for item in make(seed, "pie").items) == pytest.approx(1)


def test_shapes_fill_the_square_that_they_are_drawn_in() -> None:
    for name, points in POLYGONS.items():
        for values in zip(*points, strict=True):
            assert (min(values), max(values)) == pytest.approx((0, 1)), name


def test_a_changed_scene_differs_in_one_object() -> None:
    for seed in range(30):
        scene = make(seed, "free")
        other = changed(scene, seed)
        gone = set(scene.items) - set(other.items)
        come = set(other.items) - set(scene.items)
        assert len(gone) == 1 and len(come) <= 1


# --- dialogues -----------------------------------------------------------------------------------


def turns(count: int) -> list[tuple[Scene, str, str, str]]:
    """Scene, task, question and answer of questions about single pictures."""
    return [
        (scene, turn.task, turn.question, turn.answer)
        for seed in range(count)
        for scene in [make(seed)]
        for turn in about_one(scene, 12, random.Random(seed))
    ]


def test_every_task_is_asked_in_both_languages() -> None:
    asked = {turn.task for seed in range(200) for turn in dialogue(seed)}
    assert asked == {*WEIGHTS, *TWO_PICTURES}
    for speak in LANGUAGES:
        assert speak.QUESTIONS.keys() == asked
    assert english.ANSWERS.keys() == chinese.ANSWERS.keys()


def test_questions_and_answers_are_whole_sentences() -> None:
    for seed in range(150):
        for turn in dialogue(seed):
            for text in (turn.question, turn.answer):
                assert text == text.strip() and text, turn
                assert not re.search(r"[{}]|\.\.|。。|  |\bNone\b", text), turn
                assert text.count("<ref>") == text.count("</ref>")
                assert text.count("<box>") == len(BOX.findall(text)), turn
            assert turn.answer[-1] in ".。>", turn


def test_an_answer_has_the_language_of_its_question() -> None:
    han = re.compile(r"[一-鿿]")
    for seed in range(100):
        for turn in dialogue(seed):
            assert bool(han.search(turn.question)) == bool(han.search(turn.answer)) or turn.question == "OCR"


def test_boxes_in_answers_are_those_of_items() -> None:
    seen = Counter[str]()
    for scene, task, _, answer in turns(80):
        if task in ("find", "ground"):
            true = {scene.on_grid(item.box) for item in scene.items}
            found = [tuple(map(int, match)) for match in BOX.findall(answer)]
            seen[task] += bool(found)
            assert set(found) <= true
            assert all(0 <= side <= 999 for box in found for side in box)
    assert min(seen["find"], seen["ground"]) > 5


def test_captions_name_what_is_there() -> None:
    seen = 0
    for scene, task, _, answer in turns(100):
        if task == "caption" and scene.objects:
            seen += 1
            assert things(answer) == Counter((item.colour, item.kind) for item in scene.objects)
    assert seen > 20


def test_counts_are_right() -> None:
    for seed in range(120):
        scene = make(seed, "grid")
        turn = Asker(scene, english, random.Random(seed)).ask("count")
        assert turn
        number, *words = turn.answer.rstrip(".").split()[2:]
        kind = {english.named("", kind, count): kind for kind in KINDS for count in (1, 2)}.get(words[-1], "")
        colour = words[0] if len(words) > 1 else ""
        assert english.NUMBERS.index(number) == len(matching(scene.items, colour, kind)), turn


def test_a_text_that_is_read_is_the_one_that_is_printed() -> None:
    seen = 0
    for scene, task, _, answer in turns(80):
        if task == "read" and scene.texts:
            seen += 1
            assert re.findall(r'["“]([^"”]*)["”]', answer) == scene.texts
    assert seen > 10


def test_a_picture_that_is_no_drawing_is_not_made_up() -> None:
    scene = make(3, "unknown")
    for speak in LANGUAGES:
        for turn in (
            Asker(scene, speak, random.Random(1)).ask(task) for task in ("caption", "find", "count", "read")
        ):
            assert turn and turn.answer == speak.ANSWERS["unknown"]


def test_pictures_come_with_the_question_that_needs_them() -> None:
    for seed in range(100):
        shown = [len(turn.pictures) for turn in dialogue(seed)]
        assert all(count in (0, 1, 2) for count in shown)
        assert sum(shown) in (0, 1, 2) and (not any(shown) or shown[0])


def test_pairs_are_comparable() -> None:
    for seed in range(40):
        first, second = pair(seed)
        assert first != second and "unknown" not in (first.layout, second.layout)


# --- what the training is given ------------------------------------------------------------------


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    write(learn(corpus(60), 500), folder / FILE)
    return folder


def test_a_learnt_vocabulary_is_one_of_qwens(vocabulary: Path) -> None:
    tokenizer = load_tokenizer(vocabulary)
    assert tokenizer.special["<|endoftext|>"] == 500
    assert tokenizer.encode("!") == [0]
    assert len(tokenizer.encode("907")) == 3
    for turn in dialogue(3):
        assert tokenizer.decode(tokenizer.encode(turn.answer)) == turn.answer


def test_a_written_dialogue_is_a_prompt_and_its_answers(vocabulary: Path) -> None:
    writer = Writer(vocabulary)
    talk = next(made for seed in range(99) if (made := dialogue(seed, turns=3))[0].pictures)
    row = writer.dialogue(talk, limit=10_000)
    assert row.pictures == [scene for turn in talk for scene in turn.pictures]
    messages = [{"role": "system", "content": DEFAULT_SYSTEM}]
    for turn in talk:
        messages += [message(turn, b""), {"role": "assistant", "content": turn.answer}]
    prompt = writer.tokenizer.apply_chat_template(messages, add_generation_prompt=False)["input_ids"]
    assert row.ids == prompt
    learnt = [token for token, label in zip(row.ids, row.labels, strict=True) if label != IGNORED]
    said = "".join(f"{turn.answer}<|im_end|>" for turn in talk)
    assert writer.tokenizer.decode(learnt) == said


def test_a_dialogue_is_cut_between_turns(vocabulary: Path) -> None:
    writer = Writer(vocabulary)
    row = writer.dialogue(about_one(make(1), 20, random.Random(1)), limit=200)
    assert (
        len(row.ids) == len(row.labels) == len(row.spelt) == len(row.turns) <= 200 + 256 * len(row.pictures)
    )
    assert row.ids[-1] == writer.end


def test_a_turn_sees_the_pictures_and_itself(vocabulary: Path) -> None:
    row = Writer(vocabulary).dialogue(about_one(make(1), 3, random.Random(1)), limit=10_000)
    assert sorted(set(row.turns)) == [0, 1, 2, 3]
    sees = visible(torch.tensor([row.turns]))[0, 0]
    for turn in (1, 2, 3):
        seen = [row.turns[n] for n in sees[len(row.turns) - 1 - row.turns[::-1].index(turn)].nonzero()]
        assert set(seen) == {0, turn} and seen.count(0) == row.turns.count(0) > 256
    assert not sees.triu(1).any()


def test_letters_are_counted_while_they_are_spelt(vocabulary: Path) -> None:
    writer = Writer(vocabulary)
    for answer in ('The text says "AB" and "7".', "文字是“AB”“7”。"):
        said = writer.tokenizer.encode(answer)
        counts = writer.spelt(Turn("read", "", answer, spelt=True), said)
        letters = [writer.tokenizer.encode(letter)[0] for letter in "AB7"]
        assert [counts[said.index(letter)] for letter in letters] == [1, 2, 3]
        assert counts[0] == IGNORED and max(counts) == 3
        assert set(writer.spelt(Turn("where", "", answer), said)) == {IGNORED}


def test_hints_say_what_is_being_written(vocabulary: Path) -> None:
    writer = Writer(vocabulary)

    def hinted(task: str, question: str, answer: str, *shown: Scene) -> dict[str, dict[int, str]]:
        """By the names of HINTS, the text that has each value."""
        turn = Turn(task, question, answer)
        _, said = writer.turn(turn, count(1))
        texts = [writer.tokenizer.decode([token], skip_special_tokens=False) for token in said]
        hints = writer.hints(turn, said, shown)
        return {
            name: {
                value: "".join(text for text, at in zip(texts, hint, strict=True) if at == value)
                for value in set(hint) - {IGNORED}
            }
            for name, hint in hints.items()
        }

    found = hinted("find", "Find 12.", "<ref>圆形</ref><box>(0,330),(640,980)</box>")
    digits = {step: re.sub(r"\D", "", text) for step, text in found["side"].items()}
    assert digits == {0: "0", 21: "330", 41: "640", 63: "980"} and not found["region"]
    colours = list(COLOURS)
    square, circle = (KINDS.index(kind) * len(COLOURS) for kind in ("square", "circle"))
    described = hinted("caption", "", "Two blue squares and a small red circle on a white background.")
    assert described["sort"] == {
        square + colours.index("blue"): "Two blue squares",
        circle + colours.index("red"): " a small red circle",
    }
    assert described["number"] == {2: "T", 1: " a a"} and not described["bar"]
    chart = next(scene for seed in count() if len((scene := make(seed, "bars")).items) == 2)
    lefts = [int(16 * bar.box[0] / chart.width + 0.125) for bar in chart.items]
    values = [bar.text for bar in chart.items]
    for speak in (english, chinese):
        told_of = hinted("read", "", speak.bars([("A", values[0]), ("B", values[1])]), make(1, "free"), chart)
        for left, letter, value in zip(lefts, "AB", values, strict=True):
            assert letter in told_of["bar"][left] and value in told_of["bar"][left]
        assert re.search("two|两", told_of["number"][2])
        assert not hinted("read", "", speak.bars([("A", values[0])]), chart, chart)["bar"]
    asked = hinted("region", "In picture 2: What is in <box>(0,63),(500,999)</box>?", "Only the background.")
    assert asked["region"] == {((0 * 16 + 1) * 16 + 8) * 16 + 15: "Only the background.<|im_end|>"}


def test_a_step_is_read_as_it_was_written() -> None:
    assert [step_of(written(step)) for step in range(4 * cells.SIDE)] == [*range(4 * cells.SIDE)]


def test_things_are_told_in_both_languages() -> None:
    said = "There are twelve red fish, no blue stars and a large green house."
    assert [(one.number, one.colour, one.kind) for one in told(said)] == [
        (12, "red", "fish"), (0, "blue", "star"), (1, "green", "house"),
    ]  # fmt: skip
    said = "白色背景上有十二条红色鱼、一座大绿色房子和两个中等大小的蓝色圆形。"
    assert [(one.number, one.colour, one.kind) for one in told(said)] == [
        (12, "red", "fish"), (1, "green", "house"), (2, "blue", "circle"),
    ]  # fmt: skip


def test_boxes_are_measured_by_what_they_share() -> None:
    assert boxes("<ref>a</ref><box>(1,2),(3,4)</box>") == [(1, 2, 3, 4)]
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 30, 10)) == 0


# --- what the vision tower has to see ------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_place_of_a_picture_has_its_code(layout: str) -> None:
    for seed in range(20):
        scene = make(seed, layout)
        codes = cells.truth(scene)
        assert codes.shape == (cells.SIDE**2, len(cells.SIZES))
        assert all(codes[:, n].max() < size for n, size in enumerate(cells.SIZES))
        named = {cells.WHAT[kind] for kind in codes[:, 0].tolist()} - {"nothing"}
        assert named <= {item.kind for item in scene.items}
        middles = {item.centre for item in scene.items if item.kind != "slice"}
        assert int(codes[:, cells.CENTRE].sum()) == len(middles)


def test_a_cell_knows_the_box_around_it() -> None:
    scene = make(1, "line")
    x, y = scene.items[0].centre
    row, column = int(cells.SIDE * y / scene.height), int(cells.SIDE * x / scene.width)
    scale, ninth, *ends = cells.truth(scene)[row * cells.SIDE + column, cells.THING :].tolist()
    assert (cells.SCALE[scale], ninth) == (scene.size(scene.items[0]), scene.place(scene.items[0]))
    steps = [4 * place + quarter for place, quarter in zip(ends[::2], ends[1::2], strict=True)]
    for step, on_grid, exact in zip(
        steps, scene.on_grid(scene.items[0].box), scene.on_grid(scene.items[0].box, exact=True), strict=True
    ):
        assert step == pytest.approx(exact * 0.064, abs=0.55)
        assert on_grid == pytest.approx(step / 0.064, abs=5)


def test_the_letters_of_a_text_are_found_in_their_places() -> None:
    scene = next(scene for seed in range(99) if len((scene := make(seed, "sign")).items) == 1)
    codes = cells.truth(scene)
    letters = [cells.CHARACTERS[n] for n in codes[:, cells.LETTER].tolist() if n]
    assert "".join(letters) == scene.items[0].text
    assert int(codes[:, cells.BEGINS].sum()) == 1


def test_the_letters_of_a_bar_belong_to_it() -> None:
    scene = make(3, "bars")
    codes = cells.truth(scene)
    printed = codes[codes[:, cells.LETTER] > 0]
    assert {cells.WHAT[kind] for kind in printed[:, cells.KIND].tolist()} == {"bar"}
    assert int(printed[:, cells.BEGINS].sum()) == 2 * len(scene.items)


def test_ranks_count_sorts_of_things_and_letters() -> None:
    free = (make(seed, "free") for seed in range(999))
    scene = next(scene for scene in free if sum(item.kind == "text" for item in scene.items) == 2)
    codes = cells.truth(scene)
    ranks, printed = cells.ranks(codes), codes[:, cells.KIND] == cells.WHAT.index("text")
    kinds = {(item.kind, item.colour, item.text) for item in scene.objects}
    letters = sum(len(item.text) for item in scene.items if item.kind == "text")
    assert ranks[~printed][ranks[~printed] > 0].tolist() == [*range(1, len(kinds) + 1)]
    assert ranks[printed & (ranks > 0)].tolist() == [*range(1, letters + 1)]


def test_features_as_they_ought_to_be_cost_next_to_nothing() -> None:
    codes = torch.stack([cells.truth(make(seed)) for seed in range(4)])
    features = cells.ideal(codes, 256)
    assert cells.loss(features, codes) < 0.1 < cells.loss(features.roll(1, 1), codes)
    assert cells.loss(torch.zeros_like(features), codes) > 10
