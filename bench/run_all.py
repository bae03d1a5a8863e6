"""Run every prototype and write points, findings and a report: ``python bench/run_all.py``."""

import sys

from attnproto.cli import guarded, run
from cyclopts import App

if __name__ == "__main__":
    app = App(name="run_all.py", default_command=run, result_action="return_value")
    sys.exit(guarded(app))
