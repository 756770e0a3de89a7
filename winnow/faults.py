"""What an object store's client raised: trouble that may pass, something to put right, or no trouble of the store's.

The clients (s3fs on aiobotocore, gcsfs on aiohttp and google-auth, adlfs on azure-core) share no exceptions, and none
of them need be installed: they are told apart by the names of their classes, the status and the code that they carry.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Fault", "fault_of"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a store."""

    transient: bool
    """Waiting may mend it: refused or broken connections, time-outs, throttling, errors of the server."""
    cause: str
    """In one line, as the client puts it."""
    remedy: str
    """What to change."""


PLAIN = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Answers, not faults: the caller asked for them."""
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "InvalidBucketName", "AccountNotFound")
NO_KEYS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "ProfileNotFound",
    "ClientAuthenticationError",
    "DefaultCredentialsError",
    "RefreshError",
}
BAD_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure")
BUSY_CODES = ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout", "ServerBusy")
BUSY_STATUS = (408, 409, 425, 429)
"""409 is S3's "a conflicting operation is in progress"; for an object that exists already it is FileExistsError."""
PASSING = {
    "ConnectionError",
    "HTTPClientError",
    "TransportError",
    "ServiceRequestError",
    "ServiceResponseError",
    "IncompleteRead",
    "TimeoutError",
    "FSTimeoutError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ServerTimeoutError",
    "gaierror",
    "ResponseParserError",
}
"""Names of classes, of their bases too, that broken connections have in the clients' libraries."""
PASSING_ERRNO = (None, errno.EIO, errno.EBUSY, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH)

LOG_IN = (
    "Give its credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile for S3, "
    "GOOGLE_APPLICATION_CREDENTIALS for GCS, AZURE_STORAGE_CONNECTION_STRING for Azure, or FSSPEC_S3_KEY and the like; "
    "workers on other machines need them too"
)
ALLOW = "See that the credentials are right, and that they may list, read, write and delete there"
MAKE = "Make the bucket first, or mend its name or the address"
ADDRESS = "See that the service runs and its address is right (FSSPEC_S3_ENDPOINT_URL or AWS_ENDPOINT_URL for S3)"
TRUST = "Use the address that the certificate is made for, or add its authority (AWS_CA_BUNDLE, SSL_CERT_FILE)"
MEND = "Mend the settings of the client (FSSPEC_* variables, ~/.config/fsspec, ~/.aws)"


def fault_of(error: BaseException) -> Fault | None:
    """Return what an exception of a client says about its store, None where it says nothing or is a plain answer."""
    chain = list(_chain(error))
    code = next(filter(None, map(_code, chain)), "")
    status = next(filter(None, map(_status, chain)), 0)
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    text = _line(error)
    if code in NO_BUCKET or (status == 404 and "bucket does not exist" in text.lower()):
        return Fault(False, f"there is no such bucket ({text})", MAKE)
    if isinstance(error, PLAIN):
        return None
    if names & NO_KEYS or code in BAD_KEYS or status == 401:
        return Fault(False, text, LOG_IN)
    if "CERTIFICATE_VERIFY_FAILED" in " ".join(map(str, chain)):
        return Fault(False, text, TRUST)
    if code in BUSY_CODES or status in BUSY_STATUS or (status >= 500 and status != 501):
        return Fault(True, text, ADDRESS)
    if status == 403 or isinstance(error, PermissionError):
        return Fault(False, f"access is denied ({text})", ALLOW)
    if status >= 400 or status == 301:
        return Fault(False, f"it refused the request ({text})", MEND)
    if names & PASSING or (type(error) is OSError and error.errno in PASSING_ERRNO):
        return Fault(True, text, ADDRESS)
    if "BotoCoreError" in names or (isinstance(error, ValueError) and text.startswith("Invalid endpoint")):
        return Fault(False, text, MEND)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _line(error: BaseException) -> str:
    """Return what an exception says, in one line."""
    text = " ".join(str(error).split())
    return text.rstrip(".") or type(error).__name__


def _code(error: BaseException) -> str:
    """Return the code by which S3 or Azure names an error, "" where there is none."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "error_code", None) or "")


def _status(error: BaseException) -> int:
    """Return the HTTP status of an error, 0 where there is none."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    for name in ("status_code", "status", "code"):
        if isinstance(value := getattr(error, name, None), int) and 100 <= value < 600:
            return value
    return 0
