"""terraform fmt and validate, as `make check` runs them: on a copy, so that no lock or plugin is left in the checkout.

python -m tests.terraform.check
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.terraform.workspace import TerraformFailed, Workspace, copy_sources


def main() -> int:
    """0 when all is well or cannot be looked at here (and says so); 1 with what terraform said."""
    program = shutil.which(os.environ.get("TERRAFORM", "terraform"))
    if program is None:
        print("terraform is not installed: its formatting and validity are not checked")
        return 0
    with tempfile.TemporaryDirectory() as name:
        copy_sources(Path(name))
        workspace = Workspace(str(Path(program).absolute()), Path(name))
        try:
            workspace.run("fmt", "-check", "-recursive", "-diff")
        except TerraformFailed as failed:
            print(failed, "run: terraform fmt -recursive terraform", sep="\n", file=sys.stderr)
            return 1
        try:
            workspace.run("init", "-no-color", "-input=false", "-backend=false")
        except TerraformFailed:
            print("terraform is formatted; its providers cannot be had here, so it is not validated")
            return 0
        try:
            workspace.run("validate", "-no-color")
        except TerraformFailed as failed:
            print(failed, file=sys.stderr)
            return 1
    print("terraform is formatted and valid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
