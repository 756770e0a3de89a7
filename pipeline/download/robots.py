"""Judge the X-Robots-Tag header, by which owners of pictures forbid their use.

Source: the directives and the meaning of an agent's name are those img2dataset honours.
"""

from collections.abc import Sequence

__all__ = ["is_disallowed"]


def is_disallowed(values: Sequence[str], user_agent_token: str | None, directives: Sequence[str]) -> bool:
    """Tell whether header values forbid the use of a picture.

    Args:
        values: of every X-Robots-Tag header: "noai, noindex" speaks to all, "somebot: noai, noindex" to one agent.
        user_agent_token: the name by which owners may speak to us.
        directives: what counts as forbidding, "noai".
    """
    forbidding = {directive.strip().lower() for directive in directives}
    for value in values:
        agent: str | None = None
        for part in value.lower().split(","):
            name, colon, rest = part.strip().partition(":")
            if colon and name.strip() != "unavailable_after":  # the one directive that has a value itself
                agent, part = name.strip(), rest
            if agent in (None, (user_agent_token or "").lower()) and part.strip() in forbidding:
                return True
    return False
