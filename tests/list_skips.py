"""Prints which tests were skipped and why: list_skips.py FOLDER… of GoogleTest's XML files."""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

total, skipped = 0, defaultdict(list)
for folder in sys.argv[1:]:
    for path in sorted(Path(folder).glob("*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            total += 1
            reason = case.find("skipped")
            if reason is not None:
                # The first line of the message is the place in the source.
                lines = reason.get("message", "").strip().splitlines()
                why = " ".join(lines[1:] if len(lines) > 1 else lines) or "no reason given"
                skipped[why].append(f"{case.get('classname')}.{case.get('name')}")
print(f"{sum(map(len, skipped.values()))} of {total} tests skipped")
for why, names in sorted(skipped.items()):
    print(f"  {why}:\n    " + "\n    ".join(names))
