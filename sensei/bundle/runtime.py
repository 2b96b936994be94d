"""Inference with a LiteRT model: named inputs and outputs, microseconds at batch size 1."""

import threading
from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from sensei.errors import InvalidInput
from sensei.native_stderr import without_lines

_NOISE = b"Created TensorFlow Lite XNNPACK delegate"  # logged once per process


class Runner:
    """Interpreters of one model; each call holds a lock, so threads may share it and wait.

    Batch size 1 has its own interpreter, so a larger batch in between never forces the next single
    call to allocate again.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content  # the interpreter reads its weights from here
        self._lock = threading.Lock()
        with without_lines(_NOISE):
            self._single = Interpreter(model_content=content, num_threads=1)
            self._single.allocate_tensors()
        self._batch: Interpreter | None = None
        self._batch_size = 0
        runner = self._single.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        self._in = [(name, int(tensor["index"])) for name, tensor in inputs.items()]
        self._out = [(name, int(tensor["index"])) for name, tensor in outputs.items()]
        self.inputs = {name: int(tensor["shape"][-1]) for name, tensor in inputs.items()}
        self.outputs = {name: int(tensor["shape"][-1]) for name, tensor in outputs.items()}

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Run the model.

        Args:
            inputs: name -> (n, width) float32; names the model lacks are ignored.

        Returns:
            Name -> (n, width) float32, owned by the caller.

        Raises:
            InvalidInput: an input is missing, has another type or shape, or a slot is out of range.
        """
        try:
            size = len(inputs[self._in[0][0]])
            if size == 0:
                return {name: np.empty((0, n), np.float32) for name, n in self.outputs.items()}
            with self._lock:
                interpreter = self._single if size == 1 else self._resized(size)
                for name, index in self._in:
                    interpreter.set_tensor(index, inputs[name])
                interpreter.invoke()
                return {name: interpreter.get_tensor(index) for name, index in self._out}
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            widths = {
                name: (np.shape(value), np.asarray(value).dtype) for name, value in inputs.items()
            }
            raise InvalidInput(
                f"model inputs: expected float32 rows of widths {self.inputs}, got {widths}; "
                "build them with features/history.py"
            ) from error

    def _resized(self, size: int) -> Interpreter:
        """Return the second interpreter, reallocated if the batch size changed."""
        if self._batch is None:
            self._batch = Interpreter(model_content=self._content, num_threads=1)
        if size != self._batch_size:
            self._batch_size = 0  # if the allocation fails, the next call allocates again
            for name, index in self._in:
                self._batch.resize_tensor_input(index, [size, self.inputs[name]])
            self._batch.allocate_tensors()
            self._batch_size = size
        return self._batch
