"""Nothing lost: a call is in the journal before its provider is dialled, and its end before the client has the last
byte.

journal    append-only segments in the data dir, one record for a call's start (intent) and one for its end (completion)
writer     a thread that prices ended calls in batches and writes rows and totals in one transaction
recovery   what the journal holds and the database lacks, written at the start
erasure    what ended accounts recorded, and rows that are too old, deleted a bit at a time; caretaker: when
rewrite    a journal segment without the records of accounts that are gone
reread     a written row turned into its call again
reprice    rows priced again, the figure before kept; what_if: priced as if, nothing written
operations what commands change in prices and costs
"""
