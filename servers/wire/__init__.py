"""Protobuf and values of the nouns that areas share (tapeline.trading.v1).

Each server's own wire.py builds on it.
"""
