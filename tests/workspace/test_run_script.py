"""scripts/run, run for real with stand-ins for Pixi, Python and the network."""

import json
import os
import signal
import sys
import time
import tomllib

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="without Pixi nothing runs on Windows")

PIXI = """#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "pixi ${PIXI_VERSION:-99.0.0}"; exit "${PIXI_BROKEN:-0}"; fi
printf '%s\\0' "$PWD" "$@"
exit "${PIXI_EXIT:-0}"
"""
TASKS = {"doctor", "check", "bench", "smoke", "report", "test", "lint"}


def one_sentence(done):
    """What a run that could not start its task says: one line, and exit code 2."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def sentence_after_greeting(done):
    """The same, after the line about the missing Pixi."""
    assert done.stderr.startswith("scripts/run: no Pixi on PATH")
    done.stderr = done.stderr.split("\n", 1)[1]
    return one_sentence(done)


def test_help_lists_every_task_once_with_its_description(clone):
    with (clone.root / "pixi.toml").open("a") as manifest:
        manifest.write('[feature.mine.tasks]\nlint = "true"\ntrain = { cmd = "true", description = "Learn" }\n')
    done = clone.run("--help")
    assert done.returncode == 0
    manifest = tomllib.loads((clone.root / "pixi.toml").read_text())
    features = [manifest["feature"][name].get("tasks", {}) for name in manifest["feature"] if name != "mine"]
    tasks = {name: task for table in (manifest["tasks"], *features) for name, task in table.items()}
    tasks["train"] = {"description": "Learn"}
    assert set(tasks) >= TASKS
    for name, task in tasks.items():
        assert [line.split(None, 1)[1:] for line in done.stdout.splitlines() if line.startswith(f"  {name} ")] == [
            [task["description"]]
        ]
    assert "GPUSMOKE_NO_PIXI=1" in done.stdout


def test_without_a_task_the_help_comes_as_an_error(clone):
    done = clone.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == clone.run("--help").stdout


@pytest.mark.parametrize("pixi", [True, False])
@pytest.mark.parametrize("task", ["smok", "smoke.", "--json"])
def test_an_unknown_task_is_answered_with_the_known_ones(clone, pixi, task):
    if pixi:
        clone.has_program("pixi", PIXI)
    sentence = one_sentence(clone.run(task))
    assert f"'{task}'" in sentence
    assert all(name in sentence for name in TASKS)


class TestWithPixi:
    def test_pixi_gets_the_arguments_as_they_are(self, clone, tmp_path):
        clone.has_program("pixi", PIXI)
        done = clone.run("bench", "--json", "two words", "", "*", "--", "-x", cwd=tmp_path)
        cwd, *argv = done.stdout.split("\0")[:-1]
        assert cwd == str(tmp_path)
        manifest = str(clone.root / "pixi.toml")
        assert argv == ["run", "--manifest-path", manifest, "bench", "--json", "two words", "", "*", "--", "-x"]
        assert done.stderr == ""
        assert not (clone.root / ".nox").exists()

    @pytest.mark.parametrize("code", [0, 1, 2, 70, 130])
    def test_its_exit_code_comes_through(self, clone, code):
        clone.has_program("pixi", PIXI)
        assert clone.run("check", PIXI_EXIT=str(code)).returncode == code

    @pytest.mark.parametrize(
        ("needed", "version"), [("0.73", "0.72.2"), ("0.73", "0.8.0"), ("0.73.1", "0.73.0"), ("1.0", "0.99.0")]
    )
    def test_an_older_one_is_refused_with_the_cure(self, clone, needed, version):
        manifest = clone.root / "pixi.toml"
        manifest.write_text(manifest.read_text().replace('requires-pixi = ">=0.73"', f'requires-pixi = ">={needed}"'))
        clone.has_program("pixi", PIXI)
        sentence = one_sentence(clone.run("check", PIXI_VERSION=version))
        assert version in sentence
        assert needed in sentence
        assert sentence.endswith("pixi self-update\n")

    @pytest.mark.parametrize("version", ["0.73", "0.73.0", "0.100.0", "1.0.0"])
    def test_the_same_or_a_newer_one_is_taken(self, clone, version):
        clone.has_program("pixi", PIXI)
        assert clone.run("check", PIXI_VERSION=version).returncode == 0

    def test_one_that_does_not_run_is_named(self, clone):
        pixi = clone.has_program("pixi", PIXI)
        assert f"{pixi}) does not run" in one_sentence(clone.run("check", PIXI_BROKEN="1"))

    def test_it_is_left_alone_when_asked(self, clone):
        clone.has_program("pixi", PIXI)
        clone.has_python()
        done = clone.run("doctor", GPUSMOKE_NO_PIXI="1")
        assert json.loads(done.stdout)["argv"] == ["doctor"]
        assert "no Pixi" not in done.stderr


class TestWithoutPixi:
    def test_the_first_run_says_what_it_does_and_the_second_does_nothing_of_it(self, clone):
        python = clone.has_python("python3.12")
        first, second = clone.run("check"), clone.run("check")
        greeting, using, downloading = first.stderr.splitlines()
        assert "curl -fsSL https://pixi.sh/install.sh | sh" in greeting
        assert f"at {python}; downloading nox==" in using
        assert "3.0 GB" in downloading
        assert f"{clone.root}/.nox/gpu" in downloading
        assert second.stderr == greeting + "\n"
        assert first.stdout == second.stdout
        assert len(clone.installed) == 3  # nox, uv, and the rest

    def test_nothing_but_the_tools_words_is_on_standard_output(self, clone):
        clone.has_python()
        done = clone.run("doctor", "--json")
        assert json.loads(done.stdout)["argv"] == ["doctor", "--json"]

    def test_the_tool_runs_where_the_user_stands_and_knows_its_repository(self, clone, tmp_path):
        clone.has_python()
        (tmp_path / "gpusmoke.py").write_text("a file of the user that has nothing to do with it")
        told = json.loads(clone.run("report", "two words", "", "*", "--", "--no-venv", cwd=tmp_path).stdout)
        assert told["argv"] == ["report", "two words", "", "*", "--", "--no-venv"]
        assert told["cwd"] == str(tmp_path)
        assert told["root"] == str(clone.root)
        assert clone.run("smoke", cwd=tmp_path).returncode == 0

    @pytest.mark.parametrize("code", [0, 1, 2, 70, 130])
    def test_the_tools_exit_code_comes_through(self, clone, code):
        clone.has_python()
        done = clone.run("check", STAND_IN_CHECK_EXIT=str(code))
        assert done.returncode == code
        assert "nox >" not in done.stderr

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_to_the_script_alone_reaches_the_tool(self, clone, number):
        clone.has_python()
        process = clone.start("bench", STAND_IN_WAITS="1")
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
        if number == signal.SIGINT:
            assert (process.returncode, rest) == (130, "kept what was measured\n")
        else:
            assert process.returncode == -signal.SIGTERM

    def test_ctrl_c_in_a_terminal_leaves_the_tool_its_time(self, clone):
        clone.has_python()
        process = clone.start("bench", STAND_IN_WAITS="1")
        assert process.stdout.readline() == "waiting\n"
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert (process.returncode, rest) == (130, "kept what was measured\n")

    def test_the_newest_python_that_runs_is_taken(self, clone):
        clone.has_program(
            "python3.14", "#!/usr/bin/env bash\necho 'pyenv: python3.14: command not found' >&2\nexit 127\n"
        )
        newest = clone.has_python("python3.13")
        clone.has_python("python3.12")
        done = clone.run("doctor")
        assert f"at {newest};" in done.stderr
        assert "pyenv" not in done.stderr

    def test_one_that_lacks_venv_is_passed_over(self, clone):
        clone.has_program("python3.13", "#!/usr/bin/env bash\n[[ $* != *ensurepip* ]]\n")
        older = clone.has_python("python3.12")
        assert f"at {older};" in clone.run("doctor").stderr

    def test_where_all_lack_venv_the_package_is_named(self, clone):
        python = clone.has_python()
        sentence = sentence_after_greeting(clone.run("doctor", STAND_IN_BARE="1"))
        assert str(python) in sentence
        assert sentence.endswith("sudo apt install python3-venv\n")

    @pytest.mark.parametrize("too_old", [True, False])
    def test_without_a_usable_python_the_way_out_is_named(self, clone, too_old):
        if too_old:
            clone.has_program("python3", "#!/usr/bin/env bash\n[[ $* != *version_info* ]]\n")
        sentence = sentence_after_greeting(clone.run("doctor"))
        assert "no Python >= 3.11" in sentence
        assert "https://pixi.sh/install.sh" in sentence

    def test_without_a_network_that_is_said_and_nothing_stays_behind(self, clone):
        clone.has_python()
        done = clone.run("doctor", STAND_IN_PIP="echo 'ERROR: No matching distribution found for nox'; exit 1")
        assert done.returncode == 2
        sentence = done.stderr.splitlines()[-1]
        assert "ERROR: No matching distribution found for nox" in sentence
        assert "check the network" in sentence
        assert "PIP_INDEX_URL" in sentence
        assert list((clone.root / ".nox").iterdir()) == []
        assert clone.run("doctor").returncode == 0

    def test_an_interrupted_download_is_not_taken_for_a_failed_one_and_leaves_nothing(self, clone):
        clone.has_python()
        # As the real pip does: it says so and exits with 1.
        process = clone.start(
            "doctor", STAND_IN_PIP="trap 'echo ERROR: cancelled; exit 1' INT; echo >&2; sleep 30 & wait"
        )
        while not clone.installed:
            time.sleep(0.05)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        _, words = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "network" not in words
        assert list((clone.root / ".nox").iterdir()) == []

    def test_a_second_run_keeps_what_the_first_has_made_meanwhile(self, clone):
        clone.has_python()
        pin = next(
            requirement
            for requirement in tomllib.loads((clone.root / "pyproject.toml").read_text())["dependency-groups"]["test"]
            if requirement.startswith("nox==")
        )
        theirs = clone.root / ".nox" / pin.replace("==", "-")
        meanwhile = (
            f"case $* in *nox==*) mkdir -p '{theirs}/bin'; cp \"$0\" '{theirs}/bin/python'; : >'{theirs}/theirs';; esac"
        )
        assert clone.run("doctor", STAND_IN_PIP=meanwhile).returncode == 0
        assert (theirs / "theirs").exists()

    def test_a_python_that_was_upgraded_under_it_is_noticed(self, clone):
        clone.has_python()
        clone.run("doctor")
        (made,) = (clone.root / ".nox").glob("nox-*")
        (made / "bin" / "python").write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -S "$@"\n')
        done = clone.run("doctor")
        assert done.returncode == 0
        assert "downloading nox==" in done.stderr

    def test_a_folder_that_can_not_be_written_to_is_named(self, clone):
        clone.has_python()
        (clone.root / ".nox").write_text("a file in the way")
        done = clone.run("doctor")
        assert done.returncode == 2
        assert done.stderr.endswith("copy the repository to a folder that you may write to\n")

    @pytest.mark.parametrize("system", ["MINGW64_NT-10.0-22631", "MSYS_NT-10.0-22631"])
    def test_windows_is_told_to_get_pixi(self, clone, system):
        clone.has_python()
        clone.has_program("uname", f"#!/usr/bin/env bash\necho {system}\n")
        assert "with Pixi only" in one_sentence(clone.run("doctor"))

    def test_a_task_that_only_pixi_knows_is_named(self, clone):
        clone.has_python()
        with (clone.root / "pixi.toml").open("a") as manifest:
            manifest.write('\n[feature.mine.tasks]\ntrain = { cmd = "python train.py", description = "Train" }\n')
        assert "'train' is no session of noxfile.py" in one_sentence(clone.run("train"))
