"""The blocking faces where a process forks, is interrupted, or ends: tested in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from llamina.testing import SimulatedProvider, stall

HEAD = """
import asyncio, atexit, gc, logging, os, signal, sys, threading
from llamina import Client, Request, Response, TextDelta, build_stack

class Provider:
    '''Sends for ever, or waits for ever, and says when it was cancelled and has cleaned up.'''
    def __init__(self, *, sends):
        self.sends = sends
        self.asked = threading.Event()
    async def __call__(self, request):
        out = request.begin()
        try:
            await out.send(TextDelta("first"))
            self.asked.set()
            while self.sends:
                await out.send(TextDelta("x"))
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            print("cleaned up", flush=True)
            raise

def ctrl_c_when(asked):
    '''A real SIGINT, once the provider has been asked.'''
    def send():
        asked.wait(20)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=send, daemon=True).start()

async def hello(request):
    return Response.of("hello")

# asyncio's debug mode says what took long: a busy machine is no fault.
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing <"))

import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
def in_a_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            sys.stdout.flush()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
needs_sigint = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself a Ctrl-C")


def run(script: str, *, timeout: float = 30) -> Any:
    """The ended process of a script, which has neither hung nor warned."""
    code = HEAD + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def check_quiet(ended: Any, printed: str) -> None:
    """It ended well, said what it was to say, and nothing else."""
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, printed, "")


def test_a_process_ends_without_a_close() -> None:
    """Calls were made, nothing was closed: it ends at once and says nothing."""
    ended = run("""
        client = Client(hello, model="m").blocking()
        print(client.chat("hi").text, *client.stream("hi").text)
    """)

    check_quiet(ended, "hello hello\n")


def test_what_is_in_flight_at_the_end_is_cleaned_up() -> None:
    """A stream that is still open, and a thread that still waits: both calls are cancelled, the clean-up is seen."""
    ended = run("""
        provider = Provider(sends=True)
        client = Client(provider, model="m").blocking()
        stream = client.stream("hi").__enter__()
        print(next(stream).text)
        waiting = Provider(sends=False)
        threading.Thread(target=lambda: Client(waiting, model="m").blocking().chat("hi"), daemon=True).start()
        waiting.asked.wait(20)
    """)

    check_quiet(ended, "first\ncleaned up\ncleaned up\n")


def test_a_thread_that_waits_at_the_end_says_nothing() -> None:
    """Its call is cancelled and it ends with it: a traceback printed at that moment could abort the process."""
    ended = run("""
        waiting = Provider(sends=False)
        def reads():
            with Client(waiting, model="m").blocking().stream("hi") as stream:
                for event in stream:
                    pass
        threading.Thread(target=reads, daemon=True).start()
        waiting.asked.wait(20)
    """)

    check_quiet(ended, "cleaned up\n")


def test_what_never_cleans_up_does_not_keep_the_process() -> None:
    """It gets some seconds, here fewer, and is left without a word."""
    ended = run("""
        import llamina._blocking_loop
        llamina._blocking_loop._LAST_WORDS = 0.05
        async def stubborn(request):
            await request.begin().send(TextDelta("first"))
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass
        stream = Client(stubborn, model="m").blocking().stream("hi").__enter__()
        print(next(stream).text)
    """)

    check_quiet(ended, "first\n")


def test_a_stack_can_be_closed_at_the_end() -> None:
    """`atexit` is a fine place for it."""
    ended = run("""
        class Closing:
            async def __call__(self, request):
                return Response.of("hello")
            async def aclose(self):
                print("closed")
        client = Client(Closing(), model="m").blocking()
        atexit.register(client.close)
        print(client.chat("hi").text)
    """)

    check_quiet(ended, "hello\nclosed\n")


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="no thread can be started once the main one has ended")
def test_threads_that_outlive_the_main_one_are_served() -> None:
    """The interpreter waits for them, and so does the loop: what looks up names in a thread works too."""
    ended = run("""
        begin = threading.Event()
        async def looks_up(request):
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            return Response.of("hello")
        client = Client(looks_up, model="m").blocking()
        def late():
            threading.main_thread().join()
            print(client.chat("hi").text, flush=True)
        threading.Thread(target=late).start()
    """)

    check_quiet(ended, "hello\n")


@needs_sigint
def test_ctrl_c_in_a_call_cancels_it_and_waits_for_its_clean_up() -> None:
    """`KeyboardInterrupt` is raised in the main thread when the provider has been told."""
    ended = run("""
        provider = Provider(sends=False)
        ctrl_c_when(provider.asked)
        try:
            Client(provider, model="m").blocking().chat("hi")
        except KeyboardInterrupt:
            print("interrupted")
    """)

    check_quiet(ended, "cleaned up\ninterrupted\n")


@needs_sigint
@pytest.mark.parametrize("sends", [True, False])
def test_ctrl_c_in_a_stream_cancels_it_and_waits_for_its_clean_up(sends: bool) -> None:
    """Whether it strikes while an event is awaited or while one is looked at."""
    ended = run(f"""
        reading = threading.Event()
        ctrl_c_when(reading)
        try:
            with Client(Provider(sends={sends}), model="m").blocking().stream("hi") as stream:
                for event in stream:
                    reading.set()
        except KeyboardInterrupt:
            print("interrupted", stream.call.attempts[0].outcome)
    """)

    check_quiet(ended, "cleaned up\ninterrupted cancelled\n")


@needs_sigint
def test_ctrl_c_in_the_text_of_a_stream_closes_it() -> None:
    """It has no block round it, and is closed all the same."""
    ended = run("""
        provider = Provider(sends=False)
        stream = Client(provider, model="m").blocking().stream("hi")
        class Waits:
            def wait(self, timeout):
                provider.asked.wait(timeout)
                while stream._far.bridge.buffer or stream._far.bridge._reader is None:
                    pass
        ctrl_c_when(Waits())
        try:
            for piece in stream.text:
                print(piece)
        except KeyboardInterrupt:
            print("interrupted")
    """)

    check_quiet(ended, "first\ncleaned up\ninterrupted\n")


@needs_sigint
def test_ctrl_c_while_a_piece_is_looked_at_cancels_the_call() -> None:
    """Nobody waits in the loop then; the clean-up is awaited when the process ends at the latest."""
    ended = run("""
        provider = Provider(sends=True)
        try:
            for piece in Client(provider, model="m").blocking().stream("hi").text:
                os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)

    assert ended.returncode == 0
    assert sorted(ended.stdout.split("\n")) == ["", "cleaned up", "interrupted"]


@needs_sigint
@pytest.mark.parametrize("use", ["client.chat('hi')", "[event for event in client.stream('hi').text]"])
def test_a_second_ctrl_c_no_longer_waits(use: str) -> None:
    """A provider that does not clean up cannot keep the user."""
    ended = run(f"""
        cleaning = threading.Event()
        asked = threading.Event()
        async def stubborn(request):
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await asyncio.sleep(3600)
        client = Client(stubborn, model="m").blocking()
        ctrl_c_when(asked)
        ctrl_c_when(cleaning)
        try:
            {use}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)  # the end would wait for the clean-up
    """)

    assert (ended.returncode, ended.stdout) == (0, "interrupted\n")


@needs_sigint
def test_an_uncaught_ctrl_c_ends_the_process() -> None:
    """As it ends any other."""
    ended = run("""
        provider = Provider(sends=False)
        ctrl_c_when(provider.asked)
        Client(provider, model="m").blocking().chat("hi")
    """)

    assert ended.returncode == -signal.SIGINT
    assert ended.stdout == "cleaned up\n"
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")


@needs_fork
def test_a_child_has_a_loop_of_its_own() -> None:
    """Parent and child both go on; the child's calls do not reach into the parent's loop."""
    ended = run("""
        loops = set()
        async def where(request):
            loops.add(id(asyncio.get_running_loop()))
            return Response.of("hello")
        client = Client(where, model="m").blocking()
        client.chat("hi")
        def child():
            print(client.chat("hi").text, *client.stream("hi").text, len(loops), flush=True)
        in_a_child(child)
        print(client.chat("hi").text, *client.stream("hi").text, len(loops))
    """)

    check_quiet(ended, "hello hello 2\nhello hello 1\n")


@needs_fork
def test_a_stream_of_the_parent_is_not_the_childs() -> None:
    """Read in the child it says so instead of waiting for ever; the parent reads on."""
    ended = run("""
        go_on = asyncio.Event()
        async def slow(request):
            out = request.begin()
            await out.send(TextDelta("a"))
            await go_on.wait()
            await out.send(TextDelta("b"))
            return Response.of("ab")
        stream = Client(slow, model="m").blocking().stream("hi")
        def child():
            try:
                next(stream)
            except RuntimeError as error:
                print(error, flush=True)
            stream.__exit__(None, None, None)
        with stream:
            assert next(stream).text == "a"
            in_a_child(child)
            stream._far.home.post(go_on.set)
            print(*[event.text for event in stream])
    """)

    check_quiet(ended, "this stream belongs to the parent process; the child must ask for one of its own\nb\n")


@needs_fork
def test_a_child_that_ends_in_order_says_nothing() -> None:
    """Neither the loop that it has started nor the memory of its parent's makes a noise."""
    ended = run("""
        client = Client(hello, model="m").blocking()
        client.chat("hi")
        pid = os.fork()
        text = client.chat("hi").text
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        print(text, flush=True)
    """)

    check_quiet(ended, "hello\nhello\n")


@needs_fork
def test_a_pool_of_forked_workers_works() -> None:
    """As servers start theirs: the face was made and used before the fork."""
    ended = run("""
        import multiprocessing
        client = Client(hello, model="m").blocking()
        client.chat("hi")
        def work(number):
            return client.chat(f"{number}").text
        with multiprocessing.get_context("fork").Pool(4) as pool:
            print(set(pool.map(work, range(32))))
            pool.close()
            pool.join()
    """)

    check_quiet(ended, "{'hello'}\n")


@needs_sigint
def test_the_provider_sees_a_ctrl_c_in_a_stream() -> None:
    """Over a real connection: it is closed in the middle of the answer."""
    provider = SimulatedProvider([["Once ", "upon ", stall()]])
    with provider.in_thread() as url:
        ended = run(f"""
            from llamina.transports import HTTPTransport
            reading = threading.Event()
            ctrl_c_when(reading)
            try:
                with Client(HTTPTransport(base_url="{url}", api_key="k"), model="m").blocking() as client:
                    for piece in client.stream("hi").text:
                        print(piece, end="")
                        if piece == "upon ":
                            reading.set()
            except KeyboardInterrupt:
                print("interrupted")
        """)

    assert (ended.returncode, ended.stdout) == (0, "Once upon interrupted\n"), ended.stderr
    assert provider.aborted == 1
