"""Names on a command line, separated by commas."""

from __future__ import annotations

from harness.errors import ConfigError

__all__ = ["names_in"]


def names_in(text: str, option: str) -> tuple[str, ...]:
    """Read "mkg-w,db15k": names separated by commas, each once, in their order; none in "".

    Args:
        text: the option's value.
        option: what messages call it, ``--dataset``.

    Raises:
        ConfigError: there is nothing before, between or after commas.
    """
    if not text.strip():
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if "" in names:
        raise ConfigError(f"{option} {text}: a name is missing beside a comma")
    return names
