"""Checkpoints by name, hub id, address or path: from what a person types to a `Checkpoint`."""

import difflib
import os
import re
from ipaddress import ip_address
from pathlib import Path, PureWindowsPath

from models.catalog.families import family_of
from models.catalog.formats import SINGLE_FILE, SINGLE_FILES
from models.catalog.pasted import Repository, clean, is_other_page, is_share, read_id, read_page
from models.catalog.recognise import absolute, describe
from models.catalog.table import CHECKPOINTS
from models.errors import BadInput, CheckpointNotFound, ModelError
from models.permissions import is_listed, model_paths
from models.schema import Checkpoint

# Strict, so that everybody who parses it finds the same host: no user, no query, no backslash.
# What follows # names one of the server's models.
_ADDRESS = re.compile(
    r"(?P<server>https?://(?P<host>[\w.-]+|\[[\da-f:.]+\])(?P<port>:\d+)?(?:/[\w.~-]+)*/v1)/?(?P<model>#[\w./:@+-]+)?",
    re.ASCII | re.IGNORECASE,
)
_PATH = re.compile(r"[/\\]|\.{1,2}([/\\]|$)|~|[A-Za-z]:[/\\]")


def find(name: str) -> Checkpoint:
    """The checkpoint that `name` means.

    Args:
        name: a catalog name in any case; a hub or ModelScope id, also as owner/name@revision, as
            owner/name:Q4_K_M, or as the address of its page or of a file there; an http(s) address that
            ends in /v1 (or /v1#model, where the server has several); or a path to a folder or file. Quotes, file:// and full-width characters around or in it do not matter. Names come
            first: write ./name for a folder called like one.

    Raises:
        CheckpointNotFound: it is none of these, or nothing is at the path.
        CheckpointCorrupt, UnsupportedCheckpoint: see `describe`.
    """
    name = clean(name)
    if known := _known(name):
        return known
    if repository := read_page(name):
        return _on_hub(repository)
    if match := _ADDRESS.fullmatch(name):
        address = match["server"] + (match["model"] or "")
        return Checkpoint(address, "other", "chat", "openai-api", title=address)
    if _is_path(name):
        return describe(Path(name))
    if repository := read_id(name):
        return _on_hub(repository)
    raise _not_found(name)


def _on_hub(repository: Repository) -> Checkpoint:
    """The catalog's row for a repository, or one of which only its name is known."""
    name = repository.name
    if not (repository.revision or repository.variant) and (known := _known(repository.id)):
        return known
    return Checkpoint(
        name,
        family_of(repository.id),
        "chat",
        "unknown",
        title=name,
        hub_id=repository.id,
        modelscope_id=repository.id if repository.modelscope else None,
        revision=repository.revision,
        variant=repository.variant,
    )


def _known(name: str) -> Checkpoint | None:
    lower = name.lower()
    for row in CHECKPOINTS.values():
        if lower in {row.name, *(known.lower() for known in (row.hub_id, row.modelscope_id) if known)}:
            return row
    return None


def _is_path(text: str) -> bool:
    """Whether it is written like one, or lies where visitors may look: what lies elsewhere shows in nothing."""
    return _written_as_path(text) or (os.path.lexists(text) and _is_inside(text))


def _written_as_path(text: str) -> bool:
    named = text.lower().endswith(SINGLE_FILE) and ":" not in text  # owner/name:file.gguf is on a hub
    return bool(_PATH.match(text)) or named


def _not_found(name: str) -> CheckpointNotFound:
    if is_other_page(name):
        return CheckpointNotFound(
            f"{name} is no model's page but another one of a hub: open the model's own page and copy its address, or "
            "type its id like owner/name.",
            f"{name} 是模型库的其他页面，而不是模型页面：请打开模型自己的页面并复制其地址，或输入形如 owner/name 的仓库名。",
        )
    near = difflib.get_close_matches(name.lower(), CHECKPOINTS, n=3, cutoff=0.5)
    listed = ", ".join(near)
    return CheckpointNotFound(
        f"No checkpoint is called {name!r}{f' (did you mean {listed}?)' if near else ''}: type a name from the list, "
        f"a hub id like owner/name, the path of a folder, {SINGLE_FILES.en} file, or an address ending in /v1.",
        f"没有名为 {name!r} 的模型{f'（是否指 {listed}？）' if near else ''}：请输入列表中的名称、"
        f"形如 owner/name 的仓库名、文件夹或 {SINGLE_FILES.zh} 文件的路径，或以 /v1 结尾的地址。",
    )


def family(name: str, language: str = "en") -> list[Checkpoint]:
    """The catalog of one family, starters first, and of those the ones that write `language` (a code like "zh")."""
    rows = [row for row in CHECKPOINTS.values() if row.family == name]
    return sorted(rows, key=lambda row: (not row.starter, row.starter and language not in row.languages))


def default(family_name: str, language: str = "en") -> str:
    """What a family's page offers first to who reads `language`, as something `find` takes.

    The variable <FAMILY>_MODEL_PATH decides, then MODEL_PATH where it names a checkpoint of the
    family, then the catalog; "" where it has none of the family.
    """
    own = os.environ.get(f"{family_name.upper()}_MODEL_PATH")
    shared = os.environ.get("MODEL_PATH")
    if own or (shared and _family_of(shared) == family_name):
        return str(own or shared)
    return next((row.name for row in family(family_name, language)), "")


def _family_of(text: str) -> str:
    try:
        return find(text).family
    except ModelError:  # the page that the name points to will say what is wrong with it
        return family_of(text)


def allowed(text: str) -> None:
    """Refuse paths and addresses that visitors of this server may not open; names always pass.

    An address is asked by this machine, which may reach what its visitors cannot.

    Raises:
        BadInput: a path that, links resolved, lies outside the folders of QUINTET_MODEL_DIRS
            (default: the home folder) and of the *MODEL_PATH variables; or an address that is not in
            QUINTET_REMOTES (default: this machine) nor in a *MODEL_PATH variable.
    """
    text = clean(text)
    if _known(text) or read_page(text):
        return
    if address := _ADDRESS.fullmatch(text):
        _check_address(address)
    elif _is_path(text):
        _check_path(text)


def _check_path(text: str) -> None:
    if not _is_inside(text):
        raise BadInput(
            f"{text} lies outside the folders that this server opens: choose a name from the list, or ask "
            "its operator to add the folder to QUINTET_MODEL_DIRS.",
            f"{text} 不在本服务器允许的文件夹内：请从列表中选择，或请管理员把该文件夹加入 QUINTET_MODEL_DIRS。",
        )


def _is_inside(text: str) -> bool:
    """Whether a path and all that it passes through lie in folders that visitors may open.

    Nothing is asked of a disk that would tell whether something outside exists: "inside/../../etc/../home" is
    judged at every turn, and another machine's share, which Windows would sign in to, by its name alone.
    """
    if is_share(text) and not _is_in_listed_share(text):
        return False
    if text.startswith("~") and text[1:2] not in (
        "",
        "/",
        os.sep,
    ):  # the home of a user that there is, or not
        return False
    path, folders = absolute(Path(text)), _folders()
    turns = [Path(*path.parts[:n]) for n, part in enumerate(path.parts) if part == ".."]
    return all(
        any(passed.resolve().is_relative_to(folder) for folder in folders) for passed in (*turns, path)
    )


def _is_in_listed_share(text: str) -> bool:
    path = PureWindowsPath(text)
    return ".." not in path.parts and any(path.is_relative_to(folder) for folder in _listed_folders())


def _folders() -> list[Path]:
    return [absolute(folder).resolve() for folder in _listed_folders()]


def _listed_folders() -> list[Path]:
    listed = os.environ.get("QUINTET_MODEL_DIRS")
    folders = [Path(part) for part in listed.split(os.pathsep) if part] if listed else [Path.home()]
    return folders + [
        Path(value)
        for value in map(clean, model_paths())
        if not (_known(value) or read_page(value)) and (_written_as_path(value) or os.path.lexists(value))
    ]


def _check_address(address: re.Match[str]) -> None:
    text = address["server"].lower()
    by_default = not os.environ.get("QUINTET_REMOTES", "").strip() and _is_loopback(
        address["host"].strip("[]")
    )
    if not by_default and not is_listed(text):
        raise BadInput(
            f"{text} is not a server that visitors may use: choose a name from the list, or ask the operator "
            "to add its host to QUINTET_REMOTES.",
            f"{text} 不在允许访问的服务器之列：请从列表中选择，或请管理员将其主机名加入 QUINTET_REMOTES。",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
