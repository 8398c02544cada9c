"""HOW an answer speaks: provider bytes → `Reading` → `Usage`. No I/O, no clock.

tap       reads a passing answer: `feed` bytes as they come, `finish` gives the `Reading`
format    one API's way of saying what it counted ("openai_chat", "anthropic", …)
Reading   the usage objects as seen (hot path, cheap)
Usage     the counted tokens by class (writer, exact)
"""
