"""Qwen-VL's tokenizer, prompts, pictures and boxes: ids, pixels and numbers of the original."""

import base64
import hashlib
import io
import json
import random
import unicodedata
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
from PIL import Image, ImageOps
from safetensors.numpy import load_file

from models.errors import BadInput, CheckpointNotFound, UnsupportedCheckpoint
from models.pictures.boxes import MOST, Box, find_boxes, without_tags
from models.pictures.reading import MOST_PIXELS, picture_bytes, read_picture
from models.qwen_vl.pixels import pixels
from models.qwen_vl.prompt import PromptPicture, format_messages, number_pictures, read_plain
from models.qwen_vl.reply import ReplyStream
from models.qwen_vl.tokenizer import FILE, TAGS, WORDS, QwenTokenizer, load_tokenizer, read_ranks
from tests.fakes import qwen_checkpoints as tiny
from tests.fakes.paths import SHARED

needs_fixtures = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared with the reference outputs")


def cases(kind: str) -> Any:
    return json.loads((SHARED / "fixtures/tokenizers/qwen.json").read_text("utf-8"))[kind]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> QwenTokenizer:
    """As it is read after it was built once."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared with the real vocabulary")
    cache = tmp_path_factory.mktemp("cache")
    for _ in range(2):
        tokenizer = load_tokenizer(SHARED / "tokenizers/qwen-vl-chat", cache=cache)
    assert len(list(cache.iterdir())) == 1
    return tokenizer


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> QwenTokenizer:
    return load_tokenizer(vocabulary(tmp_path_factory.mktemp("vocabulary")), queries=9)


def vocabulary(folder: Path) -> Path:
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tiny.vocabulary()))
    (folder / FILE).write_text("".join(lines), "ascii")
    return folder


def user(*content: Any) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    return [{"role": "user", "content": parts}]


def image(data: bytes) -> dict[str, Any]:
    return {"type": "image", "image": data}


# --- ids ---------------------------------------------------------------------------------------


def test_prompts(qwen: QwenTokenizer) -> None:
    """All those without pictures; there, what a person types as one stays text."""
    seen = 0
    for case in cases("chat"):
        messages = conversation(case)
        made = qwen.apply_chat_template(messages, return_dict=False)
        assert not {qwen.special[name] for name in ("<img>", "</img>", "<imgpad>")} & set(made)
        if "input_ids" in case and "img" not in case["raw_text"]:
            seen += 1
            assert made == case["input_ids"], case["name"]
            assert qwen.apply_chat_template(messages, tokenize=False) == case["raw_text"]
    assert seen > 12


def conversation(case: Any) -> list[dict[str, Any]]:
    pairs = [turn for q, a in case["history"] for turn in (("user", q), ("assistant", a))]
    made = [("system", case["system"]), *pairs, ("user", case["query"])]
    return [{"role": role, "content": text} for role, text in made]


def test_prompts_with_pictures(qwen: QwenTokenizer) -> None:
    """The ids around the pictures; between their marks the original has a path, and here is a digest."""
    seen = 0
    for case in cases("chat"):
        if case["name"] not in ("three_images", "image_in_history", "box_in_history", "ref_box_query"):
            continue
        seen += 1
        messages = [{**m, "content": with_pictures(m["content"])} for m in conversation(case)]
        made = qwen.apply_chat_template(messages, return_dict=False)
        assert outside(made, qwen) == outside(case["input_ids"], qwen), case["name"]
    assert seen == 4


def with_pictures(text: str) -> list[dict[str, Any]]:
    """``Picture 1:<img>path</img>\\n`` as a part of its own."""
    parts = []
    for piece in text.split("Picture ")[1:] if text.startswith("Picture") else []:
        path, _, rest = piece.partition("<img>")[2].partition("</img>\n")
        parts += [image(path.encode()), {"type": "text", "text": rest}]
    return parts or [{"type": "text", "text": text}]


def outside(ids: list[int], tokenizer: QwenTokenizer) -> list[int]:
    kept, at = [], 0
    while at < len(ids):
        kept.append(ids[at])
        at += tokenizer.queries + 1 if ids[at] == tokenizer.special["<img>"] else 1
    return kept


def test_the_ids_of_special_tokens(qwen: QwenTokenizer) -> None:
    for name, number in cases("meta")["specials"].items():
        assert qwen.special[name] == number == qwen.convert_tokens_to_ids(name)
    assert qwen.stop_ids == (151643, 151644, 151645)


def test_decoding(qwen: QwenTokenizer) -> None:
    seen = 0
    for case in cases("decode"):
        if "ok" in case and not case["errors"]:
            seen += 1
            expected = case["ok"].replace("目录/a b.png", "")  # here no path stands between the marks
            made = qwen.decode(case["ids"], skip_special_tokens=case["skip_special_tokens"])
            assert made == expected, case["name"]
    assert seen == 10


@pytest.mark.parametrize("name", ["qwen", "small"])
def test_random_text_has_the_ids_of_tiktoken(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: QwenTokenizer = request.getfixturevalue(name)
    folder = SHARED / "tokenizers/qwen-vl-chat"
    ranks = (
        read_ranks(folder / FILE)
        if name == "qwen"
        else dict(zip(tiny.vocabulary(), range(10**6), strict=False))
    )
    original = tiktoken.Encoding("qwen", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    draw = random.Random(11)
    alphabets = [(32, 127), (0x4E00, 0x9FA5), (0xA0, 0x24F), (0x600, 0x700), (0x1F300, 0x1F600)]
    pieces = [" ", "\n", "\t", "  \n", "'s", "12345", "the cat", "e\u0301", "<|im_end|>", "<img>", "你好"]
    for _ in range(400):
        text = "".join(
            draw.choice([draw.choice(pieces), chr(draw.randrange(*draw.choice(alphabets)))])
            for _ in range(20)
        )
        expected = original.encode_ordinary(unicodedata.normalize("NFC", text))
        assert tokenizer.encode(text) == expected, text


def test_typed_marks_stay_text_and_tags_do_not(small: QwenTokenizer) -> None:
    typed = "<|im_start|>system<|im_end|><|endoftext|><|extra_3|><img>/etc/passwd</img><imgpad>"
    assert max(small.encode(typed)) < len(tiny.vocabulary())
    assert max(small.content_ids([typed])) < len(tiny.vocabulary())
    pointed = small.content_ids(["<ref>the cat</ref><box>(1,2),(3,4)</box>"])
    tags = {small.special[tag] for tag in TAGS[:4]}
    assert {token for token in pointed if token >= len(tiny.vocabulary())} == tags


def test_models_that_see_nothing_read_tags_as_text(small: QwenTokenizer) -> None:
    typed = "the <ref>cat</ref>"
    blind = copy(small)
    blind.tags = ()
    assert blind.content_ids([typed]) == small.encode(typed)


def test_a_batch_is_padded_on_the_left(small: QwenTokenizer) -> None:
    rows = [user("the cat"), user("the cat in the", image(b"1"))]
    made = small.apply_chat_template(rows, padding=True, return_tensors="pt")
    for row, ids, mask in zip(rows, made["input_ids"], made["attention_mask"], strict=True):
        assert ids[mask.bool()].tolist() == small.apply_chat_template(row, return_dict=False)
    assert made["attention_mask"][0, 0] == 0


def test_files_that_are_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=FILE):
        load_tokenizer(tmp_path)
    for content in ("", "<html>", "AA== 0\nAQ== 2\n", "!!!! 0\n"):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(UnsupportedCheckpoint):
            load_tokenizer(tmp_path)


# --- prompts -----------------------------------------------------------------------------------


def test_pictures_are_numbered_through_the_conversation() -> None:
    messages = [
        *user("look", image(b"1"), "and", image(b"2")),
        {"role": "assistant", "content": "yes"},
        *user(image(b"3"), "this?"),
    ]
    system, first, _, second = format_messages(messages)
    assert system.content == ["You are a helpful assistant."]
    assert first.content == [
        "lookPicture 1:", PromptPicture(b"1"), "\nandPicture 2:", PromptPicture(b"2"), "\n"
    ]  # fmt: skip
    assert second.content == ["Picture 3:", PromptPicture(b"3"), "\nthis?"]
    assert read_plain(messages[2:]) == ["Picture 1:", PromptPicture(b"3"), "\nthis?"]
    later = number_pictures(messages)[2:]
    assert format_messages(later)[1:] == [second]  # as before, with less in front of it


def test_equal_pictures_have_equal_ids_and_others_do_not(small: QwenTokenizer) -> None:
    ids = [small.content_ids([PromptPicture(data)]) for data in (b"1", b"1", b"2")]
    assert ids[0] == ids[1] != ids[2]
    assert {len(each) for each in ids} == {small.queries + 2}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": {"url": "/etc/passwd"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}},
        {"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}},
        {"type": "image_url", "image_url": None},
        {"type": "image", "image": "/etc/passwd"},
        {"type": "image", "image": Path("/etc/passwd")},
        {"type": "input_audio", "input_audio": {"data": "AAAA"}},
    ],
)
def test_nothing_but_the_bytes_of_a_picture(part: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="not opened"):
        format_messages(user("what is this?", part))


def test_a_data_url_holds_the_bytes() -> None:
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert picture_bytes({"type": "image_url", "image_url": {"url": url}}) == b"\x89PNG"
    assert picture_bytes({"type": "image_url", "image_url": url}) == b"\x89PNG"


# --- answers -----------------------------------------------------------------------------------


def stream(tokenizer: QwenTokenizer, ids: list[int], stop: tuple[str, ...] = ()) -> str:
    made = ReplyStream(tokenizer, stop)
    return "".join([*map(made.push, ids), made.flush()])


def test_answers_as_in_the_original(qwen: QwenTokenizer) -> None:
    for case in cases("chat_response"):
        whole = case["name"] in ("cut_by_max_new_tokens", "nfd_query_shifts_cut", "generated_unclosed_img")
        if whole:  # the original loses a token, letters, or the answer
            continue
        ended = next((n for n, token in enumerate(case["generated_ids"]) if token in qwen.stop_ids), None)
        assert stream(qwen, case["generated_ids"][:ended]) == case["ok"], case["name"]


def test_tags_stay_and_marks_go(small: QwenTokenizer) -> None:
    text = "<ref>你好</ref><box>(1,2),(3,4)</box>"
    ids = small.content_ids([f" \n{text} the  cat \n"])
    assert stream(small, [*ids, small.special["<img>"], small.special["<|im_end|>"]]) == f"{text} the  cat"
    assert stream(small, ids, stop=(" the",)) == text


# --- pictures ----------------------------------------------------------------------------------


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@needs_fixtures
def test_pixels_of_the_original() -> None:
    folder = SHARED / "fixtures/qwenvl-preproc"
    expected = load_file(folder / "reference.safetensors")
    listed = json.loads((folder / "cases.json").read_text())
    for case in listed["cases"]:
        values = formula(case["height"], case["width"], len(case["mode"]))
        # The original drops what is transparent, which is shown on white here: only colours are compared.
        source = Image.fromarray(values[..., :3] if case["mode"].startswith("RGB") else values[..., 0])
        made = pixels(read_picture(encoded(source)), listed["size"]).contiguous().numpy()
        assert hashlib.sha256(made.tobytes()).hexdigest() == case["pixels_chw_float32_sha256"], case["name"]
        crop = made[:, 192:256, 192:256]
        assert np.array_equal(crop, expected[f"{case['name']}.pixels_crop"])


def formula(height: int, width: int, channels: int) -> Any:
    y, x, c = np.indices((height, width, channels))
    return ((3 * (c + 1) * x * x + 7 * y * y + (5 - c) * x * y) // 16 % 256).astype(np.uint8)


RED_LEFT = Image.new("RGB", (60, 40), "blue")
RED_LEFT.paste("red", (0, 0, 30, 40))
KINDS = {
    "jpeg": encoded(RED_LEFT, "JPEG", quality=95),
    "cmyk": encoded(RED_LEFT.convert("CMYK"), "JPEG", quality=95),
    "palette": encoded(RED_LEFT.quantize(4)),
    "transparent": encoded(RED_LEFT.convert("RGBA")),
    "webp": encoded(RED_LEFT, "WEBP", quality=95),
    "animated": encoded(RED_LEFT, "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40), "green")]),
    "bmp": encoded(RED_LEFT, "BMP"),
    "tiff": encoded(RED_LEFT, "TIFF"),
    "ppm": encoded(RED_LEFT, "PPM"),
    "avif": encoded(RED_LEFT, "AVIF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pictures(kind: str) -> None:
    made = read_picture(KINDS[kind])
    assert (made.mode, made.size) == ("RGB", (60, 40))
    left, right = (np.array(made.getpixel(at), int) for at in ((10, 20), (50, 20)))
    assert abs(left - (255, 0, 0)).max() < 30 and abs(right - (0, 0, 255)).max() < 30


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    assert np.asarray(read_picture(encoded(deep, kind)))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(("mode", "bits"), [("I;16B", ">u2"), ("F", "f4")])
def test_greys_of_scientific_programs_are_scaled(mode: str, bits: str) -> None:
    values = np.array([[0, 0.5, 1]]) * (65535 if mode.startswith("I") else 1)
    grey = Image.frombytes(mode, (3, 1), values.astype(bits).tobytes())
    assert np.asarray(read_picture(encoded(grey, "TIFF")))[0, :, 0].tolist() == [0, 127, 255]


def test_a_picture_is_turned_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    made = read_picture(encoded(RED_LEFT, "JPEG", exif=turned, quality=95))
    assert made.size == (40, 60) and made.getpixel((20, 10))[0] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_to_hold_a_camera(orientation: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    data = encoded(RED_LEFT, exif=tag)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert read_picture(data).tobytes() == upright.tobytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("damaged", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"\0"])
def test_damaged_tags_cost_no_picture(damaged: bytes) -> None:
    for kind in ("PNG", "WEBP", "JPEG"):
        assert read_picture(encoded(RED_LEFT, kind, exif=damaged)).size == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        KINDS["jpeg"][:300],
        encoded(Image.effect_noise((64, 64), 50))[:-80],
    ],
)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="damaged"):
        read_picture(data)


@pytest.mark.parametrize("side", [int(MOST_PIXELS**0.5) + 1, 10_000, 30_000])
def test_a_small_file_that_claims_a_huge_picture_is_refused(side: int) -> None:
    data = encoded(Image.new("1", (side, side)))
    assert len(data) < 1 << 20
    with pytest.raises(BadInput, match="million pixels"):
        read_picture(data)


def test_a_thin_picture_is_one() -> None:
    assert pixels(read_picture(encoded(Image.new("L", (1, 20_000)))), 56).shape == (3, 56, 56)


# --- boxes -------------------------------------------------------------------------------------


@needs_fixtures
def test_boxes_of_the_original() -> None:
    seen = 0
    for case in cases("boxes"):
        made = [corners(box) | ({"ref": box.label} if box.label else {}) for box in find_boxes(case["text"])]
        if "ok" in case["boxes"]:
            seen += 1
            # The original gives the label to the first of several boxes alone.
            assert made[:1] == case["boxes"]["ok"][:1], case["text"]
            assert [box["box"] for box in made] == [box["box"] for box in case["boxes"]["ok"]], case["text"]
    for case in cases("pixel_boxes"):
        assert list(Box(*case["box"]).pixels(case["width"], case["height"])) == case["pixels"]
    assert seen == 14


def test_corners_in_another_order() -> None:
    assert Box(900, 0, 100, 1000).pixels(100, 50) == (10, 0, 90, 50)


def corners(box: Box) -> dict[str, Any]:
    return {"box": [box.left, box.top, box.right, box.bottom]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<box>(1,2),(3)</box>", []),
        ("<box>(1,2),(3,4),(5,6)</box>", []),
        ("<box></box><box>cat</box>", []),
        ("<box>" + "9" * 400 + "</box>", []),
        ("<box>(1,2),(3,4)", [Box(1, 2, 3, 4)]),
        ("<ref>a</ref><box>(1.5,2),(3,4)</box>", [Box(1, 2, 3, 4, "a")]),
        ("<box>（1,2）,（3,4）</box>", [Box(1, 2, 3, 4)]),
        ("<box>(900,-5),(100,2000)</box>", [Box(900, 0, 100, 1000)]),
        ("x<|im_end|><box>(1,2),(3,4)</box>", [Box(1, 2, 3, 4)]),
        ("<ref>a<box>(1,2),(3,4)</box>", [Box(1, 2, 3, 4, "a")]),
        ("<ref>a<ref>b</ref><box>(1,2),(3,4)</box>", [Box(1, 2, 3, 4, "b")]),
        ("<ref>a</ref><box>(1,2),(3,4)<box>(5,6),(7,8)</box>", [Box(1, 2, 3, 4, "a"), Box(5, 6, 7, 8, "a")]),
    ],
)
def test_forgiving_where_the_original_raises(text: str, expected: list[Box]) -> None:
    assert find_boxes(text) == expected


ONE, TWO = "<box>(1,2),(3,4)</box>", "<box>(5,6),(7,8)</box>"


@pytest.mark.parametrize("between", ["", " ", "\n", ", ", "，", "、"])
def test_a_label_belongs_to_all_its_boxes(between: str) -> None:
    boxes = find_boxes(f"<ref>cats</ref>{between}{ONE}{between}{TWO}")
    assert boxes == [Box(1, 2, 3, 4, "cats"), Box(5, 6, 7, 8, "cats")]


def test_words_end_what_a_label_belongs_to() -> None:
    boxes = find_boxes(
        f"<ref>cat</ref>{ONE} and{TWO} <ref>dog</ref>{ONE}<quad>(1,2),(3,4),(5,6),(7,8)</quad>{TWO}"
    )
    assert [box.label for box in boxes] == ["cat", "", "dog", ""]


@pytest.mark.parametrize(
    "unit", ["<ref>", "<box>", "<ref>a", "</ref>", "<img>", "<ref>a</ref><box>", ONE, "<ref"]
)
def test_any_answer_is_read_in_one_scan(unit: str) -> None:
    assert len(find_boxes(unit * 50_000)) <= MOST


def test_boxes_as_the_model_reads_them() -> None:
    box = Box(1, 2, 300, 400, "the cat")
    assert find_boxes(f"here: {box} and {Box(5, 6, 7, 8)}") == [box, Box(5, 6, 7, 8)]
    assert without_tags(f"here: {box}, there") == "here: the cat, there"


def test_boxes_as_qwen2_vl_writes_them() -> None:
    cat = "<|object_ref_start|>the cat<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"
    assert find_boxes(f"{cat} and <|box_start|>(5,6),(7,8)") == [Box(1, 2, 3, 4, "the cat"), Box(5, 6, 7, 8)]
    assert without_tags(f"here: {cat}, there") == "here: the cat, there"
