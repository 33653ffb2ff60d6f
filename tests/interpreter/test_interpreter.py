"""The code interpreter, with real kernels: what comes back, what holds, and what is left behind."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.errors import BadInput, Cancelled, DoesNotFit, EngineFailed, UnsupportedPlacement
from models.interpreter import Interpreter, Limits, Output, confinement, kernel, session
from models.interpreter.kernel import Kernel
from models.interpreter.outputs import output_of
from tests.fakes.waiting import WAIT, until

MiB = 2**20


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_CODE_INTERPRETER", "1")
    monkeypatch.setattr(session, "_GRACE", WAIT)  # a busy machine may take its time over an interrupt


@pytest.fixture(scope="module")
def confinable() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    os.environ["QUINTET_CODE_INTERPRETER"] = "1"
    refused = confinement().refused
    del os.environ["QUINTET_CODE_INTERPRETER"]
    if refused:
        pytest.skip(str(refused))


@pytest.fixture(scope="module")
def shared(confinable: None) -> Iterator[Interpreter]:
    """One interpreter for tests that leave it as it was."""
    with Interpreter() as interpreter:
        yield interpreter


@pytest.fixture
def new(confinable: None) -> Iterator[Callable[..., Interpreter]]:
    """Makes interpreters that are closed after the test."""
    made: list[Interpreter] = []

    def make(**limits: Any) -> Interpreter:
        made.append(Interpreter(Limits(**limits)))
        return made[-1]

    yield make
    for interpreter in made:
        interpreter.close()


def text(interpreter: Interpreter, code: str) -> str:
    return "".join(output.text for output in interpreter.run(code))


# --- what comes back ---------------------------------------------------------------------------


def test_printed_text_and_the_last_value_come_back_in_order(shared: Interpreter) -> None:
    outputs = list(shared.run("print('你好，世界')\n6 * 7"))
    assert [(output.kind, output.text) for output in outputs] == [("text", "你好，世界\n"), ("text", "42\n")]


def test_text_comes_while_the_code_still_runs(shared: Interpreter) -> None:
    run = shared.run("import time\nprint('first')\nopen('go', 'w')\ntime.sleep(30)")
    assert next(run).text == "first\n"
    run.close()
    assert text(shared, "import os\nos.path.exists('go')") == "True\n"


def test_an_exception_is_an_output_with_its_line(shared: Interpreter) -> None:
    (output,) = shared.run("x = 1\nx / 0")
    assert output.kind == "error"
    assert "line 2" in output.text
    assert output.text.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "\x1b" not in output.text


def test_a_plot_is_a_png_and_its_chinese_title_has_glyphs(shared: Interpreter) -> None:
    pillow = pytest.importorskip("PIL.Image")
    code = "import matplotlib.pyplot as plt\nplt.plot([1, -1])\nplt.title('温度变化')\nplt.show()"
    outputs = [output for output in shared.run(code) if output.kind == "image" or "Glyph" in output.text]
    if "Noto Sans CJK SC" not in subprocess.run(["fc-list"], capture_output=True, text=True).stdout:
        outputs = outputs[-1:]  # without a Chinese font matplotlib warns and draws boxes
    (picture,) = outputs
    assert pillow.open(io.BytesIO(picture.image)).size[0] > 300


def test_a_data_frame_is_a_table(shared: Interpreter) -> None:
    pytest.importorskip("pandas")
    (output,) = shared.run("import pandas\npandas.DataFrame({'城市': ['北京', '上海'], '度': [22, 25]})")
    assert output.kind == "table"
    assert output.rows == (("", "城市", "度"), ("0", "北京", "22"), ("1", "上海", "25"))
    assert "上海" in output.text


def test_code_that_asks_for_input_is_told_that_there_is_none(shared: Interpreter) -> None:
    assert "StdinNotImplementedError" in text(shared, "input('name?')")


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"header": {"msg_type": kind}, "content": content}


def test_a_picture_too_large_to_open_stays_text() -> None:
    import binascii

    header = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2
    data = {"image/png": binascii.b2a_base64(header).decode(), "text/plain": "<Figure>"}
    assert output_of(message("display_data", data=data)) == Output("text", "<Figure>\n")


@pytest.mark.parametrize("content", [{}, {"text": 3}, {"data": []}, {"data": None}, {"traceback": [1]}])
@pytest.mark.parametrize("kind", ["stream", "error", "display_data", "anything"])
def test_messages_that_code_forges_show_nothing(kind: str, content: dict[str, Any]) -> None:
    assert output_of(message(kind, **content)) is None


@pytest.mark.parametrize("html", ["<![oops", "<b>no table</b>", "<td>no row</td>", "", None, 3])
def test_html_without_a_table_stays_text(html: object) -> None:
    data = {"text/html": html, "text/plain": "x"}
    assert output_of(message("execute_result", data=data)) == Output("text", "x\n")


# --- what holds --------------------------------------------------------------------------------


def test_two_interpreters_share_neither_variables_nor_files_nor_processes(
    new: Callable[..., Interpreter],
) -> None:
    one, two = new(), new()
    text(
        one, "secret = 'xyzzy'\nopen('note.txt', 'w').write(secret)\nopen('/tmp/note.txt', 'w').write(secret)"
    )
    assert "NameError" in text(two, "secret")
    assert text(two, "import os\nos.listdir('.'), os.path.exists('/tmp/note.txt')") == "([], False)\n"
    look = "[p for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]"
    assert text(two, look) == "[]\n"


class Clock:
    """The time that runs are measured by, which a test can put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(session, "time", clock)
    return clock


def test_an_endless_loop_is_interrupted_and_variables_stay(
    new: Callable[..., Interpreter], clock: Clock
) -> None:
    interpreter = new()
    run = interpreter.run("kept = 5\nprint('on')\nwhile True: pass")
    assert next(run).text == "on\n"
    clock.ahead = interpreter.limits.seconds
    with pytest.raises(EngineFailed, match=r"longer than 60 seconds.*variables are kept"):
        next(run)
    assert text(interpreter, "kept") == "5\n"


def test_a_loop_that_ignores_interrupts_is_killed_and_the_next_run_works(
    new: Callable[..., Interpreter], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_GRACE", 0.1)
    interpreter = new()
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on')\nwhile True: pass"
    run = interpreter.run(stubborn)
    assert next(run).text == "on\n"
    clock.ahead = interpreter.limits.seconds
    with pytest.raises(EngineFailed, match="did not react"):
        next(run)
    assert text(interpreter, "1 + 1") == "2\n"


def test_one_allocation_too_large_is_an_exception_in_the_code(shared: Interpreter) -> None:
    assert text(shared, "'a' * 10**11").rstrip().endswith("MemoryError")


def test_processes_that_take_too_much_memory_together_are_ended(new: Callable[..., Interpreter]) -> None:
    interpreter = new(memory=300 * MiB)
    code = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        held = b"x" * (100 * 2**20)
        time.sleep(60)
        os._exit(0)
time.sleep(60)"""
    with pytest.raises(DoesNotFit, match=r"0\.3 GB of memory"):
        text(interpreter, code)
    assert text(interpreter, "1") == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.memfd_create('x')",
        "import mmap\nmmap.mmap(-1, 4096)",  # shared; a process gives it back and it is still there
        "import ctypes\nif ctypes.CDLL(None).shmget(0, 4096, 0o1777) < 0: raise PermissionError",
        "import ctypes\nif ctypes.CDLL(None).msgget(0, 0o1777) < 0: raise PermissionError",
        "import socket\nsocket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)",
        "open('/dev/zero')",
    ],
)
def test_memory_that_no_process_has_is_refused(shared: Interpreter, code: str) -> None:
    assert re.search("PermissionError|FileNotFoundError", text(shared, code))


def test_libraries_do_without_what_is_refused(shared: Interpreter) -> None:
    code = """
import mmap, multiprocessing, multiprocessing.shared_memory, socket
mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
shared = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
shared.unlink()
multiprocessing.Array("i", 9)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))"""
    assert text(shared, code) == "[1, 2]\n"


def test_what_waits_in_sockets_is_memory(new: Callable[..., Interpreter]) -> None:
    interpreter = new(memory=300 * MiB)
    code = """
import os, socket, time
kept = []
def fill():
    while True:
        near, far = socket.socketpair()
        near.setblocking(False)
        kept.append(far)
        try:
            while True: near.send(bytes(65536))
        except BlockingIOError:
            near.close()
for _ in range(8):
    if os.fork() == 0:
        try:
            fill()
        except OSError:  # no more files
            time.sleep(60)
time.sleep(60)"""
    with pytest.raises(DoesNotFit, match=r"0\.3 GB of memory"):
        text(interpreter, code)


def test_what_processes_share_counts_once(new: Callable[..., Interpreter]) -> None:
    interpreter = new(memory=400 * MiB)
    code = """
import os, time
held = b"x" * (100 << 20)
children = []
for _ in range(10):
    children.append(os.fork())
    if children[-1] == 0:
        time.sleep(2)
        os._exit(0)
for child in children:
    os.waitpid(child, 0)
print("all")"""
    assert text(interpreter, code) == "all\n"


def test_settings_of_package_indexes_cannot_be_read(
    new: Callable[..., Interpreter], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("index-url = https://user:xyzzy@example.org")
    wanted = (*kernel.readable(), str(tmp_path))
    monkeypatch.setattr(kernel, "readable", lambda: wanted)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert "PermissionError" in text(new(), f"open({str(settings)!r}).read()")


def test_nothing_goes_on_after_a_run(new: Callable[..., Interpreter]) -> None:
    interpreter = new()
    code = """
import os, threading
def work():
    global done
    while True: done += 1
done = 0
threading.Thread(target=work, daemon=True).start()
if os.fork() == 0:
    work()"""
    text(interpreter, code)
    assert interpreter._kernel is not None
    left = psutil.Process(interpreter._kernel._process.pid).children(recursive=True)
    assert len(left) == 3  # process 1, the kernel and its child
    until(lambda: all(process.status() == psutil.STATUS_STOPPED for process in left))
    assert int(text(interpreter, "done")) > 0
    until(lambda: all(process.status() == psutil.STATUS_STOPPED for process in left))
    interpreter.close()
    until(lambda: not any(process.is_running() for process in left))


def test_a_fork_bomb_is_bounded(new: Callable[..., Interpreter]) -> None:
    interpreter = new(processes=40)
    code = """
import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    print(made)"""
    assert 0 < int(text(interpreter, code)) < 40


@pytest.mark.parametrize("code", ["while True: print('flood ' * 50)", "print('x' * 5_000_000)"])
def test_a_flood_of_output_is_cut(shared: Interpreter, code: str) -> None:
    shown: list[Output] = []
    with pytest.raises(EngineFailed, match="showed too much"):
        shown.extend(shared.run(code))
    assert sum(len(output.text) for output in shown) == shared.limits.text


def test_there_is_no_network(shared: Interpreter) -> None:
    code = "import socket\nsocket.create_connection(('{}', {}))"
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = text(shared, code.format("127.0.0.1", server.getsockname()[1]))
    assert "Network is unreachable" in own or "Connection refused" in own
    assert "Network is unreachable" in text(shared, code.format("1.1.1.1", 80))
    assert text(shared, "[name for _, name in socket.if_nameindex()]") == "['lo']\n"


def test_secrets_of_the_server_are_out_of_reach(
    new: Callable[..., Interpreter], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_xyzzy")
    secret = tmp_path / "token"
    secret.write_text("hf_xyzzy")
    interpreter = new()
    environments = "import glob\nprint([open(name).read() for name in glob.glob('/proc/[0-9]*/environ')])"
    assert "xyzzy" not in text(interpreter, "import os\nos.environ") + text(interpreter, environments)
    assert "FileNotFoundError" in text(interpreter, f"open({str(secret)!r})")
    assert "FileNotFoundError" in text(interpreter, f"open({__file__!r})")


def test_code_has_no_rights_and_the_system_cannot_be_written(shared: Interpreter) -> None:
    rights = "[line for line in open('/proc/self/status') if line[:6] in ('CapEff', 'CapPrm', 'NoNewP')]"
    assert text(shared, f"[line.split()[1].strip('0') for line in {rights}]") == "['', '', '1']\n"
    for path in ("/usr/new", sys.prefix + "/new", "/run/quintet/sockets/new"):
        assert "Read-only file system" in text(shared, f"open({path!r}, 'w')").replace(
            "Permission denied", "Read-only file system"
        )


def test_files_cannot_fill_the_disk(new: Callable[..., Interpreter]) -> None:
    interpreter = new(disk=8 * MiB, file=4 * MiB)
    assert "File too large" in text(interpreter, "open('big', 'wb').write(bytes(5 * 2**20))")
    assert "No space left" in text(interpreter, "for n in range(9): open(str(n), 'wb').write(bytes(2**21))")


# --- stopping ----------------------------------------------------------------------------------


def test_cancel_interrupts_and_keeps_variables(shared: Interpreter) -> None:
    cancel = threading.Event()
    run = shared.run("kept = 7\nprint('on')\nwhile True: pass", cancel)
    assert next(run).text == "on\n"
    cancel.set()
    with pytest.raises(Cancelled):
        next(run)
    assert text(shared, "kept") == "7\n"


def test_an_interrupt_that_comes_late_spares_the_next_run(shared: Interpreter) -> None:
    text(
        shared,
        """
import threading
kernel, next_run, sent = get_ipython().kernel, threading.Event(), threading.Event()
send = kernel._send_interrupt_children
def send_late():
    next_run.wait(0.5)  # which does not begin before the interrupt was sent
    send()
    sent.set()
kernel._send_interrupt_children = send_late""",
    )
    with pytest.raises(EngineFailed, match="showed too much.*kept"):
        text(shared, "print('x' * 5_000_000)")
    after = "next_run.set()\nprint(sent.wait(30))\nkernel._send_interrupt_children = send"
    assert text(shared, after) == "True\n"


def test_a_second_run_at_the_same_time_is_refused(shared: Interpreter) -> None:
    run = shared.run("print(1)\nimport time\ntime.sleep(30)")
    next(run)
    with pytest.raises(BadInput, match="still running"):
        text(shared, "2")
    run.close()


def test_a_kernel_that_ends_itself_is_named_and_the_next_run_works(new: Callable[..., Interpreter]) -> None:
    interpreter = new()
    with pytest.raises(EngineFailed, match="exit code 3"):
        text(interpreter, "import os\nos._exit(3)")
    assert text(interpreter, "1") == "1\n"


ORPHAN = "import subprocess\nsubprocess.Popen(['sleep', '300'], start_new_session=True).pid"


def below() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.mark.parametrize("confine", [True, False])
def test_close_ends_everything_that_was_started_and_leaves_no_files(
    confine: bool, request: pytest.FixtureRequest
) -> None:
    if confine:
        request.getfixturevalue("confinable")
    before = below()
    kernel = Kernel(Limits(), confine=confine)
    list(kernel.wait())
    list(kernel.messages(kernel.execute(ORPHAN)))
    started = below() - before
    assert any("sleep" in process.cmdline() for process in started)
    folder = Path(kernel.folder)
    assert folder.is_dir()
    kernel.close()
    assert not folder.exists()
    assert not below() - before
    assert not any(process.is_running() for process in started)


def test_close_from_another_thread_ends_a_run(new: Callable[..., Interpreter]) -> None:
    interpreter = new()
    run = interpreter.run("print(1)\nwhile True: pass")
    next(run)
    closing = threading.Thread(target=interpreter.close, daemon=True)
    closing.start()
    with pytest.raises(EngineFailed, match="ended"):
        list(run)
    closing.join(WAIT)
    assert not closing.is_alive()
    assert text(interpreter, "2") == "2\n"


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "sys.exit()"])
def test_no_kernel_outlives_the_server(
    confinable: None, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("t"))}  # short: sockets lie below
    script = f"""
import os, sys, psutil
from models.interpreter import Interpreter
interpreter = Interpreter()
list(interpreter.run({ORPHAN!r}))
print(interpreter._kernel.folder, *[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
{how}"""
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    folder, *pids = ended.stdout.split()
    assert len(pids) == 4, ended.stderr  # supervisor, process 1, kernel, orphan
    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids))
    until(lambda: not Path(folder).exists())


def test_a_killed_supervisor_takes_the_kernel_along(new: Callable[..., Interpreter]) -> None:
    interpreter = new()
    before = below()
    text(interpreter, ORPHAN)
    started = below() - before
    assert interpreter._kernel is not None
    folder = Path(interpreter._kernel.folder)
    os.kill(min(process.pid for process in started), signal.SIGKILL)
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in started))
    with pytest.raises(EngineFailed, match="ended"):
        text(interpreter, "1")
    assert not folder.exists()  # which nobody else can remove any more


# --- whether it may run ------------------------------------------------------------------------


def test_it_is_off_until_the_operator_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUINTET_CODE_INTERPRETER")
    with pytest.raises(UnsupportedPlacement, match="QUINTET_CODE_INTERPRETER=1"):
        list(Interpreter().run("1"))
    assert confinement().refused


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UnsupportedPlacement, match="WSL"):
        list(Interpreter().run("1"))


def test_a_system_without_namespaces_is_refused_until_the_operator_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnsupportedPlacement, match="unconfined"):
        list(Interpreter().run("1"))
    monkeypatch.setenv("QUINTET_CODE_INTERPRETER", "unconfined")
    held = confinement()
    assert held.refused is None
    assert "No network." in [sentence.en for sentence in held.missing]


def test_what_is_enforced_is_said_with_its_numbers(confinable: None) -> None:
    held = confinement(Limits(seconds=12, processes=9))
    assert not held.missing
    assert "A run is stopped after 12 seconds." in [sentence.en for sentence in held.enforced]
    assert "最多 9 个进程和线程。" in [sentence.zh for sentence in held.enforced]


def test_there_is_a_limit_to_interpreters_at_the_same_time(
    shared: Interpreter, new: Callable[..., Interpreter], monkeypatch: pytest.MonkeyPatch
) -> None:
    text(shared, "1")
    monkeypatch.setattr(session, "MOST", 1)
    with pytest.raises(DoesNotFit, match="in use"):
        text(new(), "1")


def test_code_longer_than_anybody_writes_is_refused() -> None:
    with pytest.raises(BadInput, match="at most"):
        list(Interpreter().run("#" * 200_000))
