"""The command line: finding commands, exit codes, one-shot answers, and the daemon as a process."""

import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.compiler.cli import main as cli
from ingot.compiler.cli import run as run_command
from ingot.runtime.server import ServerOptions, bind

from .conftest import toy_llm

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torch_mlir", "transformers", "starlette", "llvmlite")


def test_every_command_is_found_with_its_help() -> None:
    commands = cli.find_commands()
    assert {"compile", "inspect", "opt", "run", "serve"} <= set(commands)
    assert "main" not in commands and "model-options" not in commands
    assert all(text and text[0].islower() for text in commands.values())


def python(code: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        **options,
    )


def test_help_imports_nothing_heavy() -> None:
    done = python(
        f"""
        import sys
        from ingot.compiler.cli.main import main
        try:
            main(["--help"])
        finally:
            print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
        """
    )
    assert "serve" in done.stdout and done.stderr.strip() == "[]"


def test_the_serving_part_imports_nothing_of_the_compiler() -> None:
    code = f"import ingot.runtime, sys; print([n for n in {HEAVY[:3]} if n in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_a_missing_extra_is_one_sentence() -> None:
    done = python(
        """
        import sys
        sys.modules["torch"] = None
        from ingot.compiler.cli import main as cli
        def fails(arguments):
            import torch
        cli._load = lambda name: type("M", (), {"add_arguments": lambda p: None, "run": fails})
        sys.exit(cli.main(["compile"]))
        """
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "torch is not installed" in done.stderr
    assert "pip install 'ingot[compile]'" in done.stderr


def test_exit_codes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["run", "/nonexistent.ingot", "Hi"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ingot: /nonexistent.ingot: there is no such folder\n  Check the path")
    for words in ([], ["unknown"], ["run"], ["serve", "x", "--port", "many"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2

    def interrupted(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main([]) == 130


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the toy model in the place of every artifact."""
    monkeypatch.setattr(run_command, "LLM", lambda path, threads, options: toy_llm(options=options))


def answer(prompt: str, *, chat: bool) -> str:
    with toy_llm() as model:
        params = run_command.SamplingParams(max_tokens=9, temperature=0)
        if chat:
            return model.chat([{"role": "user", "content": prompt}], params)[0].text
        return model.generate(prompt, params)[0].text


@pytest.mark.usefixtures("toy")
def test_one_shot_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "x", "Hi", "--max-tokens", "9"]) == 0
    assert capsys.readouterr().out == answer("Hi", chat=True) + "\n"
    assert cli.main(["run", "x", "Hi", "--max-tokens", "9", "--raw"]) == 0
    assert capsys.readouterr().out == answer("Hi", chat=False) + "\n"
    assert cli.main(["run", "x", "Hi", "--temperature", "-1"]) == 1
    assert "temperature" in capsys.readouterr().err
    assert cli.main(["run", "x", "Hi", "--max-model-len", "9999"]) == 2
    assert "Give 2 to 400" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_a_prompt_may_stand_behind_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "toy.ingot", "cab", "--raw", "--max-tokens", "4"]) == 0
    before = capsys.readouterr().out
    assert cli.main(["run", "toy.ingot", "--raw", "--max-tokens", "4", "cab"]) == 0
    assert capsys.readouterr().out == before


@pytest.mark.usefixtures("toy")
def test_a_prompt_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("Hi\n"))
    assert cli.main(["run", "x", "--max-tokens", "9"]) == 0
    assert capsys.readouterr().out == answer("Hi", chat=True) + "\n"


SERVE = """
import sys
from ingot.compiler.cli import serve
from ingot.compiler.cli.main import main
from tests.runtime.conftest import toy_llm
def load(path, threads, options, observer):
    model = toy_llm(options=options, observer=observer)
    model.engine._executor.delay = 0.003
    return model
serve.LLM = load
sys.exit(main(["serve", "toy.ingot", *sys.argv[1:]]))
"""


@contextmanager
def daemon(*words: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_printed_curl_line_answers_and_sigterm_drains() -> None:
    with daemon("--port", "0", "--api-key", "it's") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert lines[0].startswith("Serving toy on http://127.0.0.1:")
        program, address, *rest = shlex.split("".join(lines[2:4]).replace("\\\n", " "))
        options = list(zip(rest[::2], rest[1::2], strict=True))
        assert program == "curl" and [name for name, _ in options] == ["-H", "-H", "-d"]
        headers = dict(value.split(": ") for name, value in options if name == "-H")
        printed = httpx.post(address, headers=headers, content=options[-1][1], timeout=30)
        assert printed.json()["choices"][0]["message"]["role"] == "assistant"
        url = lines[0].split()[3].rstrip(";")
        body = {"prompt": "a", "max_tokens": 100, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=headers) as response:
            received = response.iter_text()
            next(received)
            process.send_signal(signal.SIGTERM)
            text = "".join(received)
        assert '"finish_reason":"length"' in text and text.endswith("data: [DONE]\n\n")
        assert process.wait(20) == 0
        assert process.stderr is not None and process.stderr.read() == ""


def test_a_busy_port_is_one_message_and_exit_code_1() -> None:
    with bind(ServerOptions(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with daemon("--port", str(port)) as process:
            out, error = process.communicate(timeout=30)
    assert process.returncode == 1 and out == ""
    assert error.startswith(f"ingot: 127.0.0.1:{port}: cannot be bound: Address already in use\n")
    assert len(error.splitlines()) == 2


CHAT = """
import sys
from ingot.compiler.cli import run
from ingot.compiler.cli.main import main
from tests.runtime.conftest import toy_llm
run.LLM = lambda path, threads, options: toy_llm(options=options)
sys.exit(main(["run", "toy.ingot", "--max-tokens", "9"]))
"""


def test_a_chat_in_the_terminal_remembers_what_was_said() -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CHAT],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    os.write(ours, b"Hi\nAgain\n\x04")
    out, error = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0 and b"End with Ctrl-D" in error
    first = answer("Hi", chat=True)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": first}]
    with toy_llm() as model:
        params = run_command.SamplingParams(max_tokens=9, temperature=0)
        [second] = model.chat([*messages, {"role": "user", "content": "Again"}], params)
    text = out.decode()
    assert first in text and second.text in text[text.index(first) + len(first) :]
