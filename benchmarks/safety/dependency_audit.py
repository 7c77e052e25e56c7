"""What the tested set of packages is: every pin of constraints.txt with its licence, and known weaknesses if asked.

    python -m benchmarks.safety.dependency_audit         the table; benchmarks/results/safety/dependencies.json
    python -m benchmarks.safety.dependency_audit --advisories  also asks for known weaknesses (pip-audit)

Licences are what the installed packages say of themselves: an SPDX expression where there is one, else the classifiers
or the licence field. A pin that is not installed, or is installed in another version, is said. pip-audit says "no known
vulnerabilities" also of packages that its service could not be asked about; here these are counted apart.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
RESULT = ROOT / "benchmarks" / "results" / "safety" / "dependencies.json"
UNKNOWN = "not stated"
#: Licences that ask for more than to be named, by a word of theirs: what a distributor should read.
RECIPROCAL = ("GPL", "MPL", "Mozilla", "EPL", "CDDL")


def pins(text: str) -> dict[str, str]:
    """Package -> version of a constraints file.

    Raises:
        ValueError: A line pins nothing.
    """
    found = {}
    for line in text.splitlines():
        wanted = line.partition("#")[0].strip()
        if not wanted:
            continue
        name, equal, version = wanted.partition("==")
        if not equal or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ValueError(f"constraints.txt: {line!r} pins no package; write name==version.")
        found[name] = version.partition(";")[0].strip()
    return found


def licence(about: Any) -> str:
    """What the metadata of a package say of its licence, in one line."""
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    named = [
        line.rpartition("::")[2].strip() for line in about.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    named = [name for name in named if name != "OSI Approved"]
    if named:
        return ", ".join(dict.fromkeys(named))
    lines = str(about.get("License") or "").strip().splitlines()
    return lines[0][:80] if lines else UNKNOWN


def audit(text: str) -> list[dict[str, str]]:
    """A row for each pin: `name`, `pinned`, `installed` (empty where it is not), `licence`."""
    rows = []
    for name, version in pins(text).items():
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            rows.append({"name": name, "pinned": version, "installed": "", "licence": UNKNOWN})
            continue
        # A build for one kind of machine has a suffix: 2.13.0+cpu.
        rows.append({"name": name, "pinned": version, "installed": metadata.version(name), "licence": licence(about)})
    return rows


def advisories(constraints: Path) -> dict[str, Any]:
    """What pip-audit says of the pins.

    Returns:
        `asked` packages that its service knew, `unknown` ones that it did not, and `found`: weaknesses by package.
    """
    command = [sys.executable, "-m", "pip_audit", "-r", str(constraints), "--no-deps", "--disable-pip", "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OSError(f"pip-audit gave no answer ({reason}): install it, and let it reach its service.") from None
    return {
        "asked": sum("skip_reason" not in package for package in packages),
        "unknown": sum("skip_reason" in package for package in packages),
        "found": {p["name"]: [v["id"] for v in p["vulns"]] for p in packages if p.get("vulns")},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.safety.dependency_audit", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--advisories", action="store_true", help="ask for known weaknesses, by the network")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the result goes")
    options = parser.parse_args(arguments)
    try:
        rows = audit(CONSTRAINTS.read_text(encoding="utf-8"))
        known = advisories(CONSTRAINTS) if options.advisories else None
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print("| package | pinned | installed | licence |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['name']} | {row['pinned']} | {row['installed'] or 'no'} | {row['licence']} |")
    other = [row["name"] for row in rows if row["installed"].partition("+")[0] != row["pinned"].partition("+")[0]]
    reciprocal = [row["name"] for row in rows if any(word in row["licence"] for word in RECIPROCAL)]
    counts = Counter(row["licence"] for row in rows)
    print(
        f"\n{len(rows)} pins, {len(counts)} kinds of licence; installed in another version or not: {other or 'none'}."
    )
    print(f"Licences with more than a notice: {reciprocal or 'none'}; not stated: {counts[UNKNOWN]}.")
    if known:
        print(f"Advisories: {known['asked']} packages were known, {known['unknown']} not. Found: {known['found']}.")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"packages": rows, "reciprocal": reciprocal, "not_as_pinned": other, "advisories": known}
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
