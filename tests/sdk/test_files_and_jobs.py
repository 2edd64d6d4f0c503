"""Files by OpenAI's own SDK, and media jobs over them, as a customer's program uses both."""

import io
import json

import pytest
from openai import NotFoundError

from demo import until
from test_media import tone


def test_files_are_uploaded_listed_read_and_deleted_by_the_sdk(client):
    made = client.files.create(file=("note.txt", b"hello", "text/plain"), purpose="user_data")
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", 5, "note.txt", "user_data")
    assert made.expires_at > made.created_at
    short = client.files.create(
        file=("b.txt", io.BytesIO(b"world")), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert short.expires_at - short.created_at == 3600
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == b"hello"
    listed = [file.id for file in client.files.list(limit=1)]
    assert listed.index(short.id) < listed.index(made.id), "newest first, page by page"
    assert client.files.delete(made.id).deleted
    with pytest.raises(NotFoundError):
        client.files.retrieve(made.id)


def test_a_job_over_uploaded_files_is_followed_to_its_end(client):
    file = client.files.create(file=("call.wav", tone(seconds=2)), purpose="user_data")
    body = {
        "kind": "transcription",
        "model": "transcribe",
        "options": {"response_format": "vtt"},
        "input": {"items": [{"file_id": file.id}]},
    }
    job = client.post("/media/jobs", body=body, cast_to=object, options={"headers": {"Idempotency-Key": "sdk"}})
    assert job["status"] == "queued"

    def over():
        seen = client.get(f"/media/jobs/{job['id']}", cast_to=object)
        return seen["status"] not in ("queued", "running") and seen

    done = until(over, "the job ends")
    assert done["status"] == "succeeded", json.dumps(done)
    items = client.get(f"/media/jobs/{job['id']}/items", cast_to=object)["data"]
    assert client.files.content(items[0]["file_id"]).text.startswith("WEBVTT")
