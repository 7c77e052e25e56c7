"""Pairs of any other origin: robots' episodes in the LeRobot format, and tables or folders of pictures.

    python -m data_scripts.episodes lerobot   first and last frame of each episode, its instruction read by rule
    python -m data_scripts.episodes table     a table of before, after, action, object, or a folder laid out by them

One module each: `recording` (the LeRobot layouts), `verbs` and `instruction` (the rule), `lerobot` (the command);
`listing` (tables), `folder` (folders), `table` (the command).
"""
