"""Uses the OSS server of these tests with the client of Alibaba Cloud: ENDPOINT BUCKET KEY_ID SECRET."""

import sys

import alibabacloud_oss_v2 as oss

endpoint, bucket, key_id, secret = sys.argv[1:]
config = oss.config.load_default()
config.credentials_provider = oss.credentials.StaticCredentialsProvider(key_id, secret)
config.region = "cn-hangzhou"
config.endpoint = endpoint
config.use_path_style = True
client = oss.Client(config)


def refused(code, call):
    try:
        call()
    except oss.exceptions.OperationError as error:
        assert code in str(error), error
        return
    raise AssertionError(f"expected {code}")


key, data = "team/a b+c", bytes(range(256)) * 40
put = lambda: client.put_object(
    oss.PutObjectRequest(bucket=bucket, key=key, body=data, forbid_overwrite=True)
)
assert put().status_code == 200
refused("FileAlreadyExists", put)
head = client.head_object(oss.HeadObjectRequest(bucket=bucket, key=key))
assert head.content_length == len(data)
part = client.get_object(
    oss.GetObjectRequest(bucket=bucket, key=key, range_header="bytes=10-19")
)
assert part.body.read() == data[10:20]

name = "team/parts"
upload = client.initiate_multipart_upload(
    oss.InitiateMultipartUploadRequest(bucket=bucket, key=name)
).upload_id
numbers = {}
for number in (1, 2, 3):
    numbers[number] = client.upload_part(
        oss.UploadPartRequest(
            bucket=bucket, key=name, upload_id=upload, part_number=number, body=data
        )
    ).etag
copied = client.upload_part_copy(
    oss.UploadPartCopyRequest(
        bucket=bucket, key=name, upload_id=upload, part_number=4, source_bucket=bucket,
        source_key=key, source_range="bytes=0-99",
    )
)
numbers[4] = copied.etag
listed = []
for page in client.list_parts_paginator().iter_page(
    oss.ListPartsRequest(bucket=bucket, key=name, upload_id=upload)
):
    listed += [one.part_number for one in page.parts]
assert listed == [1, 2, 3, 4], listed
uploads = client.list_multipart_uploads(oss.ListMultipartUploadsRequest(bucket=bucket))
assert [one.upload_id for one in uploads.uploads] == [upload]
complete = oss.CompleteMultipartUpload(
    parts=[oss.UploadPart(part_number=number, etag=etag) for number, etag in numbers.items()]
)
client.complete_multipart_upload(
    oss.CompleteMultipartUploadRequest(
        bucket=bucket, key=name, upload_id=upload, complete_multipart_upload=complete,
        forbid_overwrite=True,
    )
)
whole = client.get_object(oss.GetObjectRequest(bucket=bucket, key=name)).body.read()
assert whole == data * 3 + data[:100]
refused(
    "NoSuchUpload",
    lambda: client.abort_multipart_upload(
        oss.AbortMultipartUploadRequest(bucket=bucket, key=name, upload_id=upload)
    ),
)
keys = []
for page in client.list_objects_v2_paginator().iter_page(
    oss.ListObjectsV2Request(bucket=bucket, prefix="team/")
):
    keys += [one.key for one in page.contents]
assert keys == [key, name], keys
client.delete_object(oss.DeleteObjectRequest(bucket=bucket, key=key))
refused("NoSuchKey", lambda: client.get_object(oss.GetObjectRequest(bucket=bucket, key=key)))

config.credentials_provider = oss.credentials.StaticCredentialsProvider(key_id, "wrong")
other = oss.Client(config)
refused(
    "SignatureDoesNotMatch",
    lambda: other.get_object(oss.GetObjectRequest(bucket=bucket, key=name)),
)
