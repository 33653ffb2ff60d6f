"""Why some things are written by hand: what the libraries did not do when they were.

Each test pins a reason that the code states. One that fails says that its reason has gone: then the code
that it names can go, too.
"""

import ipaddress
import json
import logging
import socket
import threading
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes.hub import COMMIT, FakeHub

# --- getting files -------------------------------------------------------------------------------


class Stopped(Exception):
    """What a download is left with."""


def test_huggingface_hub_keeps_nothing_of_a_download_that_was_left(tmp_path: Path) -> None:
    """models/hub/sources.py: the bytes come through models/hub/download.py, which keeps the part."""
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        def update(self, n: float | None = 1) -> bool | None:
            raise Stopped

    body = bytes(3 * FakeHub.CHUNK)
    with FakeHub({"owner/model": {"model.bin": body}}) as hub:
        where = {"cache_dir": tmp_path, "endpoint": hub.url, "revision": COMMIT}
        with pytest.raises(Stopped):
            hf_hub_download("owner/model", "model.bin", tqdm_class=Bar, **where)
        assert hub.asked("/resolve/")
        assert not [file for file in tmp_path.rglob("*.incomplete") if file.stat().st_size]
        assert not [request for request in hub.asked("/resolve/") if request.range]


def test_huggingface_hub_reads_its_settings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """models/hub/sources.py: where to ask is read when a fetch happens."""
    from huggingface_hub import hf_hub_url

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not hf_hub_url("owner/model", "model.bin").startswith("http://127.0.0.1:9")


def test_httpx2_looks_names_up_where_nothing_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """models/hub/fetching.py asks in a thread of its own whether a hub answers, and waits only so long."""
    import httpx2

    threads = []

    def look_up(*_: Any, **__: Any) -> Any:
        threads.append(threading.current_thread())
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(httpx2.ConnectError):
        httpx2.head("http://hub.invalid", timeout=1e-9)
    assert threads == [threading.current_thread()]


def test_httpx2_logs_addresses(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """models/hub/wheels.py: an index's address may hold a password."""
    import httpx2

    # Whatever an earlier test has done to this logger: only what the library says to it counts.
    logger = logging.getLogger("httpx2")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="httpx2"), FakeHub(pages={"/simple/": b""}) as hub:
            httpx2.get(f"{hub.url}/simple/")
            assert hub.url in caplog.text
    finally:
        logger.removeHandler(caplog.handler)


# --- servers -------------------------------------------------------------------------------------


def test_lines_of_httpx2_end_at_a_separator_within_json() -> None:
    """models/engines/remote.py has lines of its own."""
    import httpx2

    event = "data: " + json.dumps({"text": "one\u2028two"}, ensure_ascii=False)
    response = httpx2.Response(
        200, content=f"{event}\n".encode(), headers={"Content-Type": "text/event-stream"}
    )
    assert [*response.iter_lines()] != [event]


def test_llama_cpp_counts_tokens_only_over_its_port() -> None:
    """models/engines/gguf.py asks there, and locks the port with a key."""
    import xllamacpp

    assert not [name for name in dir(xllamacpp.Server) if "tokenize" in name or "template" in name]


# --- transformers and torch ----------------------------------------------------------------------


@pytest.fixture
def llama() -> Any:
    """A model of some thousand random weights."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)).eval()


def test_transformers_makes_up_weights_that_are_missing(llama: Any, tmp_path: Path) -> None:
    """models/pretrained/loading.py, `check_loaded`."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    llama.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert AutoModelForCausalLM.from_pretrained(tmp_path).model.norm.weight.shape == (16,)


def test_generate_draws_from_a_state_that_all_requests_share(llama: Any) -> None:
    """models/pretrained/generation.py, `Draw`."""
    import torch

    before = torch.get_rng_state()
    llama.generate(torch.tensor([[1, 2]]), do_sample=True, max_new_tokens=1, pad_token_id=0)
    assert not torch.equal(torch.get_rng_state(), before)


def test_generate_takes_from_the_checkpoint_what_a_request_leaves_open(llama: Any) -> None:
    """models/engines/sequential.py empties the model's own generation_config."""
    import torch
    from transformers import GenerationConfig

    llama.generation_config = GenerationConfig(max_new_tokens=3, pad_token_id=0)
    asked = GenerationConfig(do_sample=False)
    assert llama.generate(torch.tensor([[1, 2]]), generation_config=asked).shape == (1, 5)


def test_transformers_has_one_bar_for_the_whole_process() -> None:
    """models/pretrained/loading.py, `watched`: a context variable tells loads apart."""
    from transformers.utils.logging import set_tqdm_hook

    first, second = (lambda factory, args, kwargs: None), (lambda factory, args, kwargs: None)
    before = set_tqdm_hook(first)
    try:
        assert set_tqdm_hook(second) is first
    finally:
        set_tqdm_hook(before)


def test_transformers_repeats_every_picture_by_itself(llama: Any) -> None:
    """models/qwen_vl/model.py: pictures of one row stay together."""
    import torch

    _, expanded = llama._expand_inputs_for_generation(
        2, input_ids=torch.zeros(1, 1, dtype=torch.long), pixel_values=torch.arange(2)
    )
    assert expanded["pixel_values"].tolist() == [0, 0, 1, 1]


def test_strip_takes_more_than_spaces() -> None:
    """models/chatglm/vocabulary.py takes them with an expression of its own."""
    from tokenizers import normalizers

    assert normalizers.Strip().normalize_str("\ta ") == "a"


# --- sound ---------------------------------------------------------------------------------------


def test_openai_whisper_decodes_with_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """models/sound/decoding.py needs none."""
    from whisper.audio import load_audio

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="ffmpeg"):
        load_audio("any.wav")


def test_openai_whisper_knows_the_heads_only_of_what_it_downloads(tmp_path: Path) -> None:
    """models/speech/weights.py sets them for every file of a published size."""
    import whisper

    from tests.fakes.tiny_whisper import save_pt

    save_pt(tmp_path / "tiny.pt")
    heads = whisper.load_model(str(tmp_path / "tiny.pt"), "cpu").alignment_heads
    assert heads.to_dense().tolist() == [[False, False], [True, True]]  # all of the second half


def test_faster_whisper_downloads_a_tokenizer_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """models/speech/faster.py looks first, and refuses."""
    import faster_whisper.transcribe as library

    def ask(name: str) -> Any:
        raise Stopped(name)

    monkeypatch.setattr(library.tokenizers.Tokenizer, "from_pretrained", ask, raising=True)
    monkeypatch.setattr(
        library.ctranslate2.models, "Whisper", lambda *_, **__: SimpleNamespace(is_multilingual=True)
    )
    with pytest.raises(Stopped, match="openai/whisper-tiny"):
        library.WhisperModel(str(tmp_path))


def test_word_times_of_openai_whisper_change_the_whole_library() -> None:
    """models/speech/reference.py computes them one recording at a time."""
    from whisper.model import MultiHeadAttention, disable_sdpa

    with disable_sdpa():
        assert not MultiHeadAttention.use_sdpa
    assert MultiHeadAttention.use_sdpa


def test_a_resampler_cannot_change_its_rate() -> None:
    """models/sound/decoding.py takes another one where a recording does."""
    import av

    def frame(rate: int) -> Any:
        made = av.AudioFrame("s16", "mono", 160)
        made.sample_rate = rate
        return made

    resampler = av.AudioResampler("s16", "mono", 16_000)
    resampler.resample(frame(8_000))
    with pytest.raises(ValueError):
        resampler.resample(frame(44_100))


# --- pictures ------------------------------------------------------------------------------------


def test_pillow_cuts_greys_of_sixteen_bits() -> None:
    """models/pictures/reading.py, `to_rgb`, scales them."""
    from PIL import Image

    assert Image.new("I", (1, 1), 40_000).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_python_calls_relays_and_a_cloud_s_own_services_global() -> None:
    """models/pictures/addresses.py names them."""
    assert all(ipaddress.ip_address(address).is_global for address in ("192.88.99.1", "168.63.129.16"))


# --- the code interpreter and the pages ----------------------------------------------------------


def test_a_few_lines_of_yaml_stand_for_very_many() -> None:
    """models/tools/sources.py refuses aliases."""
    import yaml

    text = "a: &a [x, x, x, x, x, x, x, x]\n"
    text += "".join(
        f"{name}: &{name} [{', '.join(['*' + of] * 8)}]\n" for of, name in ("ab", "bc", "cd", "de")
    )
    assert len(json.dumps(yaml.safe_load(text))) > 100 * len(text)


def test_a_malformed_declaration_is_an_assertion() -> None:
    """models/interpreter/outputs.py catches it."""
    from html.parser import HTMLParser

    with pytest.raises(AssertionError):
        HTMLParser().feed("<![x[")


def test_streamlit_collects_garbage_after_every_run() -> None:
    """.streamlit/config.toml turns it off; models/loader.py freezes what a load created."""
    from streamlit import config

    option = config._config_options_template["runner.postScriptGC"]
    assert option.default_val is True


def test_streamlit_watches_files_by_default() -> None:
    """.streamlit/config.toml turns it off: it walks through all of torch."""
    from streamlit import config

    assert config._config_options_template["server.fileWatcherType"].default_val == "auto"


# --- what is installed ---------------------------------------------------------------------------


@pytest.mark.skipif("sys.platform != 'linux'", reason="gptqmodel is installed on Linux")
def test_gptqmodel_asks_for_one_version_of_numpy() -> None:
    """requirements.txt, and requires-python in pyproject.toml: this numpy is not for Python 3.14."""
    asked = [line for line in requires("gptqmodel") or () if line.startswith("numpy")]
    assert 'numpy==2.2.6; python_version < "3.14"' in asked and len(asked) == 2
