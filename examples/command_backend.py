"""A captioner and a generator in 30 lines, for readback's `command:` backends: it sees and draws one shade of grey.

    readback run photos/ --captioner "command:python3 examples/command_backend.py" \\
        --generator "command:python3 examples/command_backend.py" --output runs/shades

A line of JSON comes in, a line of JSON goes out; what is meant for people goes to standard error. Needs Pillow.
"""

import base64
import io
import json
import random
import sys

from PIL import Image

for line in sys.stdin:
    question = json.loads(line)
    answer = {"id": question["id"]}
    if "role" in question:
        answer |= {"name": "shades", "honours_seeds": True}
    elif "image" in question:
        picture = Image.open(io.BytesIO(base64.b64decode(question["image"]))).convert("L").resize((1, 1))
        answer["captions"] = [{"text": f"shade {picture.getpixel((0, 0)) + random.Random(seed).randint(-5, 5)}"}
                              for seed in question["seeds"]]
    elif question["prompt"].startswith("shade "):
        file = io.BytesIO()
        Image.new("L", (64, 64), int(question["prompt"].split()[1]) % 256).save(file, "png")
        answer["image"] = base64.b64encode(file.getvalue()).decode()
    else:
        answer["error"] = "it draws shades only"
    print(json.dumps(answer), flush=True)
