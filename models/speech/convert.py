"""Any Whisper as a folder in CTranslate2's format, made once and kept.

The weights go through CTranslate2's own converter, in the precision of the file: they become int8 when
they are loaded. Its vocabulary and faster-whisper's tokenizer are made of openai-whisper's tables.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.cache import cache_dir
from models.cache.temporary import folder_in, temporary_folder
from models.errors import CheckpointCorrupt, DoesNotFit
from models.speech.weights import Contents, contents, renamed

RECORD = "made.json"  # in a copy: what its files were when it was made
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
LAYOUT = 1  # raised when what is written here changes, so that older copies are not read


def converted(path: Path) -> Path:
    """The folder with the copy of a `.pt` file or a Hugging Face folder; made if it is not there as it was made.

    Where the cache is read-only, the copy is this process's alone.

    Raises:
        CheckpointCorrupt, UnsupportedCheckpoint: as for `weights.read`.
        DoesNotFit: the cache's disk has no room or cannot be written.
    """
    copy = Path("ctranslate2") / f"{path.stem}-{_digest(path)}"
    try:
        try:
            return _kept(path, cache_dir() / copy)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            return _kept(path, temporary_folder() / copy)
    except OSError as error:
        raise DoesNotFit(
            f"The cache cannot hold a converted copy ({error.strerror}): free some disk, or choose fp32.",
            f"缓存无法保存转换副本（{error.strerror}）：请腾出磁盘空间，或选择 fp32。",
        ) from error


def _kept(path: Path, folder: Path) -> Path:
    """The copy at `folder`. A damaged one is made anew, and the original is not to blame."""
    if _is_whole(folder):
        return folder
    # Under a name of its own first: a copy is complete or not there, whoever stops or comes second.
    with TemporaryDirectory(dir=folder_in(folder.parents[1] / "unfinished")) as part:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(part) / "copy"
        made.mkdir()
        _convert(contents(path), made)
        (made / RECORD).write_text(json.dumps(_state(made)))
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            made.replace(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether all files of a copy are there, and untouched since they were made."""
    try:
        return bool(json.loads((folder / RECORD).read_text()) == _state(folder))
    except (OSError, ValueError):
        return False


def _state(folder: Path) -> dict[str, list[int]]:
    files = sorted(file for file in folder.iterdir() if file.name != RECORD)
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def _digest(path: Path) -> str:
    """Of which files there are, and of the state they are in."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((LAYOUT, facts)).encode()).hexdigest()[:16]


def _convert(found: Contents, folder: Path) -> None:
    from ctranslate2.converters.transformers import WhisperLoader
    from whisper.tokenizer import get_tokenizer

    vocabulary = found.dims["n_vocab"]
    multilingual = vocabulary >= 51865
    tables = get_tokenizer(multilingual, num_languages=vocabulary - 51765 - multilingual)
    tokenizer = _tokenizer(tables.encoding)
    spec = WhisperLoader().get_model_spec(_transformers_model(found))
    spec.config.suppress_ids = list(tables.non_speech_tokens)
    spec.config.suppress_ids_begin = [*tables.encode(" "), tables.eot]
    spec.config.lang_ids = sorted(tables.all_language_tokens)
    spec.config.alignment_heads = found.heads or _later_heads(found.dims)
    spec.register_vocabulary([tokenizer.id_to_token(token) for token in range(vocabulary)])
    spec.validate()
    spec.optimize(
        quantization=str(found.state["decoder.token_embedding.weight"].dtype).removeprefix("torch.")
    )
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))


def _transformers_model(found: Contents) -> Any:
    """The form that the converter reads, around the very tensors that were found."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    dims = found.dims
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    theirs = {renamed(name): name for name in model.state_dict() if name != "proj_out.weight"}
    if theirs.keys() != found.state.keys():
        name = min(theirs.keys() ^ found.state.keys())
        raise CheckpointCorrupt(
            f"A tensor is missing or too many in this Whisper ({name}): fetch the checkpoint again.",
            f"该 Whisper 缺少或多出张量（{name}）：请重新下载该检查点。",
        )
    state = {theirs[name]: tensor for name, tensor in found.state.items()}
    state["proj_out.weight"] = found.state["decoder.token_embedding.weight"]
    model.load_state_dict(state, assign=True)
    return model


def _later_heads(dims: Mapping[str, int]) -> list[list[int]]:
    """Where nobody says which heads follow the words, all of the later half, as in the converter."""
    layers, heads = dims["n_text_layer"], dims["n_text_head"]
    return [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]


# --- tokenizer ---------------------------------------------------------------------------------


def _tokenizer(encoding: Any) -> Any:
    """tiktoken's tables in the form of the `tokenizers` library; the same text gives the same tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    special = {encoding.encode_single_token(name): name for name in encoding.special_tokens_set}
    ranks = {encoding.decode_single_token_bytes(n): n for n in range(encoding.n_vocab) if n not in special}
    letters = _letters()

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    pairs = [_last_merge(token, rank, ranks) for token, rank in ranks.items() if len(token) > 1]
    merges = [(written(left), written(right)) for left, right in pairs]
    vocabulary = {written(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(special[n], special=True) for n in sorted(special)])
    return tokenizer


def _letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones stand for themselves."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in plain else next(others)) for byte in range(0x100)]


def _last_merge(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that a token is made of, when everything before it is merged."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, rank) for left, right in zip(parts, parts[1:], strict=False)]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]
