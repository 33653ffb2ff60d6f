"""The transformers engine on files that others have named, shared, or left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from models import Loader
from models.engines.base import Engine
from models.engines.hf import HfEngine
from models.errors import BadInput, CheckpointCorrupt
from tests.fakes.hf_engine import HELLO, answer, load
from tests.fakes.tiny_models import CHATML, save_llama

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def loaded(folder: Path, precision: str = "fp32") -> Any:
    """As a person loads it: described first."""
    engine: Engine = Loader().load(str(folder), "cpu", precision)
    return engine


def change_tensors(folder: Path, change: Any, to: str = "model.safetensors") -> Path:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    file.unlink()
    save_file(tensors, folder / to, metadata={"format": "pt"})
    return folder


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


# --- names and quantisation ----------------------------------------------------------------------


def test_weights_under_another_name_answer_alike(tmp_path: Path) -> None:
    folder = save_llama(tmp_path)
    expected = answer(load(folder))[0]
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert answer(loaded(folder))[0] == expected


def pack(tensors: dict[str, Any]) -> None:
    """Random GPTQ weights in place of every linear layer's, four bits in groups of 32."""
    import torch

    for name in [name for name in tensors if ".self_attn." in name or ".mlp." in name]:
        rows, columns = tensors.pop(name).shape
        stem = name.removesuffix("weight")
        tensors[f"{stem}qweight"] = torch.randint(
            -(2**31), 2**31 - 1, (columns // 8, rows), dtype=torch.int32
        )
        tensors[f"{stem}qzeros"] = torch.full((columns // 32, rows // 8), 0x77777777, dtype=torch.int32)
        tensors[f"{stem}scales"] = torch.full((columns // 32, rows), 0.02, dtype=torch.float16)
        tensors[f"{stem}g_idx"] = (torch.arange(columns) // 32).to(torch.int32)


@pytest.mark.skipif("sys.platform != 'linux'", reason="gptqmodel is installed on Linux")
@pytest.mark.filterwarnings("ignore")  # gptqmodel's own, of several kinds
def test_a_folder_as_auto_gptq_saved_it(tmp_path: Path) -> None:
    folder = change_tensors(save_llama(tmp_path, dtype="float16"), pack, "gptq_model-4bit-32g.safetensors")
    facts = {"bits": 4, "group_size": 32, "desc_act": False, "sym": True, "model_file_base_name": None}
    (folder / "quantize_config.json").write_text(json.dumps(facts))
    engine = loaded(folder, "auto")
    assert hasattr(engine.model.model.layers[0].mlp.up_proj, "qweight")
    assert answer(engine)[1].usage.completion_tokens


# --- heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_shared_head_is_shared_whatever_the_config_says(tmp_path: Path, precision: str) -> None:
    folder = save_llama(tmp_path, tie_word_embeddings=True)
    expected = answer(load(folder, precision))[0]
    change_json(folder / "config.json", tie_word_embeddings=False)
    engine = load(folder, precision)
    assert answer(engine)[0] == expected
    assert engine.model.get_output_embeddings().weight.data_ptr() == (
        engine.model.get_input_embeddings().weight.data_ptr()
    )


def test_a_copy_of_the_head_beside_a_shared_one(tmp_path: Path) -> None:
    folder = save_llama(tmp_path, tie_word_embeddings=True)
    expected = answer(load(folder))[0]
    change_tensors(folder, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].clone()}))
    assert answer(load(folder))[0] == expected


def test_a_head_of_its_own_is_kept_where_the_config_calls_it_shared(tmp_path: Path) -> None:
    folder = save_llama(tmp_path, tie_word_embeddings=False)
    expected = answer(load(folder))[0]
    change_json(folder / "config.json", tie_word_embeddings=True)
    assert answer(load(folder))[0] == expected


def test_other_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = save_llama(tmp_path, tie_word_embeddings=False)
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in (HEAD, "model.norm.weight")])
    with pytest.raises(CheckpointCorrupt, match="lacks 2 weights, lm_head.weight"):
        load(folder)


# --- templates ---------------------------------------------------------------------------------

TOOL_USE = "{{ tools | length }}" + CHATML


def with_template(folder: Path, template: Any, **files: Any) -> Path:
    save_llama(folder, template=None)
    change_json(folder / "tokenizer_config.json", chat_template=template)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def prompt(engine: HfEngine, *messages: Any, tools: Any = ()) -> str:
    return str(engine.tokenizer.decode(engine._prompt(list(messages), tools)))


@pytest.mark.parametrize("first", ["default", "rag"])
def test_named_templates(tmp_path: Path, first: str) -> None:
    named = [{"name": first, "template": CHATML}, {"name": "tool_use", "template": TOOL_USE}]
    engine = load(with_template(tmp_path, named))
    assert engine.has_chat_template and answer(engine)[0]
    tool = {"name": "f", "parameters": {}}
    assert prompt(engine, *HELLO).startswith("<|im_start|>user")
    assert prompt(engine, *HELLO, tools=[tool]).startswith("1<|im_start|>user")
    assert prompt(engine, {"role": "system", "content": "x", "tools": [tool]}, *HELLO).startswith(
        "1<|im_start|>system"
    )


def test_a_processors_template_is_the_tokenizers(tmp_path: Path) -> None:
    folder = with_template(tmp_path, None, chat_template={"chat_template": CHATML})
    engine = loaded(folder)
    assert (engine.checkpoint.kind, engine.has_chat_template) == ("chat", True)
    assert prompt(engine, *HELLO).startswith("<|im_start|>user")


def test_no_template_is_none(tmp_path: Path) -> None:
    engine = loaded(with_template(tmp_path, None, chat_template={}))
    assert (engine.checkpoint.kind, engine.has_chat_template) == ("completion", False)


# --- tokens ------------------------------------------------------------------------------------


def test_a_token_beyond_the_embedding_is_named_and_the_next_question_answered(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = save_llama(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Not special, so that it is a token in what somebody writes as well.
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(60)])
    tokenizer.save_pretrained(folder)
    engine = load(folder)
    rows = engine.model.get_input_embeddings().weight.shape[0]
    last, first = engine.tokenizer.convert_ids_to_tokens([rows - 1, rows])
    for beyond in (first, "<extra_59>"):
        with pytest.raises(BadInput, match=f"{beyond}.* no embedding") as caught:
            answer(engine, [{"role": "user", "content": f"what is {beyond}?"}])
        assert beyond in caught.value.zh
    assert answer(engine, [{"role": "user", "content": f"what is {last}?"}])[1].finish_reason
