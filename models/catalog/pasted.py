"""What people paste as a name: the pages and files of the model hubs, quoted paths, file:// addresses."""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit
from urllib.request import url2pathname

from models.catalog.formats import SINGLE_FILE
from models.catalog.recognise import absolute

# Hubs whose pages name a repository, www. and port aside; the operator's own mirrors come on top.
_HUGGING_FACE = frozenset({"huggingface.co", "hf.co", "hf-mirror.com"})
_MODELSCOPE = frozenset({"modelscope.cn", "modelscope.ai"})
_OWN_HUBS = {"HF_ENDPOINT": False, "MODELSCOPE_ENDPOINT": True, "MODELSCOPE_DOMAIN": True}
# First parts of a page's path that are no owner of models.
_OTHER_PAGES = frozenset(
    (
        "api", "blog", "chat", "collections", "datasets", "docs", "learn", "models", "organization",
        "organizations", "papers", "profile", "settings", "spaces", "studios", "tasks",
    )
)  # fmt: skip

_ID = r"\w[\w.-]*/\w[\w.-]*"
# owner/name, @ and a branch, tag or commit, : and a quantisation or a file.
_REPOSITORY = re.compile(
    rf"(?P<id>{_ID})(?:@(?P<revision>\w[\w.-]*(?:/\w[\w.-]*)*))?(?::(?P<variant>[^:\\]+))?"
)
_PAGE = re.compile(
    rf"/(?:api/(?:v1/)?)?(?:models/)?(?P<repository>{_ID}(?:[@:][\w.-]+)*)"
    r"(?:/(?:tree|blob|resolve|raw|blame|commits?|file/view|files)"
    r"(?:/(?P<revision>refs(?:/|%2F)\w+(?:/|%2F)\w[\w.-]*|\w[^/\\]*)(?:/(?P<file>.+))?)?|/.*)?"
)
_BRANCH = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*")  # or a tag, or a commit; never .. or anything hidden
_MAIN = frozenset({"", "main", "master"})  # the branch that a repository is taken from anyway
_FILE_IN_QUERY = ("show_file_info", "fileName", "FilePath")  # as the hubs' pages name the file that is shown

_QUOTES = ('""', "''", "``", "“”", "‘’", "「」", "『』", "《》", "<>")
# An address in a command such as git clone or ollama run, in brackets, or in a link of Markdown.
_AMONG_WORDS = re.compile(r"(?:https?://|\b(?:hf|huggingface)\.co/)[^\s()\[\]]+")
_AROUND = " \t\r\n\u00a0\u3000\u200b\u200e\u200f\u2060\ufeff"  # spaces, some of which nobody can see
_CHINESE = str.maketrans({"。": ".", "、": "/"})  # what the keys . and / write


@dataclass(frozen=True)
class Repository:
    """One on a hub. ``revision`` and ``variant`` are as in `models.schema.Checkpoint`."""

    id: str
    revision: str = ""
    variant: str = ""
    modelscope: bool = False

    @property
    def name(self) -> str:
        """As `read_page` or `read_id` takes it again."""
        page = "modelscope.cn/models/" if self.modelscope else ""
        at, of = (self.revision and f"@{self.revision}"), (self.variant and f":{self.variant}")
        return f"{page}{self.id}{at}{of}"


def is_share(text: str) -> bool:
    """Whether Windows takes a path for one on another machine, or for a device."""
    return PureWindowsPath(text).drive.startswith("\\\\")


def clean(text: str) -> str:
    """`text` without what pasting and typing add: spaces, quotes, file://, full-width characters, escapes.

    What is there under the very name is taken to the letter.
    """
    text = text.strip(_AROUND)
    if is_share(text):  # not to be asked for anything before it is judged
        return text
    while len(text) > 1 and text[0] + text[-1] in _QUOTES and not os.path.lexists(text):
        text = text[1:-1].strip(_AROUND)
    if text.lower().startswith("file:"):
        return url2pathname(urlsplit(text).path)
    if os.path.lexists(absolute(Path(text))):
        return text
    unescaped = re.sub(r"\\(.)", r"\1", text)  # as a terminal writes the path of a file dropped on it
    if unescaped != text and os.path.lexists(absolute(Path(unescaped))):
        return unescaped
    if (found := _AMONG_WORDS.search(text)) and re.match(r"[(\[]|\w+ ", text):
        return found[0]
    plain = unicodedata.normalize("NFKC", text.rstrip(",;，；。")).translate(_CHINESE)
    return text if plain == text else clean(plain)


def read_page(text: str) -> Repository | None:
    """The repository whose page, or whose file's address, `text` is; with or without https://."""
    hub = _hub(text)
    page = _PAGE.fullmatch(re.sub(r"/{2,}", "/", hub[0].path)) if hub else None
    found = read_id(page["repository"].removesuffix(".git")) if page else None
    if hub is None or page is None or found is None or found.id.split("/")[0] in _OTHER_PAGES:
        return None
    address, modelscope = hub
    query = parse_qs(address.query)
    file = page["file"] or next((query[key][0] for key in _FILE_IN_QUERY if key in query), "")
    branch = _branch(page["revision"])
    if branch is None:
        return None
    return Repository(found.id, branch or found.revision, _one_file(file) or found.variant, modelscope)


def is_other_page(text: str) -> bool:
    """Whether `text` is the address of a hub's page that is no model's."""
    return _hub(text) is not None and read_page(text) is None


def _hub(text: str) -> tuple[SplitResult, bool] | None:
    """An address at a hub, taken apart, and whether that is a ModelScope."""
    text = re.sub(r"^hf:/*", "hf.co/", re.sub(r"^git@([\w.-]+):", r"\1/", text))
    try:
        address = urlsplit(text if "://" in text else f"https://{text}")
        host = (address.hostname or "").removeprefix("www.")
    except ValueError:  # half an IPv6 address, for one
        return None
    hubs = dict.fromkeys(_HUGGING_FACE, False) | dict.fromkeys(_MODELSCOPE, True) | _own_hubs()
    modelscope = hubs.get(address.netloc.lower(), hubs.get(host))
    if address.scheme not in ("http", "https") or modelscope is None:
        return None
    return address, modelscope


def read_id(text: str) -> Repository | None:
    """The repository that owner/name, owner/name@revision or owner/name:Q4_K_M means."""
    match = _REPOSITORY.fullmatch(re.sub(r"\s*/\s*", "/", text).rstrip("/"))
    branch = _branch(match["revision"]) if match else None
    if match is None or branch is None:
        return None
    variant = match["variant"] or ""
    return Repository(match["id"], branch, "" if variant == "latest" else variant)


def _own_hubs() -> dict[str, bool]:
    """Hosts that the operator has named as hubs, and whether each is a ModelScope."""
    named = {os.environ.get(variable, ""): kind for variable, kind in _OWN_HUBS.items()}
    return {text.split("://")[-1].strip("/").lower(): kind for text, kind in named.items() if text}


def _branch(revision: str | None) -> str | None:
    """Empty for the main one, None for what can be none: caches keep a folder of that name."""
    revision = unquote(revision or "")
    if revision in _MAIN:
        return ""
    return revision if _BRANCH.fullmatch(revision) else None


def _one_file(path: str) -> str:
    """A file that is a model of its own; any other belongs to that of the whole repository."""
    path = unquote(path).strip("/")
    return path if path.lower().endswith(SINGLE_FILE) else ""
