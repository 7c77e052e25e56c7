"""`python -m data_scripts.episodes lerobot ...` or `python -m data_scripts.episodes table ...`"""

from functools import partial

from data_scripts.commands import run_command
from modeling_cde.whole_files import in_one_sentence

COMMANDS = {
    "lerobot": "first and last frame of each episode of a data set in the LeRobot format",
    "clips": "clips of evenly spaced frames of each such episode",
    "label": "a copy of such a data set with what a model sees: actions, success, progress; and an audit",
    "table": "pairs listed in a table (CSV, TSV, JSON lines, Parquet), or in folders named by action and object",
}
main = partial(run_command, "episodes", COMMANDS)

if __name__ == "__main__":
    with in_one_sentence("data_scripts.episodes"):
        main()
