"""Money computed by hand: a provider's own account of its tokens, through codec and meter, to US dollars.

The prices are of the size that the providers ask; each test spells its arithmetic out, in USD per million tokens.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llamina import CostMeter, Request, Usage, build_stack
from llamina.testing import FakeTransport, answer, simulated_time
from llamina.wire import anthropic_messages, openai_chat, openai_responses

GPT = {"input": "2.50", "output": "10", "cache_read": "1.25"}
GPT_WRITES = {"input": "2", "output": "8", "cache_read": "0.20", "cache_write": "2.50"}
GPT_AUDIO = {"input": "2.50", "output": "10", "input_audio": "32", "output_audio": "64"}
CLAUDE = {
    "input": "3",
    "output": "15",
    "cache_read": "0.30",
    "cache_write": "3.75",
    "cache_write_long": "6",
    "above": {
        200_000: {
            "input": "6",
            "output": "22.50",
            "cache_read": "0.60",
            "cache_write": "7.50",
            "cache_write_long": "12",
        }
    },
}


async def metered(usage: Usage | None, prices: dict[str, Any]) -> Decimal:
    """What a meter charges for one call with *usage*."""
    assert usage is not None
    stack = build_stack([CostMeter({"m": prices})], FakeTransport(answer("x", usage=usage)))
    response = await stack(Request.chat("m", "hi"))
    assert response.call.cost_complete
    return response.call.cost


@simulated_time
async def test_chat_cached_input_is_a_part_of_the_prompt_and_reasoning_a_part_of_the_completion() -> None:
    """OpenAI's prompt_tokens include what was cached: 2,006 are 86 fresh and 1,920 cached."""
    account = {
        "prompt_tokens": 2006,
        "completion_tokens": 1300,
        "total_tokens": 3306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1024, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    }

    cost = await metered(openai_chat.decode_usage(account), GPT)

    # 86 x 2.50 + 1,920 x 1.25 + 1,300 x 10 = 215 + 2,400 + 13,000 = 15,615 millionths
    assert cost == Decimal("0.015615")


@simulated_time
async def test_chat_written_input_is_a_part_of_the_prompt_too() -> None:
    """Newer models charge for writes: 5,000 are 500 fresh, 1,500 read and 3,000 written."""
    account = {
        "prompt_tokens": 5000,
        "completion_tokens": 100,
        "total_tokens": 5100,
        "prompt_tokens_details": {"cached_tokens": 1500, "cache_write_tokens": 3000},
    }

    cost = await metered(openai_chat.decode_usage(account), GPT_WRITES)

    # 500 x 2 + 1,500 x 0.20 + 3,000 x 2.50 + 100 x 8 = 1,000 + 300 + 7,500 + 800 = 9,600 millionths
    assert cost == Decimal("0.0096")


@simulated_time
async def test_chat_sound_has_prices_of_its_own() -> None:
    """Of 1,000 tokens 600 were heard, of 150 answered 120 were spoken."""
    account = {
        "prompt_tokens": 1000,
        "completion_tokens": 150,
        "total_tokens": 1150,
        "prompt_tokens_details": {"audio_tokens": 600, "text_tokens": 400, "cached_tokens": 0},
        "completion_tokens_details": {"audio_tokens": 120, "text_tokens": 30, "reasoning_tokens": 0},
    }

    cost = await metered(openai_chat.decode_usage(account), GPT_AUDIO)

    # 400 x 2.50 + 600 x 32 + 30 x 10 + 120 x 64 = 1,000 + 19,200 + 300 + 7,680 = 28,180 millionths
    assert cost == Decimal("0.02818")


@simulated_time
async def test_chat_reasoning_that_a_provider_leaves_out_of_the_completion_is_charged() -> None:
    """Some count it in the total alone: 30 + 12 + 200 = 242, so 212 tokens were made."""
    account = {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 242,
        "completion_tokens_details": {"reasoning_tokens": 200},
    }

    cost = await metered(openai_chat.decode_usage(account), GPT)

    # 30 x 2.50 + 212 x 10 = 75 + 2,120 = 2,195 millionths
    assert cost == Decimal("0.002195")


@simulated_time
async def test_responses_cached_input_and_reasoning() -> None:
    """The same rules under other names: 10,000 are 1,000 fresh and 9,000 cached, 700 of the output are reasoning."""
    account = {
        "input_tokens": 10_000,
        "input_tokens_details": {"cached_tokens": 9000, "cache_write_tokens": 0},
        "output_tokens": 1000,
        "output_tokens_details": {"reasoning_tokens": 700},
        "total_tokens": 11_000,
    }

    cost = await metered(openai_responses.decode_usage(account), {**GPT, "reasoning": "12"})

    # 1,000 x 2.50 + 9,000 x 1.25 + 300 x 10 + 700 x 12 = 2,500 + 11,250 + 3,000 + 8,400 = 25,150 millionths
    assert cost == Decimal("0.02515")


@simulated_time
async def test_responses_written_input() -> None:
    """5,000 are 1,000 fresh and 4,000 written."""
    account = {
        "input_tokens": 5000,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 4000},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5010,
    }

    cost = await metered(openai_responses.decode_usage(account), GPT_WRITES)

    # 1,000 x 2 + 4,000 x 2.50 + 10 x 8 = 2,000 + 10,000 + 80 = 12,080 millionths
    assert cost == Decimal("0.01208")


@simulated_time
async def test_messages_read_input_is_not_a_part_of_the_input() -> None:
    """Anthropic's input_tokens exclude the cache: 10 fresh beside 5,000 read are 5,010 tokens, and neither 10 nor -4,990."""
    account = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 5000,
        "output_tokens": 100,
    }

    usage = anthropic_messages.decode_usage(account)
    cost = await metered(usage, CLAUDE)

    assert usage is not None
    assert usage.input_tokens == 5010
    # 10 x 3 + 5,000 x 0.30 + 100 x 15 = 30 + 1,500 + 1,500 = 3,030 millionths
    assert cost == Decimal("0.00303")


@simulated_time
async def test_messages_writes_of_five_minutes_of_an_hour_and_thinking() -> None:
    """All kinds in one account: 21 fresh, 8,000 read, 2,000 written for five minutes and 3,000 for an hour."""
    account = {
        "input_tokens": 21,
        "cache_read_input_tokens": 8000,
        "cache_creation_input_tokens": 5000,
        "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 3000},
        "output_tokens": 1200,
        "output_tokens_details": {"thinking_tokens": 900},
        "server_tool_use": None,
        "service_tier": "standard",
    }

    usage = anthropic_messages.decode_usage(account)
    cost = await metered(usage, CLAUDE)

    assert usage == Usage(13_021, 1200, 8000, 5000, 900, 3000)
    # 21 x 3 + 8,000 x 0.30 + 2,000 x 3.75 + 3,000 x 6 + 1,200 x 15
    # = 63 + 2,400 + 7,500 + 18,000 + 18,000 = 45,963 millionths
    assert cost == Decimal("0.045963")


@simulated_time
async def test_messages_a_long_prompt_is_one_with_its_cached_part() -> None:
    """1,000 fresh and 199,001 read are one token above the bound, so that every token costs the higher price."""
    below = {"input_tokens": 1000, "cache_read_input_tokens": 199_000, "output_tokens": 100}
    above = {"input_tokens": 1000, "cache_read_input_tokens": 199_001, "output_tokens": 100}

    costs = [await metered(anthropic_messages.decode_usage(account), CLAUDE) for account in (below, above)]

    # 1,000 x 3 + 199,000 x 0.30 + 100 x 15 = 3,000 + 59,700 + 1,500 = 64,200 millionths
    # 1,000 x 6 + 199,001 x 0.60 + 100 x 22.50 = 6,000 + 119,400.6 + 2,250 = 127,650.6 millionths
    assert costs == [Decimal("0.0642"), Decimal("0.1276506")]


@simulated_time
async def test_messages_streamed_counts_are_the_latest_and_not_their_sum() -> None:
    """The start says the input and one token of output, each later account says the output so far."""
    start = {
        "input_tokens": 100,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 4000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 4000},
        "output_tokens": 1,
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": start}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    decoder = anthropic_messages.StreamDecoder()

    decoder.feed({"type": "message_start", "message": message})
    decoder.feed({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    decoder.feed({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}})
    decoder.feed({"type": "content_block_stop", "index": 0})
    decoder.feed({"type": "message_delta", "delta": {**stop, "stop_reason": None}, "usage": {"output_tokens": 40}})
    decoder.feed({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 60}})
    decoder.feed({"type": "message_stop"})
    cost = await metered(decoder.finish().usage, CLAUDE)

    # 100 x 3 + 4,000 x 6 + 60 x 15 = 300 + 24,000 + 900 = 25,200 millionths
    assert cost == Decimal("0.0252")


@pytest.mark.parametrize(
    ("model", "provider", "usage", "usd"),
    [
        # 86 x 2.50 + 1,920 x 1.25 + 1,300 x 10
        ("gpt-4o", "openai", Usage(2006, 1300, 1920, 0, 1024), "0.015615"),
        # 400 x 2.50 + 600 x 32 + 30 x 10 + 120 x 64
        ("gpt-audio", "openai", Usage(1000, 150, input_audio_tokens=600, output_audio_tokens=120), "0.02818"),
        # 21 x 3 + 8,000 x 0.30 + 2,000 x 3.75 + 3,000 x 6 + 1,200 x 15
        ("claude-sonnet-4-5", "anthropic", Usage(13_021, 1200, 8000, 5000, 900, 3000), "0.045963"),
    ],
)
def test_the_general_list_gives_the_same_sums(model: str, provider: str, usage: Usage, usd: str) -> None:
    """The package's prices of these models are those of the examples, kind by kind."""
    pytest.importorskip("genai_prices")
    from llamina.policy.genai import GenAIPrices
    from llamina.policy.money import to_decimal

    price = GenAIPrices().price(model, provider)

    assert price is not None
    assert to_decimal(price.cost(usage)) == Decimal(usd)
