"""OpenAI's own Python SDK, unmodified, as a customer's program uses it: against the demo, with a key made in the portal.

Not here because it would take more than ten seconds: the comments that keep a silent stream alive (after 15 s), and the
break of a stream that is silent for good (after 180 s).
"""

import asyncio
import base64
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AuthenticationError,
    AzureOpenAI,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)
from pydantic import BaseModel

from demo import Customer, Demo, until

LONG = "Say something that is long enough to be taken apart into quite a few pieces, of which some may be lost"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    },
}


def ask(content, **more):
    return {"model": "chat", "messages": [{"role": "user", "content": content}], **more}


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def read(stream):
    """What came of a stream, and the error that ended it."""
    chunks = []
    try:
        for chunk in stream:
            chunks.append(chunk)
    except APIError as error:
        return chunks, error
    return chunks, None


def settled(customer, least=0):
    """Waits until these many calls have ended and the ledger has what the service counted; gives the service's books."""
    ends = ("finished", "cut", "blocked", "client_gone")

    def holds():
        calls = customer.demo.calls()
        over = len(calls) >= least and all(any(call[end] for end in ends) for call in calls)
        return over and customer.recorded() == customer.counted()

    until(holds, "the ledger has what the service counted")
    return customer.demo.calls()


def check_four_members(error):
    """The body has the four members of OpenAI's errors, and the SDK shows them."""
    assert set(error.body) == {"message", "type", "param", "code"}
    assert (error.type, error.param, error.code) == (error.body["type"], error.body["param"], error.body["code"])
    assert error.body["message"] and error.body["message"] in error.message
    assert error.request_id.startswith("req_")


# ---- Models ------------------------------------------------------------------------------------------------------


def test_the_models_are_listed_and_one_is_found(client):
    models = client.models.list()
    assert {"chat", "embed", "transcribe", "speech", "vision"} <= {model.id for model in models}
    assert models._request_id.startswith("req_")
    one = client.models.retrieve("chat")
    assert (one.id, one.object) == ("chat", "model")
    assert one._request_id.startswith("req_") and one._request_id != models._request_id
    with pytest.raises(NotFoundError) as raised:
        client.models.retrieve("nothing")
    check_four_members(raised.value)
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_slash_at_the_end_of_the_base_address_does_not_matter(demo, customer):
    with OpenAI(api_key=customer.key, base_url=f"{demo.product}/v1/") as client:
        assert client.models.retrieve("chat").id == "chat"


def test_the_key_is_taken_from_the_header_of_the_azure_client(demo, customer):
    with AzureOpenAI(api_key=customer.key, base_url=f"{demo.product}/v1", api_version="2024-10-21") as client:
        assert "chat" in [model.id for model in client.models.list()]


# ---- Chat, whole -------------------------------------------------------------------------------------------------


def test_a_chat_is_answered_with_usage_and_a_request_id(client, customer):
    answer = client.chat.completions.create(**ask("Hello"))
    assert answer.choices[0].message.content == "This is a simulated answer to: Hello"
    assert (answer.object, answer.model, answer.choices[0].finish_reason) == ("chat.completion", "chat", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id.startswith("req_")
    last = settled(customer)[-1]
    assert (last["prompt_tokens"], last["completion_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def test_several_choices_come_and_all_of_them_are_billed(client, customer):
    answer = client.chat.completions.create(**ask("Hello", n=3))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert settled(customer)[-1]["completion_tokens"] == answer.usage.completion_tokens


def test_an_answer_is_parsed_into_a_type(client):
    class Reply(BaseModel):
        simulated: bool

    answer = client.chat.completions.parse(**ask("Hello"), response_format=Reply)
    assert answer.choices[0].message.parsed == Reply(simulated=True)


def test_a_tool_is_called_and_its_result_is_answered(client):
    question = ask("Use the tool", tools=[TOOL])
    message = client.chat.completions.create(**question).choices[0].message
    (call,) = message.tool_calls
    assert (call.type, call.function.name, call.function.arguments) == ("function", "weather", "{}")
    question["messages"] += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "It rains."},
    ]
    answer = client.chat.completions.create(**question)
    assert answer.choices[0].finish_reason == "stop" and "simulated" in answer.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_the_filter_blocks_is_a_bad_request_and_costs_nothing(client, customer, stream):
    before = customer.recorded()
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(**ask("[blocked]"), stream=stream)
    assert (raised.value.code, raised.value.param) == ("content_filter", "prompt")
    assert raised.value.body["type"] == "invalid_request_error" and raised.value.request_id.startswith("req_")
    assert customer.recorded() == before


# ---- Chat, streamed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_usage", [None, False, True])
def test_a_stream_has_usage_and_a_chunk_without_choices_only_where_it_was_asked_for(client, customer, include_usage):
    options = {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    stream = client.chat.completions.create(**ask("Count to ten, please"), stream=True, **options)
    assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["x-request-id"].startswith("req_")
    chunks, error = read(stream)
    assert error is None
    # The service's own first chunk has no choices, no id and no model.
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.id and chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert {chunk.model for chunk in chunks} == {"chat"}
    assert text_of(chunks) == "This is a simulated answer to: Count to ten, please"
    *_, stop = (chunk.choices[0].finish_reason for chunk in chunks if chunk.choices)
    assert stop == "stop"
    last = settled(customer)[-1]
    if include_usage:
        *earlier, end = chunks
        assert end.choices == []
        assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (
            last["prompt_tokens"],
            last["completion_tokens"],
        )
        assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in earlier)
        assert all(chunk.choices for chunk in earlier)
    else:
        assert all("usage" not in chunk.model_fields_set and chunk.choices for chunk in chunks)


def test_text_of_any_kind_arrives_as_it_is(client):
    text = 'a\u2028b\u2029c\x85d\x1ce\0 😀 "é" \\ \r\n\ndata: [DONE]\n\n: x\r end'
    answer = client.chat.completions.create(**ask(text))
    chunks, error = read(client.chat.completions.create(**ask(text), stream=True))
    assert error is None
    assert answer.choices[0].message.content == text_of(chunks) == f"This is a simulated answer to: {text}"


def test_a_tool_is_called_in_pieces(client):
    chunks, error = read(client.chat.completions.create(**ask("Use the tool", tools=[TOOL]), stream=True))
    assert error is None
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or []]
    assert [piece.function.name for piece in pieces if piece.function.name] == ["weather"]
    assert [piece.id is not None for piece in pieces] == [True, False]
    assert "".join(piece.function.arguments or "" for piece in pieces) == "{}"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_sdk_puts_a_stream_together_by_itself(client):
    with client.chat.completions.stream(**ask(LONG), stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert LONG in final.choices[0].message.content
    assert final.usage.completion_tokens > 0
    with client.chat.completions.stream(**ask("Use the tool", tools=[TOOL])) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, call.function.parsed_arguments) == ("weather", {})


def test_an_answer_that_the_filter_ends_has_a_delta_and_says_why(client, customer):
    chunks, error = read(client.chat.completions.create(**ask("[filtered] please"), stream=True))
    assert error is None
    assert chunks[-1].choices[0].delta is not None
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    settled(customer)


def test_a_stream_comes_to_an_asynchronous_program_too(demo, customer):
    async def program():
        async with AsyncOpenAI(api_key=customer.key, base_url=f"{demo.product}/v1") as client:
            stream = await client.chat.completions.create(**ask("Hello"), stream=True)
            chunks = [chunk async for chunk in stream]
            demo.strike(ai_cut_next=1)
            broken = await client.chat.completions.create(**ask(LONG), stream=True)
            with pytest.raises(APIError) as raised:
                async for _ in broken:
                    pass
            return chunks, raised.value

    chunks, error = asyncio.run(program())
    assert chunks[0].choices and text_of(chunks) == "This is a simulated answer to: Hello"
    assert error.code == "upstream_stream_interrupted"
    settled(customer)


# ---- What breaks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 3, None])
@pytest.mark.parametrize("fault", ["ai_cut_next", "ai_no_done_next", "ai_error_in_stream_next"])
def test_a_stream_that_the_service_breaks_off_raises_and_costs_nothing(demo, client, customer, fault, after):
    before = customer.recorded()
    demo.strike(**{fault: 1}, ai_cut_after_chunks=after)
    chunks, error = read(client.chat.completions.create(**ask(LONG), stream=True))
    assert type(error) is APIError, "it must not look like an end"
    assert (error.code, error.type, error.param) == ("upstream_stream_interrupted", "server_error", None)
    assert set(error.body) == {"message", "type", "param", "code"}
    pieces = [chunk for chunk in chunks if chunk.choices[0].delta.content]
    if after is not None:
        assert len(pieces) == after, "what had come before is there"
    elif fault == "ai_no_done_next":
        assert chunks[-1].choices[0].finish_reason == "stop", "everything but the end had come"
    else:
        assert pieces
    assert not settled(customer)[-1]["finished"]
    assert customer.recorded() == before


def test_a_server_that_dies_in_the_middle_of_a_stream_raises():
    demo = Demo()
    try:
        with OpenAI(api_key=Customer(demo).key, base_url=f"{demo.product}/v1") as client:
            demo.strike(ai_chunk_delay_ms=50)
            stream = client.chat.completions.create(**ask(LONG), stream=True)
            next(stream)
            demo.process.kill()
            with pytest.raises(APIConnectionError):
                for _ in stream:
                    pass
    finally:
        demo.stop()


@pytest.mark.parametrize(("fault", "stream"), [("ai_html_next", False), ("ai_html_next", True), ("ai_cut_next", False)])
def test_an_answer_that_can_not_be_read_is_a_server_error_and_costs_nothing(demo, client, customer, fault, stream):
    before = customer.recorded()
    demo.strike(**{fault: 1})
    with pytest.raises(InternalServerError) as raised:
        client.with_options(max_retries=0).chat.completions.create(**ask("Hello"), stream=stream)
    check_four_members(raised.value)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_invalid")
    assert customer.recorded() == before


def test_a_service_that_is_down_is_a_server_error(demo, client):
    demo.strike(ai_down=True)
    for stream in (False, True):
        with pytest.raises(InternalServerError) as raised:
            client.with_options(max_retries=0).chat.completions.create(**ask("Hello"), stream=stream)
        check_four_members(raised.value)
        assert (raised.value.code, raised.value.type) == ("upstream_unavailable", "server_error")


@pytest.mark.parametrize("stream", [False, True])
def test_a_wait_that_the_service_asks_for_in_milliseconds_is_kept(demo, client, customer, stream):
    before = len(demo.calls())
    demo.strike(ai_fail_next=1, ai_fail_status=429, ai_retry_after_ms=700)
    began = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(**ask("Hello again"), stream=stream)
    assert time.monotonic() - began >= 0.7, "the SDK waited as told"
    assert raw.retries_taken == 1
    answer = raw.parse()
    text = text_of(read(answer)[0]) if stream else answer.choices[0].message.content
    assert text == "This is a simulated answer to: Hello again"
    # Two calls: one was refused, and one was worked on.
    assert demo.control("faults")["ai_fail_next"] == 0
    assert len(settled(customer)) == before + 1


def test_when_every_try_is_refused_the_last_refusal_is_raised(demo, client):
    demo.strike(ai_fail_next=5, ai_fail_status=429, ai_retry_after_ms=50)
    with pytest.raises(RateLimitError) as raised:
        client.chat.completions.create(**ask("Hello"))
    check_four_members(raised.value)
    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    headers = raised.value.response.headers
    assert (headers["retry-after-ms"], headers["retry-after"]) == ("50", "1")
    assert demo.control("faults")["ai_fail_next"] == 2, "the SDK tries three times"


@pytest.mark.parametrize("asked", [90_000, 130_000, 86_400_000])
def test_a_long_wait_is_told_as_one_that_the_sdk_keeps(demo, client, monkeypatch, asked):
    # Above 120 s the SDK would not try again at all. Its sleep is written down instead of slept.
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    demo.strike(ai_fail_next=1, ai_fail_status=429, ai_retry_after_ms=asked)
    raw = client.chat.completions.with_raw_response.create(**ask("Hello"))
    assert (raw.retries_taken, waits) == (1, [60.0])


# ---- Who goes away -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [1, 2, 9])
def test_a_stream_that_is_left_early_is_billed_whole(demo, client, customer, taken):
    before = len(demo.calls())
    demo.strike(ai_chunk_delay_ms=20)
    stream = client.chat.completions.create(**ask(LONG), stream=True)
    for number, _ in enumerate(stream, 1):
        if number == taken:
            break
    stream.close()
    calls = settled(customer)
    assert len(calls) == before + 1
    assert calls[-1]["finished"] and not calls[-1]["client_gone"] and calls[-1]["completion_tokens"] > taken


def test_a_stream_that_an_asynchronous_program_leaves_is_billed_whole(demo, customer):
    async def program():
        async with AsyncOpenAI(api_key=customer.key, base_url=f"{demo.product}/v1") as client:
            async with await client.chat.completions.create(**ask(LONG), stream=True) as stream:
                async for _ in stream:
                    break

    before = len(demo.calls())
    demo.strike(ai_chunk_delay_ms=20)
    asyncio.run(program())
    calls = settled(customer)
    assert len(calls) == before + 1 and calls[-1]["finished"]


def test_a_program_that_does_not_wait_for_the_answer_is_billed_once(demo, client, customer):
    before = len(demo.calls())
    demo.strike(ai_delay_ms=1000)
    with pytest.raises(APITimeoutError):
        client.with_options(timeout=0.4, max_retries=0).chat.completions.create(**ask("Hello"))
    calls = settled(customer, before + 1)
    assert len(calls) == before + 1 and calls[-1]["finished"]


def test_many_at_once_of_whom_some_leave_are_billed_what_the_service_counted(demo, client, customer):
    before = len(demo.calls())
    demo.strike(ai_chunk_delay_ms=2)

    def one(number):
        with client.chat.completions.create(**ask(f"This is number {number}. {LONG}"), stream=True) as stream:
            for place, _ in enumerate(stream):
                if number % 3 == 0 and place == number % 7:
                    return

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(one, range(60)))
    calls = settled(customer, before + 60)
    assert len(calls) == before + 60 and all(call["finished"] for call in calls[before:])


# ---- Embeddings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["one", ["one", "two", "three"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_are_the_same_as_numbers_and_in_base64(client, customer, given):
    # Without a word about it the SDK asks for base64 and unpacks it.
    unpacked = client.embeddings.create(model="embed", input=given)
    plain = client.embeddings.create(model="embed", input=given, encoding_format="float")
    packed = client.embeddings.create(model="embed", input=given, encoding_format="base64")
    assert plain.model == "embed" and plain._request_id.startswith("req_")
    assert [one.index for one in plain.data] == list(range(len(plain.data)))
    assert len(plain.data) == (len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1)
    vectors = [one.embedding for one in plain.data]
    assert all(vectors) and vectors == [one.embedding for one in unpacked.data]
    assert vectors == [list(struct.unpack("<8f", base64.b64decode(one.embedding))) for one in packed.data]
    calls = settled(customer)
    assert {call["prompt_tokens"] for call in calls[-3:]} == {plain.usage.total_tokens}


def test_embeddings_have_as_many_dimensions_as_asked_for(client):
    answer = client.embeddings.create(model="embed", input="one", dimensions=20)
    assert len(answer.data[0].embedding) == 20


# ---- What is wrong with a request --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["mgk-000000000000-nothing", "sk-nothing", "x"])
def test_a_wrong_key_is_an_authentication_error(demo, key):
    with OpenAI(api_key=key, base_url=f"{demo.product}/v1") as client:
        for call in (lambda: client.chat.completions.create(**ask("x")), client.models.list):
            with pytest.raises(AuthenticationError) as raised:
                call()
            check_four_members(raised.value)
            assert (raised.value.code, raised.value.type) == ("invalid_api_key", "authentication_error")


def test_a_key_with_another_letter_opens_nothing(demo, customer):
    other = customer.key[:-1] + ("A" if customer.key[-1] != "A" else "B")
    with OpenAI(api_key=other, base_url=f"{demo.product}/v1") as client, pytest.raises(AuthenticationError):
        client.models.list()


def test_a_suspended_subscription_is_a_permission_error_until_it_is_reinstated(demo):
    other = Customer(demo)

    def comes_to(status, code):
        # The messages are wrong, so that nothing is billed where the call is let in.
        def holds():
            with pytest.raises(APIStatusError) as raised:
                client.chat.completions.create(model="chat", messages=[])
            return (raised.value.status_code, raised.value.code) == (status, code) and raised.value

        return until(holds, f"{status} {code}")

    with OpenAI(api_key=other.key, base_url=f"{demo.product}/v1") as client:
        comes_to(400, None)
        demo.control("act", {"subscription": other.subscription, "action": "Suspend"})
        error = comes_to(403, "subscription_suspended")
        assert isinstance(error, PermissionDeniedError)
        check_four_members(error)
        demo.control("act", {"subscription": other.subscription, "action": "Reinstate"})
        comes_to(400, None)


def test_an_unknown_model_is_not_found(client):
    wrong = [
        lambda: client.chat.completions.create(**ask("x") | {"model": "gpt-nothing"}),
        lambda: client.chat.completions.create(**ask("x") | {"model": "gpt-nothing"}, stream=True),
        lambda: client.chat.completions.create(**ask("x") | {"model": "embed"}),
        lambda: client.embeddings.create(model="chat", input="x"),
    ]
    for call in wrong:
        with pytest.raises(NotFoundError) as raised:
            call()
        check_four_members(raised.value)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "Hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_field_of_a_wrong_type_is_a_bad_request_that_names_it(client, wrong, param):
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(**ask("x") | wrong)
    check_four_members(raised.value)
    assert (raised.value.type, raised.value.param) == ("invalid_request_error", param)


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"Hello"', b"\xff\xfe", b'{"model": "chat"} and more'])
@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
def test_a_body_that_is_no_json_object_is_a_bad_request(demo, customer, path, body):
    headers = {"authorization": f"Bearer {customer.key}", "content-type": "application/json"}
    status, headers, said = demo.ask(f"{demo.product}/v1/{path}", body, headers)
    assert status == 400 and headers["x-request-id"].startswith("req_")
    assert set(said["error"]) == {"message", "type", "param", "code"}
    assert (said["error"]["type"], said["error"]["code"]) == ("invalid_request_error", "invalid_json")


def test_addresses_that_are_not_there_say_so_in_the_sdks_own_shape(client):
    with pytest.raises(NotFoundError) as raised:
        client.fine_tuning.jobs.list()
    check_four_members(raised.value)
    with pytest.raises(APIStatusError) as raised:
        client.chat.completions.list()
    check_four_members(raised.value)
    assert (raised.value.status_code, raised.value.code) == (405, "method_not_allowed")


def test_a_body_that_is_too_large_is_refused_without_another_try(client):
    with pytest.raises(APIStatusError) as raised:
        client.chat.completions.create(**ask("x" * 28 * 1024 * 1024))
    check_four_members(raised.value)
    assert raised.value.status_code == 413


# ---- At the end --------------------------------------------------------------------------------------------------


def test_after_all_this_the_ledger_has_what_the_service_counted(client, customer):
    client.chat.completions.create(**ask("The last word"))
    settled(customer)
    assert customer.recorded() == customer.counted() > 0
