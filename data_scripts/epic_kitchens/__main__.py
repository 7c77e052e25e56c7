"""`python -m data_scripts.epic_kitchens index ...` or `python -m data_scripts.epic_kitchens extract ...`"""

from functools import partial

from data_scripts.commands import run_command
from modeling_cde.whole_files import in_one_sentence

COMMANDS = {
    "index": "from the official CSV tables to the frame numbers before and after each segment",
    "extract": "those frames, out of the official tars or folders or out of the videos, as a data set of pairs",
    "clips": "clips of evenly spaced frames from the start to the end of each segment",
}
main = partial(run_command, "epic_kitchens", COMMANDS)

if __name__ == "__main__":
    with in_one_sentence("data_scripts.epic_kitchens"):
        main()
