"""The latency suite: ours and the peers, measured interleaved in one run.

`python -m benchmarks --list` names the benchmarks. Owns what is printed and how rounds are taken; the product never
imports it.
"""
