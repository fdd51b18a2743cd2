"""Checks chat_format.py against golden rows: check_format.py api_render.jsonl"""

import json
import sys

from chat_format import RequestError, render


def main():
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        if row["variant"] != "v41":
            continue
        try:
            result = render(row["request"]).text()
        except RequestError:
            result = None
        expected = row.get("expected_prompt")
        if result == expected:
            passed += 1
        else:
            failed += 1
            print(f"{row['id']}:\n  expected {expected!r}\n  got      {result!r}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
