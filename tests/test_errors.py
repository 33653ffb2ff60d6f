"""What a person is told: sentences, and nothing of where files lie on this machine."""

import pytest

from models.errors import short, without_folders


def test_an_error_in_short() -> None:
    assert short(ValueError("first\nsecond")) == "ValueError: first"
    assert short(ValueError("a" * 200)) == "ValueError: " + "a" * 160
    assert short(KeyError()) == "KeyError"
    absent = FileNotFoundError(2, "No such file or directory", "/home/ada/.cache/quintet/model.bin")
    assert short(absent) == "FileNotFoundError: [Errno 2] No such file or directory: 'model.bin'"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("cannot open '/home/ada/.cache/x/model.bin' in", "cannot open 'model.bin' in"),
        ("cannot open '/home/Ada B/My cache/model.bin' in", "cannot open 'model.bin' in"),
        ("in /home/ada/.cache/x/a.json: line 2", "in a.json: line 2"),
        ("(/srv/models/a)", "(a)"),
        (r"in C:\Users\ada\cache\a.json", "in a.json"),
        (r"in \\nas\share\a.json", "in a.json"),
        ("at http://host/v1/models", "at http://host/v1/models"),
        ("3/4 of owner/name and a / b", "3/4 of owner/name and a / b"),
        ("expected [2, 3], got 'a'", "expected [2, 3], got 'a'"),
    ],
)
def test_folders_are_left_out(said: str, told: str) -> None:
    assert without_folders(said) == told
