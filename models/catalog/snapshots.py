"""The folder that Hugging Face's cache keeps for a repository: huggingface.co/docs, "How-to cache"."""

from pathlib import Path


def snapshots(repository: Path) -> list[Path]:
    """The local snapshots, that of the main branch first, then the newest."""
    main = referenced(repository, "main")
    found = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    return sorted(found, key=lambda path: (path.name != main, -path.stat().st_mtime))


def referenced(repository: Path, revision: str) -> str:
    """The commit that a branch or tag was when it was fetched, or ""."""
    reference = repository / "refs" / revision
    return reference.read_text("utf-8").strip() if reference.is_file() else ""


def inside(path: Path) -> Path:
    """The first snapshot, where `path` is a repository's folder or one in it that holds no files to load."""
    repository = path.parent if path.name in ("snapshots", "blobs", "refs") else path
    found = snapshots(repository) if path.is_dir() and not (path / "config.json").exists() else []
    return found[0] if found else path
