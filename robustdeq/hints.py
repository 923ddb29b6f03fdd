"""Command lines in messages, as a shell takes them."""

import shlex


def hint(*words: object) -> str:
    """The command with its words quoted where need be: `robustdeq train vanilla --results 'a b'`.

    A word in capitals is for the reader to replace, and the message says by what.
    """
    return f"`robustdeq {shlex.join(str(word) for word in words)}`"
