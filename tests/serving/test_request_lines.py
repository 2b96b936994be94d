"""The lines of requests are all written, also the last ones."""

import json
from io import StringIO

from serving.request_lines import RequestLines


def test_the_end_waits_for_the_last_lines() -> None:
    lines, written = RequestLines(), StringIO()
    lines.start(written)
    for number in range(100):
        lines.add("id", {"number": number})
    lines.close()
    found = [json.loads(each)["number"] for each in written.getvalue().splitlines()]
    assert found == list(range(100))
