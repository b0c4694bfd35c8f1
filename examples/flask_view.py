"""A Flask app over the SDK of OpenAI whose calls go through a stack: an answer, a stream, a reader who leaves. Offline.

python examples/flask_view.py
"""

from collections.abc import Iterator

import flask
import openai

from llamina import Cache, Constant, CostMeter, Retry, Stack, build_stack, doors
from llamina.testing import SimulatedProvider, status
from llamina.transports import HTTPTransport


def make_app(stack: Stack) -> flask.Flask:
    """The app as it was, but for `http_client=`; threads of the server share the stack."""
    app = flask.Flask(__name__)
    client = openai.OpenAI(api_key="unused", http_client=doors.httpx2_client(stack), max_retries=0)

    def asked() -> dict[str, object]:
        return {"model": "small", "messages": [{"role": "user", "content": flask.request.args["q"]}]}

    @app.get("/answer")
    def answer() -> dict[str, object]:
        with doors.tags(user=flask.request.headers.get("x-user", "anyone")):
            raw = client.chat.completions.with_raw_response.create(**asked())
        return {"text": raw.parse().choices[0].message.content, "cached": raw.headers.get("x-llamina-cache") == "hit"}

    @app.get("/stream")
    def stream() -> flask.Response:
        chunks = client.chat.completions.create(**asked(), stream=True)

        def pieces() -> Iterator[str]:
            with chunks:  # left when the reader leaves: the request to the provider is closed
                for chunk in chunks:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        yield text

        return flask.Response(pieces(), mimetype="text/plain")

    @app.errorhandler(openai.APIStatusError)
    def failed(error: openai.APIStatusError) -> tuple[str, int]:
        return error.message, error.status_code

    return app


def main() -> None:
    script = [status(503), "42", ["Once ", "upon ", "a time."], ["A very ", 60, "long story."], status(429)]
    provider = SimulatedProvider([*script, status(429), status(429)])
    meter = CostMeter(prices={"small": {"input": "1", "output": "2"}})
    with provider.in_thread() as url:
        layers = [Cache(), Retry(attempts=3, backoff=Constant(0.01)), meter]
        stack = build_stack(layers, HTTPTransport(base_url=url, api_key="sk-real"))
        browser = make_app(stack).test_client()
        with stack.blocking():
            for _ in range(2):
                print("an answer  ", browser.get("/answer?q=6x7", headers={"x-user": "ada"}).json)
            print("a stream   ", list(browser.get("/stream?q=story").iter_encoded()))
            with browser.get("/stream?q=long") as leaving:
                print("left after ", next(leaving.iter_encoded()))
            refused = browser.get("/answer?q=busy")
            print("a failure  ", refused.status, refused.text)
    print(f"{len(provider.requests)} requests, {provider.aborted} of them closed before its end")
    print({user: f"{row.attempts} tries, ${row.cost}" for user, row in meter.by("user").items()})
    assert (len(provider.requests), provider.aborted) == (7, 1)


main()
