"""Codecs: the JSON of providers to and from Request, Response and events, in both directions and without I/O.

from llamina.wire import openai_chat, sse

body = openai_chat.encode_request(request, stream=False)
response = openai_chat.decode_response(answer)
"""
