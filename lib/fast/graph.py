"""Training steps as CUDA graphs: one launch instead of a thousand."""

import torch


class Captured:
    """A function of tensors in fixed memory, as one launch: a CUDA graph from the fourth call on.

    A training step has about a thousand short kernels, and launching them one by one takes longer
    than running them. function: takes nothing, returns a tensor, never waits for the GPU.
    generator: the source of all its random numbers, which equal those of plain calls. The first
    calls are plain: they try algorithms and fill caches.
    """

    PLAIN = 3

    def __init__(self, function, generator):
        self.function, self.generator, self.calls, self.graph = function, generator, 0, None
        self.stream = torch.cuda.Stream()  # the default one cannot be captured

    def __call__(self):
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.calls += 1
            if self.calls <= self.PLAIN:
                self.result = self.function()
            elif self.graph is None:
                self.capture()
            if self.graph:
                self.graph.replay()
        torch.cuda.current_stream().wait_stream(self.stream)
        return self.result

    def capture(self):
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.generator)
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.result = self.function()
