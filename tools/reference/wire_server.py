"""transformers and diffusers behind the routes that readback's HTTP backends speak, with the small world's weights.

    python tools/reference/wire_server.py [--port 8000] [--captioner FOLDER] [--generator FOLDER]

    POST /v1/chat/completions    BLIP; num_beams, length_penalty, min_tokens and repetition_penalty as in transformers,
                                 token_ids beside each message
    POST /v1/images/generations  Stable Diffusion; the noise is torch.Generator's with the seed
    POST /sdapi/v1/txt2img       the same
    POST /sdcpp/v1/img_gen       the same, as a job: GET /sdcpp/v1/jobs/ID
    GET  /v1/models

Prints its address. It computes one thing at a time, and is for tests on one machine only.
"""

import argparse
import base64
import io
import json
import pathlib
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

ASSETS = pathlib.Path(__file__).resolve().parents[2] / "assets" / "emoji-scenes"
STEPS, GUIDANCE = 25, 3.0


class Captioner:
    def __init__(self, folder):
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        self.processor = BlipImageProcessorPil.from_pretrained(folder)

    def __call__(self, body):
        content = body["messages"][-1]["content"]
        url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
        prompt = "".join(part["text"] for part in content if part["type"] == "text")
        image = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB")
        pixels = self.processor([image], return_tensors="pt")["pixel_values"]
        ids = self.tokenizer([prompt], return_tensors="pt")["input_ids"]
        begun = ids.shape[1] - 1  # generate() drops the end token
        sampling = body.get("temperature", 1) > 0
        how = {"temperature": body.get("temperature", 1.0), "top_p": body.get("top_p", 1.0), "top_k": body.get("top_k", 0)}
        how = how if sampling else {"num_beams": body.get("num_beams", 1)}
        if how.get("num_beams", 1) > 1:
            how["length_penalty"] = body.get("length_penalty", 1.0)
        if "seed" in body:
            torch.manual_seed(body["seed"])
        rows = self.model.generate(pixel_values=pixels, input_ids=ids, do_sample=sampling,
                                   num_return_sequences=body.get("n", 1), max_length=begun + body["max_tokens"],
                                   min_length=begun + body.get("min_tokens", 0),
                                   repetition_penalty=body.get("repetition_penalty", 1.0), **how)
        choices = []
        for row in rows.tolist():
            end = self.model.config.text_config.sep_token_id
            row = row[:row.index(end) + 1] if end in row else row  # what follows pads the batch
            text = self.tokenizer.decode(row[begun:], skip_special_tokens=True).strip()
            choices.append({"index": len(choices), "finish_reason": "stop", "token_ids": row,
                            "message": {"role": "assistant", "content": text}})
        return {"object": "chat.completion", "choices": choices}


class Generator:
    def __init__(self, folder):
        self.pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, prompt, seed, steps=None, guidance=None, width=None, height=None, negative_prompt=None):
        image = self.pipeline(prompt, negative_prompt=negative_prompt or None, num_inference_steps=steps or STEPS,
                              guidance_scale=GUIDANCE if guidance is None else guidance, width=width, height=height,
                              generator=torch.Generator().manual_seed(seed)).images[0]
        file = io.BytesIO()
        image.save(file, "png")
        return base64.b64encode(file.getvalue()).decode()


class Server(ThreadingHTTPServer):
    def __init__(self, port, captioner, generator):
        super().__init__(("127.0.0.1", port), Handler)
        self.captioner, self.generator = Captioner(captioner), Generator(generator)
        self.lock, self.jobs = threading.Lock(), {}

    def chat(self, body):
        return self.captioner(body)

    def openai(self, body):
        width, height = map(int, body["size"].split("x")) if "size" in body else (None, None)
        picture = self.generator(body["prompt"], body.get("seed", 0), body.get("num_inference_steps"),
                                 body.get("guidance_scale"), width, height, body.get("negative_prompt"))
        return {"created": 0, "data": [{"b64_json": picture}]}

    def sdapi(self, body):
        picture = self.generator(body["prompt"], body["seed"], body.get("steps"), body.get("cfg_scale"),
                                 body.get("width"), body.get("height"), body.get("negative_prompt"))
        return {"images": [picture], "info": json.dumps({"seed": body["seed"]})}

    def sdcpp(self, body):
        job = uuid.uuid4().hex
        self.jobs[job] = {"id": job, "status": "queued"}
        threading.Thread(target=self.work, args=(job, body), daemon=True).start()
        return self.jobs[job]

    def work(self, job, body):
        sampling = body.get("sample_params", {})
        with self.lock:
            picture = self.generator(body["prompt"], body["seed"], sampling.get("sample_steps"),
                                     sampling.get("guidance", {}).get("txt_cfg"), body.get("width"),
                                     body.get("height"), body.get("negative_prompt"))
        self.jobs[job] = {"id": job, "status": "completed", "result": {"images": [{"b64_json": picture}]}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ROUTES = {"/v1/chat/completions": Server.chat, "/v1/images/generations": Server.openai,
              "/sdapi/v1/txt2img": Server.sdapi}

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        job = self.server.jobs.get(self.path.removeprefix("/sdcpp/v1/jobs/"))
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": "emoji-scenes", "object": "model"}]})
        elif job:
            self.answer(200, job)
        else:
            self.answer(404, {"error": "there is no " + self.path})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/sdcpp/v1/img_gen":
            return self.answer(202, self.server.sdcpp(body))
        if self.path not in self.ROUTES:
            return self.answer(404, {"error": "there is no " + self.path})
        try:
            with self.server.lock, torch.no_grad():
                value = self.ROUTES[self.path](self.server, body)
        except (KeyError, ValueError) as error:
            return self.answer(400, {"error": {"message": str(error)}})
        self.answer(200, value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--captioner", default=ASSETS / "captioner")
    parser.add_argument("--generator", default=ASSETS / "generator")
    flags = parser.parse_args()
    server = Server(flags.port, flags.captioner, flags.generator)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
