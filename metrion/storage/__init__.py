"""The only SQL. One file per subject; every query names its account first.

tables     every table, once, for both engines (SQLite now, PostgreSQL next)
database   opens the engine: one writing connection, readers that cannot write
row        one call as it is kept
total      sums of rows per hour and day, kept in the same transaction as the rows
memory     what was read of totals, kept until something is written to what it is of
wipe       zeros where the file holds bytes that belong to no row any more
"""
