#!/usr/bin/env python3
"""Compares counted instructions with the committed ones; `scripts/count` calls it.

Standard input has a line for each scenario: its name, instructions, packets. Exits 1 when a scenario is above its
committed figure by more than `above_percent`, or below by more than `below_percent`: an improvement is kept by
committing to it. With other tools than those that the figures were committed with, `other_tools_percent` bounds both.
`--update` writes what was counted into counts.json, `--write FILE` elsewhere; `--planted NAME FILE` expects a scenario to
be above what FILE says.
"""

import json
import pathlib
import platform
import re
import subprocess
import sys

COUNTS = pathlib.Path(__file__).resolve().parent / "counts.json"


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def tools():
    """What the figures depend on beside the code."""
    flags = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    vectors = "avx2" if flags and "avx2" in flags.group(1).split() else "no avx2"
    return {
        "rustc": first_line("rustc", "--version"),
        "valgrind": first_line("valgrind", "--version"),
        "libc": " ".join(platform.libc_ver()),
        "processor": f"{platform.machine()}, {vectors}",
    }


def counted(lines):
    fields = (line.split() for line in lines)
    return {name: round(int(total) / int(packets), 1) for name, total, packets in fields}


def differing(committed):
    """Tool, here, when the figures were committed; of those that differ."""
    here, there = tools(), committed["tools"]
    return [(tool, version, there.get(tool)) for tool, version in here.items() if there.get(tool) != version]


def bounds(committed):
    """By how many percent a figure may be above and below."""
    if differing(committed):
        return committed["other_tools_percent"], committed["other_tools_percent"]
    return committed["above_percent"], committed["below_percent"]


def verdict(figure, before, committed):
    if before is None:
        return "NEW"
    above, below = bounds(committed)
    change = (figure / before - 1) * 100
    return "ABOVE" if change > above else "BELOW" if change < -below else "ok"


def table(figures, committed):
    """Prints a line for each scenario; returns its verdict by name."""
    verdicts = {}
    print(f"{'scenario':<12}{'instructions/packet':>20}{'committed':>12}{'change':>10}")
    for name, figure in figures.items():
        before = committed["scenarios"].get(name)
        verdicts[name] = verdict(figure, before, committed)
        was, change = ("-", "-") if before is None else (f"{before:.1f}", f"{(figure / before - 1) * 100:+.2f} %")
        print(f"{name:<12}{figure:>20.1f}{was:>12}{change:>10}  {verdicts[name]}")
    return verdicts


def explain(verdicts, committed):
    above, below = bounds(committed)
    if "ABOVE" in verdicts.values():
        print(f"above by more than {above} %: find out why (.run/count has the profiles), or say why and --update")
    if {"BELOW", "NEW"} & set(verdicts.values()):
        print(f"below by more than {below} %, or new: commit to it with scripts/count --update")


def main(arguments):
    figures = counted(sys.stdin)
    committed = json.loads(COUNTS.read_text())
    if arguments[:1] == ["--write"]:
        said = {**committed, "tools": tools(), "scenarios": figures}
        pathlib.Path(arguments[1]).write_text(json.dumps(said, indent=2) + "\n")
        return 0
    if arguments[:1] == ["--planted"]:
        committed = json.loads(pathlib.Path(arguments[2]).read_text())
    verdicts = table(figures, committed)
    for tool, here, there in differing(committed):
        print(f"note: {tool} differs, and the figures with it: '{here}' here, '{there}' when they were committed")
    if arguments == ["--update"]:
        COUNTS.write_text(json.dumps({**committed, "tools": tools(), "scenarios": figures}, indent=2) + "\n")
        return 0
    if arguments[:1] == ["--planted"]:
        flagged = [name for name, said in verdicts.items() if said == "ABOVE"]
        print(f"{arguments[1]}: " + (f"noticed in {', '.join(flagged)}" if flagged else "NOT noticed"))
        return 0 if flagged else 1
    explain(verdicts, committed)
    return 0 if set(verdicts.values()) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
