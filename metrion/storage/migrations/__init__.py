"""The schema's history: one file per revision in versions/, oldest first in REVISIONS; the last is this version's.

A revision is written out and never changed once released. One that is added is added here; a test compares tables.py.
"""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011")
