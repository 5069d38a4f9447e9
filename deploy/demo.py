"""The main job, end to end, in a fresh home that is thrown away: every command is shown, then run.

Run by `make demo`; `python deploy/demo.py --keep` leaves the home for looking around.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

LOAD_MODEL = """
from sklearn.datasets import load_breast_cancer
from stackledger import Client

version = Client().get_artifact_version("best_model")
model = version.load()
data = load_breast_cancer(as_frame=True)
accuracy = model.score(data.data, data.target)
print(f"{version.name} version {version.version}: {type(model).__name__}, sha256 {version.digest[:12]}…")
print(f"accuracy on the whole data set: {accuracy:.3f}")
"""


class Demo:
    """Runs commands the way a user would, in one home and one project folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        binaries = Path(sys.executable).parent
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STACKLEDGER_")},
            "STACKLEDGER_HOME": str(folder / "home"),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        }

    def say(self, text: str) -> None:
        """Print a heading."""
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def run(self, command: str, *, within: str = ".", stdin: str | None = None) -> None:
        """Show a command, run it, and stop the demo if it fails."""
        print(f"$ {command}", flush=True)
        done = subprocess.run(
            shlex.split(command), cwd=self.folder / within, env=self.environment, input=stdin, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"The demo stopped: `{command}` exited with {done.returncode}.")


def main() -> None:
    """Go through the main job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder and print where it is")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="stackledger-demo-"))
    demo = Demo(folder)
    started = time.monotonic()

    demo.say("A fresh installation has one stack")
    demo.run("stackledger stack list")
    demo.say("A project from the starter template, and its pipeline on the default stack")
    demo.run("stackledger init --template starter --template-with-defaults --path project")
    demo.run("python run.py --training-pipeline", within="project")
    demo.say("Another artifact store, and a stack that uses it")
    demo.run("stackledger artifact-store register my_artifact_store --flavor=local", within="project")
    before = datetime.now(tz=UTC).isoformat()
    demo.run("stackledger stack register a_new_local_stack -o default -a my_artifact_store", within="project")
    demo.run("stackledger stack describe a_new_local_stack", within="project")
    demo.run("stackledger stack set a_new_local_stack", within="project")
    demo.say("The same pipeline, not a line changed, on the new stack")
    demo.run("python run.py --training-pipeline", within="project")
    demo.run("stackledger run list", within="project")
    demo.say("The model, loaded back from the artifact store; its digest is checked before a byte is parsed")
    (folder / "project" / "load_model.py").write_text(LOAD_MODEL.lstrip(), encoding="utf-8")
    demo.run("python load_model.py", within="project")
    demo.say("What happened, and what the registry looked like before it did")
    demo.run("stackledger stack history a_new_local_stack", within="project")
    demo.run(f"stackledger stack list --as-of {before}", within="project")
    demo.run("stackledger log stats", within="project")

    print(f"\nThe demo took {time.monotonic() - started:.0f} seconds.", flush=True)
    if keep:
        print(f"Its home and project are in {folder}; set STACKLEDGER_HOME={folder / 'home'} to look around.")
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
