"""`llamina schema`: the JSON schema of stack files, for an editor.

write_schema(Path("stack.schema.json"))     # 0; None prints it
"""

from __future__ import annotations

import json
from pathlib import Path

from llamina.config import schema
from llamina.errors import ConfigurationError

__all__ = ["write_schema"]


def write_schema(output: Path | None) -> int:
    """Write the schema to *output*, or print it, and return the exit code.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    text = json.dumps(schema(), indent=2, ensure_ascii=False)
    if output is None:
        print(text)
        return 0
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the schema cannot be written to {str(output)!r}: {error.strerror}") from error
    print(f"wrote {output}; name it in the first line of a stack file: #:schema ./{output.name}")
    return 0
