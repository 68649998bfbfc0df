#!/usr/bin/env python3
"""The rules of the tree that no compiler holds: which parts stay pure, which crates must not be older than a
known fault, which licences are let in. Prints each breach and how to mend it; exits 1 when there is one.

`--self-test` plants a breach of each rule and expects it to be found.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Parts that are state machines without clock, socket, task or randomness (ARCHITECTURE.md).
PURE = [
    "node/media/src",
    "api/protocol/src",
    "cluster/src/model.rs",
    "cluster/src/model",
    "cluster/src/state.rs",
    "cluster/src/state",
    "cluster/src/placement.rs",
    "cluster/src/detector.rs",
    "api/src/signal/session.rs",
    "api/src/signal/session",
    "tests/src/history.rs",
    "tests/src/history",
]

# What a pure part may not mention. Test modules may: they run in the shell.
IMPURE = [
    (r"\btokio::", "tasks and sockets belong to the shell around it"),
    (r"\bstd::net::(Tcp|Udp)", "sockets belong to the driver"),
    (r"\bstd::thread\b", "threads belong to the driver"),
    (r"\bstd::fs\b", "files belong to the store"),
    (r"\bstd::env\b", "configuration is passed in"),
    (r"\b(Instant|SystemTime|Utc|Local)::now\b", "time comes in as an argument"),
    (r"\brand::(rng|random|thread_rng)\b|\bUuid::(new_v4|now_v7)\b", "random values are passed in"),
    (r"\b(quinn|axum|sled|openraft|reqwest|socket2)::", "this crate belongs to a shell"),
]

# The oldest version without a fault that is known to matter here; "=" pins.
FLOORS = {
    "openraft": ("0.10.0-alpha.37", "commit on a quorum that never existed, diverging membership"),
    "str0m": ("0.23.1", "panics on malformed RTCP and STUN"),
    "quinn-proto": ("0.11.14", "a panic from one packet (CVE-2026-31812)"),
    "rustls": ("0.23.18", "a panic in the acceptor (RUSTSEC-2024-0399)"),
    "jsonwebtoken": ("10.3.0", "expiry skipped when it is a string (CVE-2026-25537)"),
    "socketioxide": ("0.18.9", "unlimited binary attachments"),
    "engineioxide": ("0.17.9", "leaked long polls"),
    "h2": ("0.4.4", "CONTINUATION flood"),
    "tungstenite": ("0.20.1", "header flood (CVE-2023-43669)"),
    "sled": ("=0.34.7", "the release whose durability was measured"),
    "bincode": ("=2.0.1", "3.0.0 is empty"),
}

LICENCES = {
    "MIT", "MIT-0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib",
    "Unicode-3.0", "MPL-2.0", "MPL-2.0+", "CDLA-Permissive-2.0", "BSL-1.0", "CC0-1.0", "0BSD", "Unlicense", "OpenSSL",
}


def code_lines(text):
    """Line number and code of each line before the test module, without comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() == "#[cfg(test)]":
            return
        code = line.split("//", 1)[0]
        if code.strip():
            yield number, code


def purity_of(name, text):
    for number, code in code_lines(text):
        for pattern, reason in IMPURE:
            found = re.search(pattern, code)
            if found:
                yield f"{name}:{number}: `{found.group(0)}` in a pure part: {reason}"


def is_test_file(path):
    return path.stem in ("tests", "testing") or path.stem.endswith("_tests") or "tests" in path.parts[1:]


def purity():
    for entry in PURE:
        path = ROOT / entry
        files = sorted(path.rglob("*.rs")) if path.is_dir() else [path] if path.exists() else []
        for file in files:
            if not is_test_file(file.relative_to(ROOT)):
                yield from purity_of(file.relative_to(ROOT), file.read_text())


def version_key(version):
    """Orders versions as cargo does: numbers first, a pre-release before its release."""
    release, _, pre = version.split("+")[0].partition("-")
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".")) if pre else ()
    return tuple(int(p) for p in release.split(".")), not pre, parts


def floors_of(packages):
    for name, version in packages:
        if name not in FLOORS:
            continue
        floor, reason = FLOORS[name]
        if floor.startswith("="):
            if version != floor[1:]:
                yield f"Cargo.lock: {name} {version}, expected exactly {floor[1:]} ({reason})"
        elif version_key(version) < version_key(floor):
            yield f"Cargo.lock: {name} {version} is older than {floor} ({reason}): cargo update -p {name}"


def floors():
    lock = (ROOT / "Cargo.lock").read_text()
    yield from floors_of(re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', lock, re.M))


def allowed(expression):
    """Whether an SPDX expression can be met with the licences above."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def atom():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        if tokens[position : position + 1] == ["WITH"]:
            token += " WITH " + tokens[position + 1]
            position += 2
        return token in LICENCES

    def both():
        nonlocal position
        value = atom()
        while tokens[position : position + 1] == ["AND"]:
            position += 1
            value = atom() and value
        return value

    def either():
        nonlocal position
        value = both()
        while tokens[position : position + 1] == ["OR"]:
            position += 1
            value = both() or value
        return value

    return either()


def licences_of(packages):
    for name, version, licence in packages:
        if not licence:
            yield f"{name} {version}: no licence is named; look, then replace it or add an exception with its reason"
        elif not allowed(licence):
            yield f"{name} {version}: {licence} is not on the list in scripts/rules.py"


def licences():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode != 0:
        yield f"cargo metadata: {answer.stderr.strip()}"
        return
    packages = json.loads(answer.stdout)["packages"]
    yield from licences_of((p["name"], p["version"], p["license"]) for p in packages)


def self_test():
    planted = [
        purity_of("x.rs", "use tokio::net::UdpSocket;\n"),
        purity_of("x.rs", "let now = Instant::now();\n"),
        floors_of([("rustls", "0.23.9")]),
        floors_of([("openraft", "0.10.0-alpha.9")]),
        floors_of([("sled", "1.0.0-alpha.124")]),
        licences_of([("x", "1.0.0", "GPL-3.0-only")]),
        licences_of([("x", "1.0.0", "MIT AND AGPL-3.0")]),
        licences_of([("x", "1.0.0", None)]),
    ]
    clean = [
        purity_of("x.rs", "// tokio::spawn\nlet a = 1;\n#[cfg(test)]\nmod tests { use std::thread; }\n"),
        floors_of([("rustls", "0.23.46"), ("openraft", "0.10.0-alpha.37"), ("openraft", "0.10.0"), ("h2", "0.4.10")]),
        licences_of([("x", "1.0.0", "MIT OR GPL-3.0"), ("y", "1.0.0", "(MIT OR Apache-2.0) AND Unicode-3.0")]),
        licences_of([("z", "1.0.0", "MIT/Apache-2.0"), ("w", "1.0.0", "Apache-2.0 WITH LLVM-exception OR MIT")]),
    ]
    missed = [number for number, breaches in enumerate(planted) if not list(breaches)]
    wrong = [breach for breaches in clean for breach in breaches]
    return [f"planted breach {number} was not found" for number in missed] + [f"wrongly found: {w}" for w in wrong]


def main():
    breaches = self_test()
    if "--self-test" not in sys.argv[1:]:
        breaches += [*purity(), *floors(), *licences()]
    print("\n".join(breaches), end="\n" if breaches else "")
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
