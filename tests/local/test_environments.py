"""What the environments of local jobs guarantee: made once, never half, and honest about a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.environments import EnvironmentFailed, ensure, environment_key, main, resolved_lines


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package that pip can install without a network."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text(
        "import zipfile, pathlib\n"
        "NAME = 'greeting-1.0-py3-none-any.whl'\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    with zipfile.ZipFile(pathlib.Path(folder) / NAME, 'w') as wheel:\n"
        "        wheel.writestr('greeting.py', 'TEXT = \"hello\"\\n')\n"
        "        info = 'greeting-1.0.dist-info/'\n"
        "        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n')\n"
        "        wheel.writestr(info + 'WHEEL', "
        "'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        wheel.writestr(info + 'RECORD', '')\n"
        "    return NAME\n"
    )
    return source


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("# only a comment\n\n", ()),
        ("numpy==2.0\n", ("numpy==2.0",)),
        ("  numpy==2.0   # why\n", ("numpy==2.0",)),
        ("one @ file:///a#egg=b\n", ("one @ file:///a#egg=b",)),
        ("-r base.txt\nlast==1\n", ("base==1", "last==1")),
        ("--requirement=base.txt\n", ("base==1",)),
        ("-c base.txt\nlast\n", ("-c base==1", "last")),
        ("one==1 \\\n  --hash=sha256:0\n", ("one==1    --hash=sha256:0",)),
    ],
)
def test_the_whole_text_counts_and_comments_do_not(tmp_path: Path, text: str, lines: tuple[str, ...]) -> None:
    write(tmp_path / "base.txt", "base==1\n")
    assert resolved_lines(write(tmp_path / "requirements.txt", text)) == lines


def test_a_change_in_an_included_file_gives_another_environment(tmp_path: Path) -> None:
    top = write(tmp_path / "requirements.txt", "-r base.txt\n")
    write(tmp_path / "base.txt", "base==1\n")
    first = environment_key(resolved_lines(top))
    write(tmp_path / "base.txt", "base==2\n")
    assert environment_key(resolved_lines(top)) != first


@pytest.mark.parametrize("text", ["-r requirements.txt\n", "-r missing.txt\n"])
def test_a_broken_include_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvironmentFailed, match=r"(includes itself|cannot read).*|missing\.txt"):
        ensure(write(tmp_path / "requirements.txt", text), tmp_path / "envs")


def test_it_holds_what_the_requirements_name_and_nothing_of_ours(tmp_path: Path, package: Path) -> None:
    python = ensure(write(tmp_path / "requirements.txt", f"{package}\n"), tmp_path / "envs")
    seen = subprocess.run([python, "-c", "import greeting; print(greeting.TEXT)"], capture_output=True, text=True)
    assert seen.stdout == "hello\n"
    assert subprocess.run([python, "-c", "import google.cloud.storage"], stderr=subprocess.DEVNULL).returncode != 0


def test_the_second_call_makes_nothing(tmp_path: Path) -> None:
    requirements = write(tmp_path / "requirements.txt", "")
    python = ensure(requirements, tmp_path / "envs")
    made = (python.parent.parent / "pyvenv.cfg").stat().st_mtime_ns
    assert ensure(requirements, tmp_path / "envs") == python
    assert (python.parent.parent / "pyvenv.cfg").stat().st_mtime_ns == made


def test_processes_side_by_side_get_the_same_whole_environment(tmp_path: Path, package: Path) -> None:
    requirements = write(tmp_path / "requirements.txt", f"{package}\n")
    command = [sys.executable, "-m", "local.environments", "--root", str(tmp_path / "envs"), str(requirements)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers[0] == answers[1]
    python = answers[0].split(": ")[1].strip()
    assert subprocess.run([python, "-c", "import greeting"]).returncode == 0


def test_a_broken_install_never_counts_and_shows_the_end_of_pips_log(tmp_path: Path, package: Path) -> None:
    backend = (package / "backend.py").read_text()
    write(package / "backend.py", "raise SystemExit('the builder is broken')\n")
    requirements = write(tmp_path / "requirements.txt", f"{package}\n")
    with pytest.raises(EnvironmentFailed, match=r"(?s)requirements\.txt.*\.log.*the builder is broken"):
        ensure(requirements, tmp_path / "envs")
    write(package / "backend.py", backend)
    python = ensure(requirements, tmp_path / "envs")
    assert subprocess.run([python, "-c", "import greeting"]).returncode == 0


def test_what_a_killed_maker_left_is_thrown_away(tmp_path: Path) -> None:
    requirements = write(tmp_path / "requirements.txt", "")
    left = tmp_path / "envs" / f"{environment_key(())}.tmp"
    (left / "bin").mkdir(parents=True)
    write(left / "bin" / "python", "not an interpreter")
    python = ensure(requirements, tmp_path / "envs")
    assert subprocess.run([python, "-c", "pass"]).returncode == 0
    assert not left.exists()


def test_the_command_prepares_several_and_fails_when_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.txt", "# nothing\n")
    root = str(tmp_path / "envs")
    assert main(["--root", root, str(good), str(good)]) == 0
    assert main(["--root", root, str(good), str(tmp_path / "missing.txt")]) == 1
    assert "missing.txt" in capsys.readouterr().err
