"""An honest fake of the five providers, for `metrion demo` and for tests.

Words used here:
  Asked   one request as the sandbox understood it
  Draft   what a model would have said to it: text and token counts, drawn at random
  Reply   the answer to send: one JSON body, or the events of a stream
  shape   a provider's own form of answers (chat, responses, messages, Gemini); one file each

It counts what it was sent and what it says with one rule (four characters are a token), so that the usage it reports
is true of its own answers. Nothing leaves the machine, and no key is checked beyond being there.
"""
