"""Secrets are read at use, from where the configuration says, and nowhere shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsbackup_tui.config.values import (
    SecretCommand,
    SecretDescription,
    SecretFile,
    SecretText,
    SecretVariable,
)
from fsbackup_tui.domain.errors import SecretUnavailable
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines import secrets
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret


async def read(
    description: SecretDescription,
    environment: Mapping[str, str] | None = None,
    redactor: Redactor | None = None,
    notes: list[str] | None = None,
) -> str:
    secret = await read_secret(
        description,
        environment or {},
        redactor or Redactor(),
        what="database address",
        where="config.yaml:4",
        note=None if notes is None else notes.append,
    )
    assert secret.reveal() not in repr(secret)
    return secret.reveal()


async def unavailable(
    description: SecretDescription, environment: Mapping[str, str] | None = None
) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        await read(description, environment)
    return caught.value


def python(code: str) -> SecretCommand:
    return SecretCommand(command=(sys.executable, "-c", code))


async def test_a_text_is_expanded_when_it_is_used() -> None:
    description = SecretText(text="${DIRECT_URL:-${DATABASE_URL}}")
    assert await read(description, {"DATABASE_URL": "a"}) == "a"
    assert await read(description, {"DATABASE_URL": "a", "DIRECT_URL": "b"}) == "b"
    assert await read(SecretText(text="x$$y")) == "x$y"


async def test_a_missing_variable_is_told_in_the_words_of_the_design() -> None:
    error = await unavailable(SecretText(text="${DATABASE_URL}"))
    assert error.what == "DATABASE ADDRESS UNKNOWN: DATABASE_URL is not set in this shell."
    assert error.why.startswith("config.yaml:4 reads it from the environment;")
    assert "export DATABASE_URL" in error.fix
    assert "env_file:" in error.fix
    assert error.exit_code == 1
    same = await unavailable(SecretVariable(env="DATABASE_URL"))
    assert same.what == error.what


async def test_all_that_could_have_given_it_is_named() -> None:
    error = await unavailable(SecretText(text="${DIRECT_URL:-${DATABASE_URL}}"))
    assert error.what == (
        "DATABASE ADDRESS UNKNOWN: neither DIRECT_URL nor DATABASE_URL is set in this shell."
    )


@pytest.mark.parametrize(
    "description",
    [SecretVariable(env="A"), SecretText(text="${A}"), SecretText(text="${B:-}")],
)
async def test_an_empty_variable_gives_no_secret(description: SecretDescription) -> None:
    error = await unavailable(description, {"A": ""})
    assert "is empty in this shell" in error.what


def test_a_secret_that_is_left_out() -> None:
    optional = SecretText(text="${ADMIN_URL:-}")
    assert expands_to_nothing(optional, {})
    assert not expands_to_nothing(optional, {"ADMIN_URL": "x"})
    assert not expands_to_nothing(SecretText(text="${ADMIN_URL}"), {})
    assert not expands_to_nothing(SecretVariable(env="ADMIN_URL"), {})


async def test_the_redactor_knows_the_url_and_every_form_of_its_password() -> None:
    redactor = Redactor()
    url = "postgresql://ana:p%40ss%2Fword@db1/shop"
    await read(SecretVariable(env="U"), {"U": url}, redactor)
    for text in (url, "p%40ss%2Fword", "p@ss/word"):
        assert redactor.redact(f"error near {text} here") == "error near *** here"


@pytest.mark.parametrize(
    "url", ["postgresql://ana:hun@ter/2x@db1/shop", "mysql://ana:hun@ter/2x@db1/shop"]
)
async def test_the_password_of_a_url_that_is_no_good_is_redacted_too(url: str) -> None:
    redactor = Redactor()
    await read(SecretVariable(env="U"), {"U": url}, redactor)
    assert "hun" not in redactor.redact("it says hun@ter/2x")


async def test_a_conninfo_password_is_redacted() -> None:
    redactor = Redactor()
    await read(SecretVariable(env="U"), {"U": "host=h dbname=d password='hunter 2'"}, redactor)
    assert redactor.redact("hunter 2") == "***"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret", "secret"),
        (b"se\ncret\n\n", "se\ncret\n"),
        (b" spaced ", " spaced "),
    ],
)
async def test_a_file(tmp_path: Path, content: bytes, value: str) -> None:
    path = tmp_path / "url"
    path.write_bytes(content)
    path.chmod(0o600)
    notes: list[str] = []
    assert await read(SecretFile(file=path), notes=notes) == value
    assert notes == []
    path.chmod(0o640)
    variable = SecretFile(file=Path("${DIR}/url"))
    assert await read(variable, {"DIR": str(tmp_path)}, notes=notes) == value
    assert notes == [f"{path} holds a secret and others can read it; chmod go= {path}"]


async def test_files_that_give_none(tmp_path: Path) -> None:
    path = tmp_path / "url"
    error = await unavailable(SecretFile(file=path))
    assert error.what == (
        f"DATABASE ADDRESS UNKNOWN: {path} can't be read: No such file or directory."
    )
    path.write_bytes(b"\n")
    assert "is empty" in (await unavailable(SecretFile(file=path))).what
    path.write_bytes(b"\xff")
    assert "is not UTF-8 text" in (await unavailable(SecretFile(file=path))).what
    path.write_bytes(b"x" * 70_000)
    assert "too long for a secret" in (await unavailable(SecretFile(file=path))).what


async def test_a_command_gets_the_environment_and_no_shell() -> None:
    echo = python("import os; print(os.environ['TOKEN'] + ';$HOME')")
    assert await read(echo, {"TOKEN": "t"}) == "t;$HOME"
    named = SecretCommand(command=("${PY}", "-c", "print('from ${PY_NAME}')"))
    assert await read(named, {"PY": sys.executable, "PY_NAME": "x"}) == "from x"


async def test_a_failing_command_tells_its_stderr_and_not_its_stdout() -> None:
    failing = python(
        "import sys; print('hunter2'); print('vault is sealed', file=sys.stderr)\nsys.exit(3)"
    )
    error = await unavailable(failing)
    assert error.what.startswith("DATABASE ADDRESS UNKNOWN: the command that should print it")
    assert "vault is sealed" in error.why
    assert "exit status 3" in error.why
    assert "hunter2" not in str(error)


async def test_commands_that_give_none(monkeypatch: pytest.MonkeyPatch) -> None:
    error = await unavailable(SecretCommand(command=("/nowhere/pass",)))
    assert "/nowhere/pass" in error.what
    assert "is empty" in (await unavailable(python("pass"))).what
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.3)
    slow = python("import time; time.sleep(60)")
    error = await unavailable(slow)
    assert "did not end within 0.3 s" in error.why
