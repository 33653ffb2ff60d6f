"""Runs the fuzzers one after another, each in a process of its own.

    python -m tests.fuzz [SECONDS] [NAME …]      # 60 seconds each; all of tests/fuzz/targets.py

A failure is an exception, more than two seconds, or more than 500 MB beyond what is imported. The bytes that
caused it are kept in .fuzz/, and `python -m tests.fuzz 0 NAME < FILE` runs them again.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(".fuzz")  # git ignores it
TIME, MEMORY = 2, 500  # seconds, MB
LONGEST = 64_000  # bytes
IMPORTED = 400  # MB that Python, its libraries and the fuzzer's own tables take


def main() -> int:
    """Exit code 0: nothing was found."""
    seconds, *names = sys.argv[1:] or ["60"]
    if seconds == "0":
        from tests.fuzz.targets import TARGETS

        TARGETS[names[0]][0](sys.stdin.buffer.read())
        return 0
    if seconds == "--one":
        return _fuzz(*names)
    names = names or _names()
    failed = [
        name
        for name in names
        if subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--one", name, seconds], check=False
        ).returncode
    ]
    found = f"failed: {', '.join(failed)}; see {FOLDER}/" if failed else "nothing found"
    sys.stdout.write(f"{found}\n")
    return bool(failed)


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return [*TARGETS]


def _fuzz(name: str, seconds: str) -> int:
    import atheris

    with atheris.instrument_imports(include=["models", "pages"]):
        from tests.fuzz.targets import TARGETS
    target, seeds = TARGETS[name]
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        if len(seed) < LONGEST:  # the others are tests enough
            (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", f"-timeout={TIME}", f"-rss_limit_mb={IMPORTED + MEMORY}",
        f"-max_len={LONGEST}", f"-artifact_prefix={FOLDER}/{name}-", "-print_final_stats=0", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
