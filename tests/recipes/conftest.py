"""A recipe runs where its framework is installed: `tox -e recipe-litellm`, each in an environment of its own.

They pin different versions of the same SDKs, so no environment has them all.
"""

from __future__ import annotations

from importlib.util import find_spec

FRAMEWORKS = ("any_llm", "instructor", "langchain_openai", "litellm", "llama_index", "pydantic_ai")

collect_ignore = [f"test_{framework}.py" for framework in FRAMEWORKS if find_spec(framework) is None]
