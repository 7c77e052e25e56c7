"""The audit tells of every pin, and does not take silence for an answer."""

import json
import subprocess
from email.message import Message
from pathlib import Path

import pytest

from benchmarks.safety import dependency_audit
from benchmarks.safety.dependency_audit import CONSTRAINTS, RESULT, advisories, audit, licence, pins


def test_the_kept_result_is_of_the_pins_of_today():
    kept = json.loads(RESULT.read_text())
    assert {row["name"]: row["pinned"] for row in kept["packages"]} == pins(CONSTRAINTS.read_text())
    assert kept["advisories"]["asked"] + kept["advisories"]["unknown"] == len(kept["packages"])


def test_pins_are_read_and_lines_that_pin_nothing_refused():
    assert pins("# all\na==1.0\nB-b==2  # why\n") == {"a": "1.0", "B-b": "2"}
    with pytest.raises(ValueError, match="'a>=1' pins no package"):
        pins("a>=1")


def test_licences_are_told_from_any_of_their_places():
    about = Message()
    assert licence(about) == "not stated"
    about["License"] = "As is\nand a long text"
    assert licence(about) == "As is"
    about["Classifier"] = "License :: OSI Approved :: MIT License"
    assert licence(about) == "MIT License"
    about["License-Expression"] = "Apache-2.0"
    assert licence(about) == "Apache-2.0"
    rows = audit("pytest==0\nno-such-package==1\n")
    assert rows[0]["installed"] not in ("", "0") and rows[0]["licence"] != "not stated" and rows[1]["installed"] == ""


def test_packages_that_could_not_be_asked_about_are_not_said_to_be_sound(monkeypatch):
    answer = {"dependencies": [{"name": "a", "skip_reason": "not found"}, {"name": "b", "vulns": [{"id": "X-1"}]}]}
    done = subprocess.CompletedProcess([], 0, json.dumps(answer), "No known vulnerabilities found")
    monkeypatch.setattr(dependency_audit.subprocess, "run", lambda *_, **__: done)
    assert advisories(Path("x")) == {"asked": 1, "unknown": 1, "found": {"b": ["X-1"]}}
    done.stdout, done.stderr = "", "\nNo module named pip_audit"
    with pytest.raises(OSError, match=r"gave no answer \(No module named pip_audit\)"):
        advisories(Path("x"))


def test_security_md_says_what_the_audit_gave():
    asked = json.loads(RESULT.read_text())["advisories"]["asked"]
    said = (CONSTRAINTS.parent / "SECURITY.md").read_text()
    assert ("it knew **none**" in said) == (asked == 0)
