"""The small Qwen-VL that comes with Quintet: its files, its first weights, and what it sees in drawn scenes."""

import io
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import models
from models import ChatEngine, ChatOptions, Delta
from models.catalog import CHECKPOINTS
from models.catalog.headers import read_safetensors
from models.qwen_vl.weights import load_model
from starters.qwen_vl import cells, matching, train
from starters.qwen_vl.data import IGNORED, Batch, Talks, Writer, talks
from starters.qwen_vl.drawing import draw, example
from starters.qwen_vl.scenes import COLOURS, UNSEEN, Scene, make
from starters.qwen_vl.train import Hinting, Output, Talking, Together, build

NAME = "qwen-vl-tiny"
FOLDER = Path(str(CHECKPOINTS[NAME].path))
TWENTY_MILLION = 20_000_000


# --- files ---------------------------------------------------------------------------------------


def test_the_files_have_the_original_format_and_are_small() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "qwen.tiktoken",
    ]  # fmt: skip
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < TWENTY_MILLION
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["model_type"] == "qwen" and "visual" in config
    header = read_safetensors(FOLDER / "model.safetensors")
    assert set(header.facts.values()) == {"BF16"}
    hidden = config["hidden_size"]
    assert header.tensors["transformer.h.0.attn.c_attn.weight"] == (3 * hidden, hidden)
    assert header.tensors["transformer.h.0.mlp.w1.weight"] == (config["intermediate_size"] // 2, hidden)
    assert header.tensors["transformer.visual.attn_pool.attn.in_proj_weight"] == (3 * hidden, hidden)
    assert {name.split(".")[0] for name in header.tensors} == {"transformer", "lm_head"}


def test_an_example_is_a_scene_that_no_training_saw() -> None:
    first, second = example(), example()
    assert first != second and Image.open(io.BytesIO(first)).format == "PNG"


# --- training ------------------------------------------------------------------------------------


@pytest.fixture
def writer() -> Writer:
    return Writer(FOLDER)


def course(work: Path, **changed: Any) -> Namespace:
    """The command line of a short training."""
    usual = {
        "rate": 0.01,
        "start": None,
        "after": 0,
        "resume": False,
        "bfloat16": False,
        "batch": 1,
        "limit": 150,
    }
    return Namespace(**usual | {"work": work} | changed)


def test_a_decoder_finds_what_a_word_names_before_it_is_trained(writer: Writer) -> None:
    """Of all colours the one of the thing just named is the likeliest, in most scenes with one of its kind."""
    model = build()
    matching.prepare(model, writer.tokenizer)
    tints = {name: writer.tokenizer.encode(f" {name}")[0] for name in COLOURS}
    right = []
    for seed in range(60):
        scene = make(seed, "free")
        kinds = [item.kind for item in scene.objects]
        item = scene.objects[0]
        if len(kinds) < 2 or kinds.count(item.kind) > 1:
            continue
        message = {
            "role": "user",
            "content": [{"type": "image", "image": b""}, {"type": "text", "text": "?"}],
        }
        ids = writer.tokenizer.apply_chat_template([message])["input_ids"]
        ids += writer.tokenizer.encode(f"The {item.kind}")
        with torch.no_grad():
            features = cells.ideal(cells.truth(scene)[None], 256)
            logits = model(torch.tensor([ids]), mm_encoder_outputs=features).logits[0, -1]
        right.append(max(tints, key=lambda name: logits[tints[name]].item()) == item.colour)
    assert len(right) > 20 and sum(right) / len(right) > 0.6


def test_a_step_of_training_makes_the_loss_smaller(writer: Writer, tmp_path: Path) -> None:
    options = course(tmp_path, talking=3, batch=2, limit=200)
    part = Talking(options, writer)
    data = Talks(writer, range(7, 9), 2, easy=1, limit=200)
    batch = talks([data[0], data[1]], draw=False)
    losses = [sum(part.step(part.losses(batch)).values()) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.5


def test_an_interrupted_training_goes_on_where_it_was(writer: Writer, tmp_path: Path) -> None:
    options = course(tmp_path, talking=1, resume=True)
    first = Talking(options, writer)
    first.run()
    second = Talking(options, writer)
    assert second.done == 1
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_a_decoder_that_knows_its_hints_loses_nothing_by_them() -> None:
    output = Output(torch.nn.Identity())
    hinting = Hinting("side", output, 32)
    steps = torch.tensor([[IGNORED, 21, 21, IGNORED, 40]])
    nothing = torch.empty(0)

    def loss(known: list[int]) -> float:
        """Where the output before each token says these steps."""
        columns = [hinting.directions[:, step // 4] + hinting.directions[:, 16 + step % 4] for step in known]
        output.last = 20 * torch.stack(columns)[None]
        return hinting.loss(Batch(*[nothing] * 4, {"side": steps}, nothing, nothing)).item()

    assert loss([21, 21, 0, 40, 0]) < 1e-6
    assert loss([21, 22, 0, 40, 0]) > 1
    steps = torch.full_like(steps, IGNORED)
    assert loss([0, 0, 0, 0, 0]) == 0


@pytest.mark.parametrize(("part", "apart"), [(Talking, [True, True]), (Together, [True, False])])
def test_turns_see_each_other_in_every_other_step_at_the_end(
    part: type[Talking], apart: list[bool], writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = course(tmp_path, talking=2, together=2, start=FOLDER)
    made = part(options, writer)
    told = []
    monkeypatch.setattr(train, "answers_loss", lambda *given: told.append(given[-1]) or torch.zeros(()))
    batch = talks([Talks(writer, range(1), 1, easy=0, limit=150)[0]], draw=False)
    for made.done in range(2):
        made.hinting = {}
        made.told(batch, None)
    assert told == apart


def test_a_training_learns_on_from_a_checkpoint(writer: Writer, tmp_path: Path) -> None:
    options = course(tmp_path, talking=1, start=FOLDER, after=7, batch=2)
    part = Talking(options, writer)
    shipped = load_model(FOLDER, torch.float32).state_dict()
    assert all(torch.equal(tensor, shipped[name]) for name, tensor in part.model.state_dict().items())


# --- answers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[ChatEngine]:
    made = models.load(NAME, device="cpu")
    assert isinstance(made, ChatEngine)
    yield made
    models.unload(NAME)


def caption(engine: ChatEngine, scene: Scene) -> str:
    file = io.BytesIO()
    draw(scene).save(file, "PNG")
    parts: list[dict[str, Any]] = [{"type": "image", "image": file.getvalue()}]
    parts.append({"type": "text", "text": "Describe this picture in one sentence."})
    options = ChatOptions(temperature=0.0, max_new_tokens=200)
    events = engine.stream([{"role": "user", "content": parts}], options)
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_captions_name_most_of_what_is_in_scenes_that_no_training_saw(engine: ChatEngine) -> None:
    kinds, things, grounds = [], [], []
    for seed in range(UNSEEN, UNSEEN + 40):
        scene = make(seed, "free", busy=0.6)
        said = caption(engine, scene)
        grounds.append(f"{scene.background} background" in said)
        kinds += [item.kind in said for item in scene.objects]
        things += [f"{item.colour} {item.kind}" in said for item in scene.objects]
    assert sum(grounds) / len(grounds) > 0.95
    assert sum(kinds) / len(kinds) > 0.9
    assert sum(things) / len(things) > 0.85


def test_another_picture_gets_another_caption(engine: ChatEngine) -> None:
    captions = {
        caption(engine, make(seed, layout)) for seed in (1, 2, 3) for layout in ("free", "sign", "bars")
    }
    assert len(captions) >= 8
