"""Metrion on this machine's loopback: how fast beside nginx, and whether it loses anything when killed.

side      one proxy under test: nginx, Metrion, or a peer; its whole process tree is what is measured
json      small answers, as fast as they go: CPU and requests a second, one client's latency
sse       many streams at once: CPU per relayed event, time to first event
open      very many slow streams: memory per open stream
round     of bench.kill: load, `kill -9`, start again, compare what was seen outside with the rows
"""
