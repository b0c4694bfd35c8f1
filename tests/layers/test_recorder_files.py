"""Recorder: modes, the file and what happens to it, and what never stands in it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from llamina import (
    CassetteMissError,
    ConfigurationError,
    Image,
    InvalidRequestError,
    Message,
    Recorder,
    Request,
    Response,
    Retry,
    ServerError,
    Sink,
    Stack,
    Text,
    TextDelta,
    Timeout,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    UnknownPart,
    Writer,
    build_stack,
    load_stack,
)
from llamina.layers._cassette_text import as_text, cleaner
from llamina.secret import Secret
from llamina.testing import FakeTransport, check_middleware, simulated_time

HI = Request.chat("m", "hi")


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Where the cassette of a test is."""
    return tmp_path / "talk.json"


def taped(path: Path, mode: str, script: Any = (), **settings: Any) -> tuple[Stack, FakeTransport]:
    """A stack with a Recorder, and what is below it."""
    fake = FakeTransport(list(script))
    return build_stack([Recorder(path, mode, **settings)], fake), fake


# --- modes -----------------------------------------------------------------------------------------------------------


@simulated_time
async def test_once_records_without_a_file_and_only_plays_with_one(cassette):
    """The default: a changed request fails instead of asking the provider behind one's back."""
    first, _ = taped(cassette, "once", ["one", "two"])
    await first(HI)
    await first(Request.chat("m", "more"))

    second, fake = taped(cassette, "once")

    assert (await second(HI)).text == "one"
    with pytest.raises(CassetteMissError):
        await second(Request.chat("m", "new"))
    assert fake.calls == 0
    assert Recorder(cassette).mode == "once"


@simulated_time
async def test_auto_plays_what_is_there_and_records_what_is_not(cassette):
    """A new request is added to the file."""
    await taped(cassette, "auto", ["one"])[0](HI)
    stack, fake = taped(cassette, "auto", ["new"])

    texts = [(await stack(HI)).text, (await stack(Request.chat("m", "new"))).text]

    assert texts == ["one", "new"]
    assert fake.calls == 1
    assert (await taped(cassette, "replay")[0](Request.chat("m", "new"))).text == "new"


@simulated_time
async def test_auto_without_repeat_adds_further_takes(cassette):
    """The takes that are there are played first, then new ones are recorded behind them."""
    await taped(cassette, "auto", ["one"])[0](HI)
    stack, fake = taped(cassette, "auto", ["two"], repeat=False)

    texts = [(await stack(HI)).text, (await stack(HI)).text]

    assert texts == ["one", "two"]
    assert fake.calls == 1
    replay, _ = taped(cassette, "replay")
    assert [(await replay(HI)).text for _ in range(2)] == ["one", "two"]


@simulated_time
async def test_record_replaces_what_it_asks_again_and_keeps_the_rest(cassette):
    """Re-recording one test of many leaves the others' recordings alone."""
    old, _ = taped(cassette, "record", ["old", "older", "kept"])
    await old(HI)
    await old(HI)
    await old(Request.chat("m", "other"))

    await taped(cassette, "record", ["new"])[0](HI)

    replay, _ = taped(cassette, "replay")
    assert [(await replay(HI)).text, (await replay(HI)).text] == ["new", "new"]
    assert (await replay(Request.chat("m", "other"))).text == "kept"


@simulated_time
async def test_off_does_nothing(cassette):
    """For a stack that is configured once and used in two places."""
    stack, fake = taped(cassette, "off", ["a"])

    assert (await stack(HI)).text == "a"
    assert fake.calls == 1
    assert not cassette.exists()


@simulated_time
async def test_replay_without_a_file_says_how_to_record_it(cassette):
    """At the first call: the file may be put there after the stack was built."""
    stack, _ = taped(cassette, "replay")

    with pytest.raises(CassetteMissError, match='mode="record"') as missed:
        await stack(HI)

    assert str(cassette) in str(missed.value)


# --- the file --------------------------------------------------------------------------------------------------------


@simulated_time
async def test_it_is_json_that_reads_well(cassette):
    """Keys are sorted, letters are letters, a short value stands on one line, and the end is a line's end."""
    await taped(cassette, "record", [["Grüße ", "日本"]])[0](Request.chat("m", "hi", temperature=0))

    text = cassette.read_text(encoding="utf-8")

    assert '"text": "Grüße 日本"' in text
    assert '"params": {"temperature": 0}' in text
    assert text.endswith("}\n")
    written = json.loads(text)
    assert (written["format"], written["version"]) == ("llamina cassette", 1)
    assert list(written["recordings"]) == [Request.chat("m", "hi", temperature=0).identity]


@simulated_time
async def test_the_order_of_calls_makes_no_difference_to_the_file(tmp_path):
    """Recorded again, only what has changed shows in a diff."""
    requests = [Request.chat("m", str(number)) for number in range(5)]
    for name, order in (("a.json", requests), ("b.json", requests[::-1])):
        stack = build_stack([Recorder(tmp_path / name, "record")], FakeTransport("same"))
        for request in order:
            await stack(request)

    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_long_values_are_broken_into_lines_and_numbers_are_not():
    """A diff shows the event that has changed, and a vector does not fill a thousand lines."""
    value = {"numbers": [0.125] * 100, "rows": [{"text": "x" * 60}, {"text": "y" * 60}], "short": [1, 2]}

    text = as_text(value)

    assert json.loads(text) == value
    assert len(text.splitlines()) == 8


@simulated_time
async def test_half_a_character_survives(cassette):
    """A lone surrogate, as some tokenizers cut emoji, is no UTF-8 but must come back."""
    asked = Request.chat("m", "half \ud83d")
    stack, _ = taped(cassette, "record", [["a\ud83d", "\ude00b"], "c\ude00"])
    async with stack.stream(asked) as stream:
        await stream.complete()
    await stack(HI)
    replay, _ = taped(cassette, "replay")

    async with replay.stream(asked) as stream:
        pieces = [event.text async for event in stream]

    assert pieces == ["a\ud83d", "\ude00b"]
    assert (await replay(HI)).text == "c\ude00"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "is no cassette"),
        ('{"interactions": [], "version": 1}', "is no cassette"),
        ('{"format": "llamina cassette", "version": 99, "recordings": {}}', "is of version 99"),
        ('{"format": "llamina cassette", "version": 99, "takes": []}', "is of version 99"),
        ('{"format": "llamina cassette", "version": 1, "recordings": {"x": {}}}', "is no cassette"),
    ],
)
@pytest.mark.parametrize("mode", ["replay", "record", "auto", "once"])
@simulated_time
async def test_a_file_that_is_no_cassette_is_refused_and_left_as_it_is(cassette, content, says, mode):
    """Nobody's data is written over."""
    cassette.write_text(content)
    stack, _ = taped(cassette, mode, ["a"])

    with pytest.raises(ConfigurationError, match=says) as refused:
        await stack(HI)

    assert str(cassette) in str(refused.value)
    assert cassette.read_text() == content


@pytest.mark.parametrize(("right", "wrong"), [('"response"', '"resonpse"'), ('"seconds": 1.0', '"seconds": "x"')])
@simulated_time
async def test_a_damaged_take_is_named_when_it_is_played(cassette, right, wrong):
    """Somebody edited it: that is no answer."""
    await taped(cassette, "record", [[1.0, "a"]])[0](HI)
    cassette.write_text(cassette.read_text().replace(right, wrong))

    with pytest.raises(ConfigurationError, match="cannot be read"):
        await taped(cassette, "replay")[0](HI)


@simulated_time
async def test_an_answer_that_cannot_be_kept_fails_the_call(tmp_path):
    """A hole in a recording would be found much later; what was said stays in memory for the next write."""
    folder = tmp_path / "folder"

    def fill(_request: Request) -> str:
        folder.write_text("in the way")
        return "first"

    stack, fake = taped(folder / "talk.json", "record", [fill, "second"])

    with pytest.raises(ConfigurationError, match="talk.json cannot be"):
        await stack(HI)

    folder.unlink()
    await stack(Request.chat("m", "again"))
    assert fake.calls == 2
    assert (await taped(folder / "talk.json", "replay")[0](HI)).text == "first"


@simulated_time
async def test_an_answer_that_json_cannot_say_fails_the_call(cassette):
    """A NaN in a vector: silently it would come back as something else."""
    asked = Request.embed("e", ["a"])
    bad = Response(Message("assistant"), None, "stop", vectors=((float("nan"),),))

    with pytest.raises(ConfigurationError, match="cannot be written"):
        await taped(cassette, "record", [bad])[0](asked)

    assert not cassette.exists()


@simulated_time
async def test_a_link_stays_a_link(tmp_path):
    """The file that it leads to is the one that is written."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)

    await taped(link, "record", ["a"])[0](HI)

    assert link.is_symlink()
    assert real.exists()


@simulated_time
async def test_two_recorders_of_one_file_lose_nothing_of_each_other(cassette):
    """Each writes its own over what the file holds by then."""
    one, _ = taped(cassette, "auto", ["a", "c"])
    other, _ = taped(cassette, "auto", ["b"])
    await one(Request.chat("m", "a"))
    await other(Request.chat("m", "b"))
    await one(Request.chat("m", "c"))

    replay, _ = taped(cassette, "replay")

    assert [(await replay(Request.chat("m", name))).text for name in "abc"] == ["a", "b", "c"]
    assert (await other(Request.chat("m", "c"))).text == "c"  # it sees what was added meanwhile


def test_threads_that_record_through_one_object_lose_nothing(cassette):
    """Each thread has a loop of its own."""
    recorder = Recorder(cassette, "record")

    def work(number: int) -> None:
        async def ask() -> None:
            stack = build_stack([recorder], FakeTransport(lambda request: request.messages[0].text))
            for turn in range(10):
                await stack(Request.chat("m", f"{number}-{turn}"))

        asyncio.run(ask())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(json.loads(cassette.read_text())["recordings"]) == 80
    assert recorder.stats()["recorder.recorded"] == 80


@simulated_time
async def test_what_a_caller_cancels_is_not_on_the_file_wherever_it_strikes(cassette):
    """Cancelled in each turn of the loop: either the whole take is there, or nothing of it, and the next call works."""
    for turns in range(12):
        path = cassette.with_name(f"{turns}.json")
        stack, fake = taped(path, "record", [["Hel", 0.0, "lo"], "next"])
        task = asyncio.create_task(stack(HI))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        assert path.exists() is not task.cancelled()
        assert fake.in_flight == 0
        if task.cancelled() and turns:
            assert (await stack(Request.chat("m", "next"))).text == "next"


@simulated_time
async def test_a_cancelled_replay_comes_out_as_a_cancellation(cassette):
    """In the middle of a pause that is played as it was; the next one plays on."""
    stack, _ = taped(cassette, "record", [["a", 5.0, "b"]])
    async with stack.stream(HI) as stream:
        await stream.complete()
    replay, _ = taped(cassette, "replay", speed=1)
    task = asyncio.create_task(replay(HI))
    await asyncio.sleep(1)

    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert (await replay(HI)).text == "ab"


@simulated_time
async def test_a_failure_of_the_consumers_own_sink_is_not_recorded(cassette):
    """The provider did not fail."""

    class Broken(Sink):
        def begin(self) -> Writer:
            return Refusing()

    class Refusing(Writer):
        async def send(self, event: Any) -> None:
            raise OSError("the disk of the consumer is full")

    stack, _ = taped(cassette, "record", ["a"])

    with pytest.raises(OSError, match="of the consumer"):
        await stack(HI.evolve(sink=Broken()))

    assert not cassette.exists()


# --- secrets ---------------------------------------------------------------------------------------------------------

CANARY = "sk-canary-0123456789abcdef0123"


def asks_with_secrets() -> Request:
    """A request that carries a secret in every place that can hold one."""
    key = {"name": "x", "api_key": "canary-in-a-dict", "nested": [{"Authorization": "Bearer canary-0123456789abcdef"}]}
    request = Request.chat(
        "m",
        [
            f"my key is {CANARY}",
            Message.user(Image(url="https://ada:canary-password@host/a.png?sig=canary-sig&size=2")),
        ],
        extra_headers={"x-api-key": "canary-extra"},
        tool_resources=[key],
        max_tokens=5,
        user_token="canary-token",
        callback="https://host/hook?key=canary-query&a=1",
    )
    # A value made without the checks of `Request.chat`.
    return Request(
        request.model, request.messages, request.params, headers={"authorization": "Bearer canary-1", "x-beta": "on"}
    )


@simulated_time
async def test_no_secret_of_a_request_or_an_answer_stands_in_the_file(cassette, caplog):
    """Canaries everywhere: none is in the file, the logs, the repr or the error of a miss."""
    caplog.set_level(logging.DEBUG)
    failing = ServerError(f"wrong key {CANARY} at https://host/v1?api_key=canary-error")
    stack, _ = taped(cassette, "record", [["it is sk-canary-01234", "56789abcdef0123, is it?"], failing])
    request = asks_with_secrets()
    async with stack.stream(request) as stream:
        await stream.complete()
    with pytest.raises(ServerError):
        await stack(request)

    with pytest.raises(CassetteMissError) as missed:
        await taped(cassette, "replay")[0](request.with_params(user_token="canary-other"))

    written = cassette.read_text()
    for place in (written, caplog.text, repr(stack), str(missed.value), repr(missed.value.__dict__)):
        assert "canary" not in place
    assert missed.value.differences == ("params.user_token",)
    assert '"max_tokens": 5' in written
    assert '"x-beta": "on"' in written
    assert Secret(CANARY).id in written


@simulated_time
async def test_a_key_that_a_stream_cut_in_two_is_found_and_the_cuts_stay(cassette):
    """The whole text is cleaned, then cut where it was cut."""
    stack, _ = taped(cassette, "record", [["key sk-canary-01234", "56789abcdef0123", " end"]])
    async with stack.stream(HI) as stream:
        await stream.complete()

    async with taped(cassette, "replay")[0].stream(HI) as stream:
        pieces = [event.text async for event in stream]

    assert "".join(pieces) == f"key {Secret(CANARY).id} end" == stream.response.text
    assert 1 < len(pieces) <= 3


@simulated_time
async def test_redact_takes_out_what_is_private_and_the_request_is_still_found(cassette):
    """The identity is that of the original."""

    def redact(text: str) -> str:
        return text.replace("Ada Lovelace", "NAME")

    asked = Request.chat("m", "I am Ada Lovelace", metadata={"who": "Ada Lovelace"})
    stack, _ = taped(cassette, "record", [["Hello Ada ", "Lovelace!"]], redact=redact)
    async with stack.stream(asked) as stream:
        assert (await stream.complete()).text == "Hello Ada Lovelace!"

    played = await taped(cassette, "replay")[0](asked)

    assert "Lovelace" not in cassette.read_text()
    assert played.text == "Hello NAME!"


@simulated_time
async def test_a_difference_that_is_redacted_is_said_to_be_one(cassette):
    """Nothing that can be seen differs, yet it is another request."""
    settings = {"redact": lambda text: "X" * len(text)}
    await taped(cassette, "record", ["a"], **settings)[0](Request.chat("m", "abc"))

    with pytest.raises(CassetteMissError, match="only in what is redacted"):
        await taped(cassette, "replay", **settings)[0](Request.chat("m", "abd"))


@simulated_time
async def test_a_redactor_that_gives_no_text_is_refused(cassette):
    """It forgot its return."""
    stack, fake = taped(cassette, "record", ["a"], redact=lambda text: None)

    with pytest.raises(ConfigurationError, match=r"Recorder\.redact must give text"):
        await stack(HI)

    assert fake.calls == 0


@simulated_time
async def test_documents_of_a_request_stand_as_their_digest(cassette):
    """A cassette of images stays small, and another image is still another request."""
    data = b"\x89PNG\r\n\x1a\n" + b"x" * 50_000
    asked = Request.chat("m", [Message.user("what is it?", Image.from_bytes(data))])
    link = "data:image/png;base64," + base64.b64encode(data).decode()
    by_url = Request.chat("m", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": link}}]}])
    stack, _ = taped(cassette, "record", ["a cat", "a dog"])
    await stack(asked)
    await stack(by_url)
    other = Request.chat("m", [Message.user("what is it?", Image.from_bytes(data + b"y"))])

    with pytest.raises(CassetteMissError) as missed:
        await taped(cassette, "replay")[0](other)

    assert missed.value.differences == ("messages[0].parts[1].data",)
    assert cassette.stat().st_size < 5_000
    assert (await taped(cassette, "replay")[0](by_url)).text == "a dog"


@simulated_time
async def test_what_does_not_count_for_the_identity_is_not_written(cassette):
    """Whether the caller streamed, and ids of single sendings: they would only be noise in a diff."""
    asked = Request.chat("m", "hi", headers={"traceparent": "00-1", "x-beta": "on"}, stream=True)
    await taped(cassette, "record", ["a"])[0](asked)

    assert (await taped(cassette, "replay")[0](HI.evolve(headers={"x-beta": "on"}))).text == "a"
    assert "traceparent" not in cassette.read_text()
    assert "stream" not in cassette.read_text()


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"path": ""}, "Recorder.path"),
        ({"path": 3}, "Recorder.path"),
        ({"path": "."}, "the folder '.'"),
        ({"mode": "replays"}, "Recorder.mode must be one of"),
        ({"mode": None}, "Recorder.mode"),
        ({"repeat": "no"}, "Recorder.repeat"),
        ({"speed": 0}, "Recorder.speed"),
        ({"speed": float("nan")}, "Recorder.speed"),
        ({"redact": "x"}, "Recorder.redact"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings, says):
    """With its name, the value and the remedy."""
    with pytest.raises(ConfigurationError, match=says):
        Recorder(**{"path": "talk.json", **settings})


def test_while_it_records_it_keeps_every_clause(tmp_path):
    """What it writes disturbs nobody."""
    numbers = itertools.count()

    assert check_middleware(lambda: Recorder(tmp_path / f"{next(numbers)}.json", "record"))


def test_a_configuration_can_say_it_all():
    """Path, mode and speed are plain data, and come back as they were."""
    table = {"type": "recorder", "path": "cassettes/talk.json", "mode": "replay", "repeat": False, "speed": 2.0}

    stack = load_stack({"transport": {"type": "echo"}, "layers": [table]})

    assert [dict(layer) for layer in stack.to_config()["layers"]] == [table]


def test_the_repr_shows_the_settings_and_building_touches_no_file(tmp_path):
    """Nothing is made before there is something to write."""
    path = tmp_path / "deep" / "er" / "talk.json"

    layer = Recorder(path, "auto", speed=2)

    assert repr(layer) == f"Recorder(path={str(path)!r}, mode='auto', speed=2)"
    assert not path.parent.exists()


@simulated_time
async def test_it_explains_what_it_will_do_for_a_request(cassette):
    """Without doing it."""
    await taped(cassette, "record", ["a", "b"])[0](HI)
    layer = Recorder(cassette)

    assert layer.explain() == f"records if there is no file yet, else only plays back: {cassette}"
    assert layer.explain(HI).endswith("plays take 1 of 1")
    assert layer.explain(Request.chat("m", "new")).endswith("fails: it is not recorded")
    assert Recorder(cassette, "auto").explain(Request.chat("m", "new")).endswith("records it")
    assert layer.stats()["recorder.missed"] == 0


@simulated_time
async def test_a_request_without_an_identity_is_refused(cassette):
    """It cannot be found again."""
    stack, fake = taped(cassette, "record", ["a"])

    with pytest.raises(InvalidRequestError, match="temperature"):
        await stack(Request.chat("m", "hi", temperature=float("nan")))

    assert fake.calls == 0


@simulated_time
async def test_an_event_of_no_content_alone_is_an_empty_answer(cassette):
    """A stream that said nothing comes back as one that said nothing."""
    stack, _ = taped(cassette, "record", [[TextDelta("")]])
    async with stack.stream(HI) as stream:
        await stream.complete()

    async with taped(cassette, "replay")[0].stream(HI) as stream:
        assert [event async for event in stream] == []


KEY = "sk-live-0123456789abcdef0123"
PLACES = {
    "JSON of a tool call": (Message.assistant(ToolCall("1", "login", '{"password": "canary"}')), "canary"),
    "a new line in JSON": (Message.assistant(ToolCall("1", "note", '{"text": "it is\\n' + KEY + '"}')), KEY),
    "JSON in JSON": (Message.tool(ToolResult("1", '{"x": "{\\"access_token\\": \\"canary\\"}"}')), "canary"),
    "a part that nobody knows": (Message.user(UnknownPart({"type": KEY, "data": KEY})), KEY),
    "further fields of a message": (Message("user", (Text("x"),), extra={"data": KEY}), KEY),
    "a password with an @": ("see https://ada:can@ary@host/a", "ary@"),
    "a fragment": ("see https://host/#access_token=canary", "canary"),
    "a path without a host": ("GET /v1/models?api_key=canary", "canary"),
    "a basic login": ("Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", "Y2FuYXJ5"),
    "a private key": ("-----BEGIN PRIVATE KEY-----\nMIICANARY\n-----END PRIVATE KEY-----", "CANARY"),
}


@pytest.mark.parametrize("place", PLACES)
@simulated_time
async def test_no_secret_of_a_message_stands_in_the_file(cassette, place):
    """Wherever people and programs put one."""
    message, canary = PLACES[place]

    await taped(cassette, "record", ["ok"])[0](Request.chat("m", [message, "go on"]))

    assert canary not in cassette.read_text()


@pytest.mark.parametrize(
    "params",
    [
        {"data": KEY},
        {"metadata": {"type": KEY, "model": KEY}},
        {"metadata": {KEY: 1}},
        {"login": {"passwd": KEY[8:]}},
        {"credentials": {"id": KEY[8:]}},
        {"pwd": KEY[8:]},
    ],
    ids=str,
)
@simulated_time
async def test_no_secret_of_a_parameter_stands_in_the_file(cassette, params):
    """Words of ours that a caller uses as names protect nothing, and a credential has many names."""
    await taped(cassette, "record", ["ok"])[0](Request.chat("m", "hi", **params))

    assert KEY[8:] not in cassette.read_text()


@pytest.mark.parametrize(
    "outcome",
    [
        Response.of("x", extra={"headers": {"Authorization": "canary"}}),
        Response.of("x", extra={"data": "sk-canary-0123456789abcdef0123"}),
        ServerError("no", details={"request": {"x-api-key": "canary"}}),
        ServerError("sent {'api-key': 'canary'}"),
    ],
    ids=["header", "data", "details", "message"],
)
@simulated_time
async def test_no_secret_that_came_back_stands_in_the_file(cassette, outcome):
    """Gateways echo what they were sent."""
    with contextlib.suppress(ServerError):
        await taped(cassette, "record", [outcome])[0](HI)

    assert "canary" not in cassette.read_text()


@simulated_time
async def test_harmless_fields_of_an_answer_come_back_as_they_were(cassette):
    """The tokens of an account are no secret, nor are those of a text."""
    extra = {"usage": {"total_tokens": "7"}, "logprobs": [{"token": "Hi", "key": "k"}], "author": "Ada"}
    await taped(cassette, "record", [Response.of("a?b=1&c=2", extra=extra)])[0](HI)

    played = await taped(cassette, "replay")[0](HI)

    assert (played.extra, played.text) == (extra, "a?b=1&c=2")


@simulated_time
async def test_a_key_in_a_text_that_a_tool_call_interrupts_is_found(cassette):
    """The pieces of a call that goes on end no text, so the key is one."""
    pieces = [ToolCallDelta(0, "{", "1", "n"), TextDelta(KEY[:12]), ToolCallDelta(0, "}"), TextDelta(KEY[12:])]
    stack, _ = taped(cassette, "record", [pieces])
    async with stack.stream(HI) as stream:
        await stream.complete()

    played = await taped(cassette, "replay")[0](HI)

    assert played.text == Secret(KEY).id


def test_cleaning_a_clean_text_changes_nothing():
    """Or a conversation that is recorded again would differ in all its secrets."""
    clean = cleaner(None)

    once = clean(f'{{"password": "x"}} {KEY} https://a:b@c/?key=d')

    assert clean(once) == once


@pytest.mark.parametrize("text", ["sk-", "-----BEGIN PRIVATE KEY-----", '"api_key": "', "://a@", "\\", "Bearer "])
def test_a_long_text_without_a_secret_is_not_looked_through_again_and_again(text):
    """In a time that grows with the text: this would take minutes."""
    assert cleaner(None)(text * 4_000).count(text[:2])


@simulated_time
async def test_a_conversation_goes_on_from_an_answer_that_was_redacted(cassette):
    """The next request holds what was played, not what was said: it is found all the same."""

    async def talk(mode: str, *script: str) -> tuple[str, str]:
        stack, _ = taped(cassette, mode, script, redact=lambda text: text.replace("Ada", "NAME"))
        asked = Request.chat("m", "I am Ada")
        first = await stack(asked)
        return first.text, (await stack(asked.reply(first, "go on"))).text

    live = await talk("record", "Hello Ada!", "Bye Ada!")

    assert live == ("Hello Ada!", "Bye Ada!")
    assert await talk("replay") == ("Hello NAME!", "Bye NAME!")


@simulated_time
async def test_what_is_redacted_across_the_end_of_a_short_stream_is_played_whole(cassette):
    """The terminal streamed the beginning only; the stack delivers the rest, live and played."""

    async def begins(request: Request) -> Response:
        await request.begin().send(TextDelta("I am Ad"))
        return Response.of("I am Ada, and more")

    redacting = Recorder(cassette, "record", redact=lambda text: text.replace("Ada", "SOMEBODY"))
    async with build_stack([redacting], begins).stream(HI) as stream:
        await stream.complete()

    async with taped(cassette, "replay")[0].stream(HI) as stream:
        pieces = [event.text async for event in stream]

    assert "".join(pieces) == stream.response.text == "I am SOMEBODY, and more"


# --- faults of the file ----------------------------------------------------------------------------------------------


@simulated_time
async def test_a_wrong_file_is_found_before_anybody_is_asked(cassette):
    """An answer that cannot be kept would be paid for nothing."""
    cassette.write_text("[" * 100_000)
    stack, fake = taped(cassette, "record", ["a"])

    with pytest.raises(ConfigurationError, match="is no JSON"):
        await stack(HI)

    assert fake.calls == 0


@simulated_time
async def test_an_answer_that_json_cannot_say_is_not_in_the_way_of_others(cassette):
    """It was refused, and the next one is written."""
    bad = Response.of("x", extra={"score": float("nan")})
    stack, _ = taped(cassette, "record", [bad, "good"])
    with pytest.raises(ConfigurationError):
        await stack(HI)

    await stack(HI)

    assert (await taped(cassette, "replay")[0](HI)).text == "good"


@simulated_time
async def test_a_file_that_only_its_owner_may_read_stays_so(cassette):
    """Recorded again, it is another file under the same name."""
    await taped(cassette, "record", ["a"])[0](HI)
    cassette.chmod(0o600)

    await taped(cassette, "record", ["b"])[0](HI)

    assert cassette.stat().st_mode & 0o777 == 0o600


@simulated_time
async def test_a_link_that_leads_nowhere_is_no_cassette_yet(cassette):
    """It is recorded through the link."""
    cassette.symlink_to(cassette.with_name("real.json"))

    assert (await taped(cassette, "once", ["a"])[0](HI)).text == "a"

    assert cassette.with_name("real.json").exists()


# --- what it says of itself ------------------------------------------------------------------------------------------


@simulated_time
async def test_explained_while_it_records_it_says_that_it_records(cassette):
    """What it has just written is not played by the one who wrote it."""
    recorder = Recorder(cassette)
    await build_stack([recorder], FakeTransport(["a", "b"]))(HI)

    assert recorder.explain(HI).endswith("records it")
    assert Recorder(cassette).explain(HI).endswith("plays take 1 of 1")
    assert "has no identity" in recorder.explain(HI.with_params(temperature=float("nan")))


def test_what_is_only_played_reaches_no_provider(cassette):
    """So says the first line of the stack's own explanation, whatever stands above."""
    said = {
        mode: build_stack([Retry(3), Timeout(5), Recorder(cassette, mode)], FakeTransport()).explain().splitlines()[0]
        for mode in ("replay", "record")
    }

    assert said["replay"].startswith("One call: at most 0 requests to the provider; at most 1.5 s")
    assert said["record"].startswith("One call: at most 3 requests to the provider")
