"""What the clients raise, made by the clients themselves where they are installed, is told apart."""

import errno
import socket
import ssl

import aiohttp
import pytest
from botocore import exceptions as boto
from fsspec.exceptions import FSTimeoutError
from s3fs.errors import translate_boto_error

from winnow.faults import fault_of


def refused(code: str, status: int) -> boto.ClientError:
    """What botocore raises for an answer of S3."""
    response = {"Error": {"Code": code, "Message": "so it is"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "PutObject")  # type: ignore[arg-type]


class AzureError(Exception):
    """Has the fields of azure.core.exceptions.HttpResponseError."""

    def __init__(self, status_code: int, error_code: str | None) -> None:
        super().__init__("so it is")
        self.status_code, self.error_code = status_code, error_code


class GoogleError(Exception):
    """Has the field of gcsfs.retry.HttpError."""

    def __init__(self, code: int, message: str = "so it is") -> None:
        super().__init__(message)
        self.code = code


PASSING = [
    boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"),
    boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
    boto.ConnectionClosedError(endpoint_url="http://127.0.0.1:1"),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerDisconnectedError(),
    ConnectionResetError(),
    TimeoutError(),
    FSTimeoutError(),
    socket.gaierror(socket.EAI_AGAIN, "later"),
    OSError(errno.ENETUNREACH, "no way"),
    translate_boto_error(refused("SlowDown", 503)),
    translate_boto_error(refused("InternalError", 500)),
    refused("Unheard", 502),
    AzureError(503, "ServerBusy"),
    AzureError(429, None),
    GoogleError(500),
]
LASTING = {
    "bucket": [translate_boto_error(refused("NoSuchBucket", 404)), AzureError(404, "ContainerNotFound")],
    "redentials": [
        boto.NoCredentialsError(),
        translate_boto_error(refused("InvalidAccessKeyId", 403)),
        translate_boto_error(refused("ExpiredToken", 400)),
        GoogleError(401),
    ],
    "denied": [translate_boto_error(refused("AccessDenied", 403)), AzureError(403, "AuthorizationFailure")],
    "certificate": [ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED: self-signed")],
    "settings": [boto.NoRegionError(), ValueError("Invalid endpoint: x"), refused("InvalidArgument", 400)],
}
ANSWERS = [
    FileNotFoundError("x"),
    translate_boto_error(refused("NoSuchKey", 404)),
    FileExistsError(),
    IsADirectoryError(),
    OSError(errno.ENOSPC, "full"),
    ValueError("of ours"),
    KeyError("of ours"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_trouble_that_may_pass(error: Exception) -> None:
    fault = fault_of(error)
    assert fault is not None
    assert fault.transient
    assert fault.cause
    assert "\n" not in fault.cause


@pytest.mark.parametrize(("word", "error"), [(word, error) for word, found in LASTING.items() for error in found])
def test_trouble_that_lasts_has_its_remedy(word: str, error: Exception) -> None:
    fault = fault_of(error)
    assert fault is not None
    assert not fault.transient
    assert word in f"{fault.cause} {fault.remedy}"


@pytest.mark.parametrize("error", ANSWERS, ids=repr)
def test_answers_and_our_own_mistakes_are_no_trouble(error: Exception) -> None:
    assert fault_of(error) is None


def test_the_cause_of_an_error_counts() -> None:
    """s3fs raises `OSError` of what it does not know, from botocore's."""
    try:
        raise OSError(errno.EINVAL, "write failed") from refused("Whatever", 503)
    except OSError as error:
        fault = fault_of(error)
    assert fault is not None
    assert fault.transient
