"""Have the output be one of a list: `python structured.py QUESTION [ADDRESS]`."""

import sys

from bellhousing import Client
from bellhousing.errors import InvalidRequest

with Client(sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051") as client:
    try:
        answer = client.complete(sys.argv[1], choice=["yes", "no"], max_tokens=8, timeout=60)
    except InvalidRequest as error:
        # A model that cannot do this says so, by name, instead of ignoring it.
        sys.exit("\n".join(f"{v.field}: {v.description}" for v in error.violations))
    print(answer.outputs[0].text)
