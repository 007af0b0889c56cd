"""A chat model that ticks, for tests."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


def _chunk(delta, finish=None):
    text = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    return pb_utils.InferenceResponse([pb_utils.Tensor("CHUNK", np.array([text.encode()], np.object_))])


def _end_with_server():
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        self.cancelled = set()
        _end_with_server()

    def execute(self, requests):
        for request in requests:
            body = json.loads(pb_utils.get_input_tensor_by_name(request, "REQUEST").as_numpy()[0])
            sender = request.get_response_sender()
            if "cancel" in body:
                self.cancelled.add(body["cancel"])
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                continue
            threading.Thread(target=self._say, args=(sender, body, request.request_id())).start()

    def _say(self, sender, body, name):
        for word in range(body.get("words", 3)):
            if name in self.cancelled or sender.is_cancelled():
                if "note" in body:
                    Path(body["note"]).write_text(str(time.monotonic()))
                break
            sender.send(_chunk({"content": f"{word} "}))
            time.sleep(body.get("every", 0.0))
        else:
            sender.send(_chunk({}, "stop"))
        end = pb_utils.InferenceResponse([pb_utils.Tensor("CHUNK", np.array([b""], np.object_))])
        sender.send(end, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        self.cancelled.discard(name)
