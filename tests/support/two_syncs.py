"""A process that syncs a file twice at once: PATH KEPT. When the second sync is done it says what the file KEPT has.

The first sync begins at once, the second with a line on standard input.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.write(file, b"first")
threading.Thread(target=os.fsync, args=(file,)).start()
sys.stdin.readline()
os.write(file, b", second")
os.fsync(file)
sys.stdout.write(Path(sys.argv[2]).read_text())
