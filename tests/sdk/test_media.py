"""OpenAI's own Python SDK against the addresses for sound, pictures, responses, and MediaGenie's own one for vision.

Not run by tests/run before those addresses are there. The demo must have the models `transcribe`, `speech`, `image`,
`vision`, and `chat` for responses.
"""

import asyncio
import base64
import io
import math
import re
import struct
import wave
import zlib

import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError

from test_conformance import check_four_members

SECONDS = 3.5
SEGMENT = {
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
}
# A time of SubRip; WebVTT has a point and may leave out the hours.
TIME = r"(?:(\d+):)?(\d\d):(\d\d)[,.](\d{3})"


def tone(seconds=SECONDS, rate=16_000):
    """A WAV file with a tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        samples = (int(8_000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(int(seconds * rate)))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


SOUND = ("tone.wav", tone(), "audio/wav")


def cues(text):
    """The beginnings and ends of subtitles, in seconds."""

    def seconds(hours, minutes, seconds, thousandths):
        return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths) / 1000

    found = [match.groups() for match in re.finditer(f"^{TIME} --> {TIME}", text, re.MULTILINE)]
    return [(seconds(*one[:4]), seconds(*one[4:])) for one in found]


def check_order(times):
    """The parts follow each other within the sound."""
    times = list(times)
    assert times and times[0][0] >= 0 and times[-1][1] <= SECONDS + 0.1
    assert all(start <= end for start, end in times)
    assert all(before[0] <= after[0] for before, after in zip(times, times[1:]))


def words(text):
    return " ".join(text.split())


# ---- Sound to text -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["transcriptions", "translations"])
def listening(request, client):
    """Both addresses that take sound; what they have in common is tested with both."""
    return getattr(client.audio, request.param)


def test_sound_becomes_text_in_json(listening):
    answer = listening.create(model="transcribe", file=SOUND)
    assert answer.text.strip() and answer._request_id.startswith("req_")
    assert listening.create(model="transcribe", file=SOUND, response_format="json").text == answer.text


def test_a_transcription_tells_its_usage(client):
    usage = client.audio.transcriptions.create(model="transcribe", file=SOUND).usage
    if usage.type == "duration":
        assert math.floor(SECONDS) <= usage.seconds <= math.ceil(SECONDS)
    else:
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_sound_becomes_plain_text(listening, form):
    raw = listening.with_raw_response.create(model="transcribe", file=SOUND, response_format=form)
    assert "json" not in raw.headers["content-type"] and raw.headers["content-type"].startswith("text/")
    assert raw.headers["x-request-id"].startswith("req_")
    text = raw.parse()
    assert type(text) is str and not text.startswith(("{", '"'))
    spoken = words(listening.create(model="transcribe", file=SOUND).text)
    if form == "text":
        assert words(text) == spoken
        return
    if form == "vtt":
        assert text.startswith("WEBVTT\n\n")
        text = text.removeprefix("WEBVTT")
    check_order(cues(text))
    lines = [line for line in text.splitlines() if line and not line.isdigit() and "-->" not in line]
    assert words(" ".join(lines)) == spoken
    if form == "srt":
        numbers = [int(line) for line in text.splitlines() if line.isdigit()]
        assert numbers == list(range(1, len(cues(text)) + 1))
        assert "," in re.search(f"{TIME} -->", text)[0]


def test_sound_becomes_verbose_json_with_the_right_duration(listening):
    answer = listening.create(model="transcribe", file=SOUND, response_format="verbose_json")
    assert answer.duration == pytest.approx(SECONDS, abs=0.05)
    assert answer.language and answer.text.strip()
    check_order((segment.start, segment.end) for segment in answer.segments)
    for number, segment in enumerate(answer.segments):
        assert SEGMENT <= segment.model_fields_set and segment.id == number
    assert words(" ".join(segment.text for segment in answer.segments)) == words(answer.text)


def test_words_have_their_times_when_they_are_asked_for(client):
    answer = client.audio.transcriptions.create(
        model="transcribe", file=SOUND, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    check_order((word.start, word.end) for word in answer.words)
    assert len(answer.words) == len(answer.text.split()) and answer.segments


def test_sound_becomes_diarized_json(client):
    answer = client.audio.transcriptions.create(
        model="transcribe", file=SOUND, response_format="diarized_json", chunking_strategy="auto"
    )
    assert answer.task == "transcribe" and answer.duration == pytest.approx(SECONDS, abs=0.05)
    check_order((segment.start, segment.end) for segment in answer.segments)
    assert all(one.type == "transcript.text.segment" and one.id and one.speaker for one in answer.segments)
    assert words(" ".join(segment.text for segment in answer.segments)) == words(answer.text)


def test_a_streamed_transcription_has_deltas_and_ends_with_the_whole_text(client):
    stream = client.audio.transcriptions.create(model="transcribe", file=SOUND, stream=True)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    *earlier, last = list(stream)
    assert earlier and {event.type for event in earlier} <= {"transcript.text.delta", "transcript.text.segment"}
    assert last.type == "transcript.text.done" and last.text.strip()
    deltas = [event.delta for event in earlier if event.type == "transcript.text.delta"]
    assert deltas and "".join(deltas) == last.text


def test_a_transcription_comes_to_an_asynchronous_program_too(demo, customer):
    async def program():
        async with AsyncOpenAI(api_key=customer.key, base_url=f"{demo.product}/v1") as client:
            whole = await client.audio.transcriptions.create(model="transcribe", file=SOUND)
            stream = await client.audio.transcriptions.create(model="transcribe", file=SOUND, stream=True)
            return whole, [event async for event in stream]

    whole, events = asyncio.run(program())
    assert events[-1].type == "transcript.text.done" and events[-1].text == whole.text


def test_files_are_taken_as_programs_have_them(client, tmp_path):
    path = tmp_path / "tone.wav"
    path.write_bytes(SOUND[1])
    expected = client.audio.transcriptions.create(model="transcribe", file=SOUND).text
    assert client.audio.transcriptions.create(model="transcribe", file=path).text == expected
    with path.open("rb") as file:
        answer = client.audio.transcriptions.create(
            model="transcribe", file=file, language="en", prompt="A tone", temperature=0.2
        )
    assert answer.text


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"file": ("tone.wav", b"This is no sound.", "audio/wav")}, "file"),
        ({"file": ("tone.wav", b"", "audio/wav")}, "file"),
        ({"response_format": "xml"}, "response_format"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_a_wrong_field_of_a_form_is_a_bad_request_that_names_it(listening, wrong, param):
    with pytest.raises(BadRequestError) as raised:
        listening.create(**{"model": "transcribe", "file": SOUND} | wrong)
    check_four_members(raised.value)
    assert raised.value.param == param


def test_sound_for_a_model_that_does_not_listen_is_not_found(listening):
    for model in ("chat", "speech", "whisper-nothing"):
        with pytest.raises(NotFoundError) as raised:
            listening.create(model=model, file=SOUND)
        check_four_members(raised.value)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_file_that_is_too_large_is_refused(client):
    with pytest.raises(APIStatusError) as raised:
        client.audio.transcriptions.create(model="transcribe", file=("long.wav", SOUND[1] + bytes(25 * 1024 * 1024)))
    check_four_members(raised.value)
    assert raised.value.status_code == 413


def test_a_form_without_a_file_or_a_boundary_is_a_bad_request(demo, customer):
    for kind, body in [
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntranscribe\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x", b"--x"),
        ("multipart/form-data", b"--x--"),
        ("application/json", b'{"model": "transcribe"}'),
    ]:
        headers = {"authorization": f"Bearer {customer.key}", "content-type": kind}
        status, _, said = demo.ask(f"{demo.product}/v1/audio/transcriptions", body, headers)
        assert status in (400, 415), (kind, body)
        assert set(said["error"]) == {"message", "type", "param", "code"}


# ---- Text to sound -----------------------------------------------------------------------------------------------

TEXT = "The quick brown fox jumps over the lazy dog."


def is_mp3(sound):
    return sound.startswith(b"ID3") or (sound[0] == 0xFF and sound[1] & 0xE0 == 0xE0 and sound[1] & 0x06 != 0)


def is_aac(sound):
    return sound[0] == 0xFF and sound[1] & 0xF6 == 0xF0


@pytest.mark.parametrize(
    ("form", "kind", "holds"),
    [
        (None, "audio/mpeg", is_mp3),
        ("mp3", "audio/mpeg", is_mp3),
        ("opus", "audio/", lambda sound: sound.startswith(b"OggS") and b"OpusHead" in sound[:64]),
        ("aac", "audio/aac", is_aac),
        ("flac", "audio/flac", lambda sound: sound.startswith(b"fLaC")),
        ("wav", "audio/", lambda sound: sound.startswith(b"RIFF") and sound[8:12] == b"WAVE"),
        ("pcm", "audio/", lambda sound: len(sound) > 0 and len(sound) % 2 == 0),
    ],
)
def test_text_becomes_sound_in_every_format(client, form, kind, holds):
    more = {} if form is None else {"response_format": form}
    answer = client.audio.speech.create(model="speech", voice="alloy", input=TEXT, **more)
    assert answer.response.headers["content-type"].startswith(kind)
    assert answer.response.headers["x-request-id"].startswith("req_")
    assert len(answer.content) > 100 and holds(answer.content)


def test_the_length_of_a_wav_fits_and_pcm_is_the_same_without_its_head(client):
    def spoken(form):
        return client.audio.speech.create(model="speech", voice="alloy", input=TEXT, response_format=form).content

    sound, samples = spoken("wav"), spoken("pcm")
    assert int.from_bytes(sound[4:8], "little") == len(sound) - 8
    with wave.open(io.BytesIO(sound)) as opened:
        assert (opened.getnchannels(), opened.getsampwidth(), opened.getframerate()) == (1, 2, 24_000)
        assert opened.getnframes() > 0 and len(opened.readframes(opened.getnframes())) == opened.getnframes() * 2
        assert len(samples) == opened.getnframes() * 2


def test_sound_is_read_piece_by_piece_and_into_a_file(client, tmp_path):
    order = {"model": "speech", "voice": "alloy", "input": TEXT, "response_format": "wav", "speed": 1.5}
    whole = client.audio.speech.create(**order).content
    with client.audio.speech.with_streaming_response.create(**order) as answer:
        assert b"".join(answer.iter_bytes(1000)) == whole
    with client.audio.speech.with_streaming_response.create(**order) as answer:
        answer.stream_to_file(tmp_path / "spoken.wav")
    assert (tmp_path / "spoken.wav").read_bytes() == whole


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": "x" * 4097}, "input"),
        ({"input": ""}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"speed": 9}, "speed"),
    ],
)
def test_what_can_not_be_spoken_is_a_bad_request_that_names_the_field(client, wrong, param):
    with pytest.raises(BadRequestError) as raised:
        client.audio.speech.create(**{"model": "speech", "voice": "alloy", "input": TEXT} | wrong)
    check_four_members(raised.value)
    assert raised.value.param == param


# ---- Pictures ----------------------------------------------------------------------------------------------------


def size_of_png(picture):
    """Width and height of a PNG whose parts are whole."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, names = 8, []
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        part, (sum_of_it,) = picture[at + 4 : at + 8 + length], struct.unpack(">I", picture[at + 8 + length : at + 12 + length])
        assert zlib.crc32(part) == sum_of_it
        names.append(part[:4])
        at += 12 + length
    assert (names[0], names[-1]) == (b"IHDR", b"IEND") and b"IDAT" in names
    return struct.unpack(">II", picture[16:24])


@pytest.mark.parametrize(("size", "wide", "high"), [("1024x1024", 1024, 1024), ("1536x1024", 1536, 1024)])
def test_pictures_are_made_in_the_size_that_was_asked_for(client, size, wide, high):
    answer = client.images.generate(model="image", prompt="A cat", n=2, size=size)
    assert answer.created > 0 and answer._request_id.startswith("req_")
    assert [size_of_png(base64.b64decode(one.b64_json, validate=True)) for one in answer.data] == [(wide, high)] * 2
    usage = answer.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0


@pytest.mark.parametrize(("wrong", "param"), [({"n": 0}, "n"), ({"size": "1x1"}, "size"), ({"prompt": ""}, "prompt")])
def test_a_picture_that_can_not_be_made_is_a_bad_request_that_names_the_field(client, wrong, param):
    with pytest.raises(BadRequestError) as raised:
        client.images.generate(**{"model": "image", "prompt": "A cat"} | wrong)
    check_four_members(raised.value)
    assert raised.value.param == param


# ---- Responses ---------------------------------------------------------------------------------------------------

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
}


def test_a_response_is_created(client):
    answer = client.responses.create(model="chat", input="Hello", store=False)
    assert (answer.object, answer.status, answer.model, answer.error) == ("response", "completed", "chat", None)
    assert answer.id and answer._request_id.startswith("req_") and "Hello" in answer.output_text
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert answer.usage.input_tokens_details.cached_tokens >= 0
    assert answer.usage.output_tokens_details.reasoning_tokens >= 0
    parts = client.responses.create(model="chat", input=[{"role": "user", "content": "Hello"}], store=False)
    assert parts.output_text == answer.output_text


def test_a_streamed_response_ends_with_its_completion(client):
    stream = client.responses.create(model="chat", input="Count to ten, please", store=False, stream=True)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    events = list(stream)
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed" and last.response.status == "completed"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == last.response.output_text and "Count to ten" in text
    assert last.response.usage.total_tokens > 0
    named = [event.response.model for event in events if hasattr(event, "response")]
    assert set(named) == {"chat"}


def test_the_sdk_puts_a_streamed_response_together_by_itself(client):
    with client.responses.stream(model="chat", input="Hello", store=False) as stream:
        for _ in stream:
            pass
        assert "Hello" in stream.get_final_response().output_text


def test_a_response_calls_a_tool_whole_and_in_pieces(client):
    order = {"model": "chat", "input": "Use the tool", "tools": [WEATHER], "store": False}
    whole = client.responses.create(**order)
    *_, last = client.responses.create(**order, stream=True)
    for answer in (whole, last.response):
        (call,) = (item for item in answer.output if item.type == "function_call")
        assert (call.name, call.arguments) == ("weather", "{}") and call.call_id


def test_a_streamed_response_that_the_service_breaks_off_raises(demo, client):
    for fault in ("ai_cut_next", "ai_error_in_stream_next"):
        demo.strike(**{fault: 1})
        stream = client.responses.create(model="chat", input="Something of some length", store=False, stream=True)
        seen = []
        with pytest.raises(APIError) as raised:
            seen.extend(event.type for event in stream)
        # Only `{"error": {...}}` raises in the SDK; an event of the type `error` would look like any other.
        assert raised.value.code == "upstream_stream_interrupted"
        assert "response.completed" not in seen


def test_a_response_of_an_unknown_model_is_not_found(client):
    for model in ("gpt-nothing", "embed"):
        with pytest.raises(NotFoundError) as raised:
            client.responses.create(model=model, input="x")
        check_four_members(raised.value)
        assert raised.value.code == "model_not_found"


def test_a_stored_response_of_somebody_else_is_not_found(client):
    with pytest.raises(NotFoundError) as raised:
        client.responses.retrieve("resp_nothing")
    check_four_members(raised.value)


# ---- Vision ------------------------------------------------------------------------------------------------------


def picture(wide=96, high=64):
    """A PNG of one colour."""

    def part(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = (b"\0" + b"\x20\x80\xc0" * wide) * high
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(lines)) + part(b"IEND", b"")


def test_a_picture_is_looked_at_through_the_sdks_own_transport(client):
    order = {
        "model": "vision",
        "image": {"b64": base64.b64encode(picture()).decode()},
        "features": ["caption", "tags", "read"],
        "language": "en",
    }
    raw = client.post("/vision/analyze", cast_to=dict, body=order)
    assert isinstance(raw, dict) and {"captionResult", "tagsResult", "readResult"} <= raw.keys()


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"image": {"b64": base64.b64encode(b"no picture").decode()}}, "image"),
        ({"image": {"b64": "%%%"}}, "image"),
        ({"features": ["smell"]}, "features"),
        ({"features": []}, "features"),
    ],
)
def test_a_picture_that_can_not_be_looked_at_is_a_bad_request_that_names_the_field(client, wrong, param):
    order = {"model": "vision", "image": {"b64": base64.b64encode(picture()).decode()}, "features": ["caption"]}
    with pytest.raises(BadRequestError) as raised:
        client.post("/vision/analyze", cast_to=dict, body=order | wrong)
    check_four_members(raised.value)
    # It may say where within the field.
    assert raised.value.param.startswith(param)
