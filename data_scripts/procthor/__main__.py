"""`python -m data_scripts.procthor read ...` or `python -m data_scripts.procthor generate ...`"""

from functools import partial

from data_scripts.commands import run_command
from modeling_cde.whole_files import in_one_sentence

COMMANDS = {
    "read": "existing pairs: Causal Triplet's folders proc_XXXXX, as a folder, a zip or a tar",
    "generate": "new pairs with AI2-THOR, which needs a simulator",
}
main = partial(run_command, "procthor", COMMANDS)

if __name__ == "__main__":
    with in_one_sentence("data_scripts.procthor"):
        main()
