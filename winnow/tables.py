"""Say in words what Arrow stumbles over in tables that others wrote."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from winnow.errors import UserError

__all__ = ["check_names", "readable"]


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what Arrow raises over a damaged or odd table into an error of the user.

    Failures of the disk or the network, which another attempt may not meet, stay what they are.

    Args:
        what: the table, for the error.

    Raises:
        UserError: it cannot be read as a table, or its text is not UTF-8.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {what}: {error}") from error
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # Arrow's, of a damaged file
            raise UserError(f"cannot read {what}: {error}") from error
        raise


def check_names(names: Iterable[str], what: str) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        UserError: names one of them.
    """
    name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise UserError(f"{what} has {count} columns {name!r}: rename or drop all but one")
