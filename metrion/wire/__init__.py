"""HOW an answer speaks: provider bytes → `Reading` → `Usage`. No I/O, no clock.

tap       reads a passing answer: `feed` bytes as they come, `finish` gives the `Reading`
framing   how documents lie in a body: sse, jsonarray, body, batch (JSON lines); inflate undoes an encoding before it
format    one API's way of saying what it counted: anthropic, openai_*, gemini, mistral, xai; results: of their batches
mark      what finds a document with a usage without parsing it
Reading   the usage objects as seen (hot path, cheap)
Usage     the counted tokens by class (writer, exact), by `understand`
part      a share of a call that is billed on its own: another model's, a turn of a loop, or one item of a batch
known     the members of a usage that are read; another one that counts something is a problem of the row
"""
