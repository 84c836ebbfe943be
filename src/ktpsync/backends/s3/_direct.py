"""HEAD and PUT of an object as boto3 sends them, without most of what boto3 does for each.

Of a put of 300 kB half the processor's time goes into boto3's layers: rules that find the endpoint, events,
validation. All objects of a bucket go the same way, so boto3 shows it once; what remains for each request is
botocore's own serializer, signer, connections and parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Never

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from ktpsync.backends.s3._client import REFUSED_FROM, sent
from ktpsync.backends.s3._failures import status_of

if TYPE_CHECKING:
    from botocore.httpsession import URLLib3Session
    from botocore.signers import RequestSigner
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef, PutObjectOutputTypeDef

    from ktpsync.backends.s3._whole import Body

_PROTOCOL: Final = "rest-xml"
_SIGNING: Final = "before-sign.s3"
_NOT_FOUND: Final = 404


class _ShownError(Exception):
    """Carries what boto3 would sign and send, and keeps it from doing so."""

    def __init__(self, request: AWSRequest, signer: RequestSigner) -> None:
        super().__init__()
        self.request = request
        self.signer = signer


def _show(request: AWSRequest, request_signer: RequestSigner, **_: object) -> Never:
    raise _ShownError(request, request_signer)


class Direct:
    """The short way to a bucket.

    Args:
        client: The client. Nobody else uses it before this returns.
        session: The connections that it uses.
        bucket: Where.

    Raises:
        BotoCoreError: The settings lead nowhere.
    """

    def __init__(self, client: S3Client, session: URLLib3Session, bucket: str) -> None:
        self._bucket = bucket
        self._session = session
        self._service = client.meta.service_model
        self._serializer = create_serializer(_PROTOCOL, include_validation=False)
        self._parser = create_parser(_PROTOCOL)
        self._shown: dict[str, _ShownError] = {}
        client.meta.events.register(_SIGNING, _show)
        for operation, send in (("HeadObject", client.head_object), ("PutObject", client.put_object)):
            try:
                send(Bucket=bucket, Key="key")
            except _ShownError as shown:
                self._shown[operation] = shown
        client.meta.events.unregister(_SIGNING, _show)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def head(self, key: str) -> HeadObjectOutputTypeDef | None:
        """Return what boto3's ``head_object`` would, or ``None`` if there is no such object.

        Raises:
            ClientError: The storage refused.
            BotoCoreError: The line broke.
        """
        try:
            answer: HeadObjectOutputTypeDef = self._answer("HeadObject", {"Key": key})
        except ClientError as error:
            if status_of(error) == _NOT_FOUND:
                return None
            raise
        return answer

    def put(self, key: str, body: Body, options: dict[str, object], *, ask: bool) -> PutObjectOutputTypeDef:
        """Return what boto3's ``put_object`` would.

        Args:
            key: The full key.
            body: The bytes. They are hashed before they leave: damaged ones never arrive anywhere.
            options: The other parameters.
            ask: Let the storage refuse before the bytes are sent. It costs a round trip.

        Raises:
            WrongSourceError: The bytes are not those announced; none was sent.
            ClientError: The storage refused.
            BotoCoreError: The line broke.
        """
        parameters = {"Key": key, "Body": body.data, **options}
        answer: PutObjectOutputTypeDef = self._answer("PutObject", parameters, body=body, ask=ask)
        return answer

    def _answer(
        self, operation: str, parameters: dict[str, object], *, body: Body | None = None, ask: bool = False
    ) -> Any:
        shown, model = self._shown[operation], self._service.operation_model(operation)
        said = self._serializer.serialize_to_request({"Bucket": self._bucket, **parameters}, model)
        request = AWSRequest(
            method=said["method"],
            url=str(shown.request.url).removesuffix("/key") + said["url_path"],
            headers={"User-Agent": shown.request.headers["User-Agent"], **said["headers"]},
            data=said["body"],
            auth_path=said.get("auth_path"),
        )
        request.context = dict(shown.request.context)
        if ask:
            # botocore's connections look for it as bytes.
            request.headers["Expect"] = b"100-continue"  # type: ignore[assignment]  # as botocore's own are at the end
        shown.signer.sign(operation, request)
        # Most signatures hold the SHA-256 of what is sent; then it need not be computed twice.
        if body is not None and request.headers["X-Amz-Content-SHA256"] != body.sha256:
            body.check()
        answer = sent(self._session, request.prepare())
        parsed = self._parser.parse(
            {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content},
            model.output_shape,  # type: ignore[arg-type]  # both have one
        )
        if answer.status_code >= REFUSED_FROM:
            raise ClientError(parsed, operation)
        return parsed
