"""A process that runs SQL: one statement a line on standard input, for each a line with its rows or the error."""

from __future__ import annotations

import json
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    try:
        answer: object = connection.execute(line).fetchall()
    except sqlite3.Error as error:
        answer = str(error)
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()
