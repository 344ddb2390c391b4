"""Data sets of recordings: read as they are published, prepared, split by talker, mixed.

    layouts      what lies where in the usual corpora
    conditions   one recording: checks, and what is made of it
    loudness     ITU-R BS.1770
    splits       talkers to train, valid and test
    prepare      data/raw -> data/processed, data/splits, data/features
    mix          pairs of noisy and clean
    store        sound files, lists and settings on disk

Needs the extra `sim`.
"""
