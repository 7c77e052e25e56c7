"""Damage to the files of a checkpoint."""


def cut(path):
    """As by a disk that was full."""
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    """As by a disk that ages: as long as before."""
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
