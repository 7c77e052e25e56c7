"""Pairs from other origins: robot episodes in the LeRobot format, and tables or folders of pictures.

    python -m data_scripts.episodes lerobot   first and last frame of each episode, its instruction read by rule
    python -m data_scripts.episodes table     a table of before, after, action, object, or a folder with this layout

One module each: `recording` and `frames` (the LeRobot layouts), `verbs`, `instruction` and `readings` (the rule and its
exceptions), `lerobot` (the command); `formats` and `listing` (tables), `folder` (folders), `table` (the command).
"""
