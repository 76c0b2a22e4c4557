"""Runs an Autobahn suite of WebSocket cases (PyPI kosoku) against an echo that uses the server's codec.

    conformance.py BINARY [GROUP…]        BINARY is spinward-loadgen; groups are such as 1 or 12.1

Every case has to pass, or to be among those below.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ALL = ["1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "13"]
PASSED = {"OK", "INFORMATIONAL"}
# Invalid UTF-8 is refused when its message is whole, and not in the middle of it (RFC 6455 §8.1 allows both).
LATER = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}


def run(binary, groups):
    echo = subprocess.Popen([binary, "echo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = echo.stdout.readline().strip()
        with tempfile.TemporaryDirectory(prefix="spinward-conformance-") as out:
            tool = Path(sys.executable).parent / "kosoku"
            cases = [argument for group in groups for argument in ("-i", f"{group}.*")]
            subprocess.run([tool, "-m", "fuzzingclient", *cases, "-o", out, address], check=False, stdout=subprocess.DEVNULL)
            return next(iter(json.loads((Path(out) / "index.json").read_text()).values()))
    finally:
        echo.kill()
        echo.wait()


def main():
    binary, *groups = sys.argv[1:]
    found = run(binary, groups or ALL)
    wrong, counts = [], {}
    for case, result in sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        behavior, closing = result["behavior"], result["behaviorClose"]
        counts[behavior] = counts.get(behavior, 0) + 1
        allowed = PASSED | ({"NON-STRICT"} if case in LATER else set())
        if behavior not in allowed or closing not in PASSED:
            wrong.append(f"{case}: {behavior}, closing {closing}")
    print(", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items())) or "no case was run")
    print("\n".join(wrong))
    sys.exit(1 if wrong or not found else 0)


if __name__ == "__main__":
    main()
