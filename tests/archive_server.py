"""NOAA's open bucket as a local S3 server holds it."""

import boto3


class Bucket:
    """noaa-goes19 of the S3 server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket="noaa-goes19")

    def put(self, key: str, body: bytes | None = None) -> str:
        self.client.put_object(
            Bucket="noaa-goes19", Key=key, Body=body or key.encode(), ACL="public-read"
        )
        return key

    def put_in_parts(self, key: str, body: bytes) -> str:
        place = {"Bucket": "noaa-goes19", "Key": key}
        upload = self.client.create_multipart_upload(**place, ACL="public-read")["UploadId"]
        part = self.client.upload_part(**place, UploadId=upload, PartNumber=1, Body=body)
        self.client.complete_multipart_upload(
            **place,
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
        return key

    def delete_all(self) -> None:
        for entry in self.client.list_objects_v2(Bucket="noaa-goes19").get("Contents", []):
            self.client.delete_object(Bucket="noaa-goes19", Key=entry["Key"])
