#!/usr/bin/env python3
"""Compares counted instructions with the committed ones; `scripts/count` calls it.

Standard input has a line for each scenario: its name, instructions, packets. Exits 1 when a scenario is above its
committed figure by more than `above_percent`, or below by more than `below_percent`: an improvement is kept by
committing to it. `--update` writes what was counted into counts.json; `--planted NAME` expects a scenario to be above.
"""

import json
import pathlib
import platform
import subprocess
import sys

COUNTS = pathlib.Path(__file__).resolve().parent / "counts.json"


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def tools():
    """What the figures depend on beside the code."""
    libc = " ".join(platform.libc_ver())
    return {"rustc": first_line("rustc", "--version"), "valgrind": first_line("valgrind", "--version"), "libc": libc}


def counted(lines):
    fields = (line.split() for line in lines)
    return {name: round(int(total) / int(packets), 1) for name, total, packets in fields}


def verdict(change, committed):
    if change > committed["above_percent"]:
        return "ABOVE"
    return "BELOW" if change < -committed["below_percent"] else "ok"


def table(figures, committed):
    """Prints a line for each scenario; returns its verdict by name."""
    verdicts = {}
    print(f"{'scenario':<12}{'instructions/packet':>20}{'committed':>12}{'change':>10}")
    for name, figure in figures.items():
        before = committed["scenarios"].get(name)
        if before is None:
            verdicts[name] = "MISSING"
            print(f"{name:<12}{figure:>20.1f}{'-':>12}{'-':>10}  MISSING")
            continue
        change = (figure / before - 1) * 100
        verdicts[name] = verdict(change, committed)
        print(f"{name:<12}{figure:>20.1f}{before:>12.1f}{change:>+9.2f}%  {verdicts[name]}")
    return verdicts


def explain(verdicts, committed):
    for tool, version in tools().items():
        if committed["tools"].get(tool) != version:
            print(f"note: {tool} differs: {version}, and {committed['tools'].get(tool)} when the figures were committed")
    if "ABOVE" in verdicts.values():
        print(f"above by more than {committed['above_percent']} %: find out why (.run/count has the profiles)")
    if {"BELOW", "MISSING"} & set(verdicts.values()):
        print("cheaper than committed, or new: keep it with scripts/count --update")


def main(arguments):
    figures = counted(sys.stdin)
    committed = json.loads(COUNTS.read_text())
    verdicts = table(figures, committed)
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
