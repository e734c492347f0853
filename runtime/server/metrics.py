"""Prometheus metrics of the engine, under vLLM's names with `ingot_` before them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ingot.runtime.engine import EngineState, FinishReason, Observer, Request

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CANCELLED: "abort",
    FinishReason.ERROR: "error",
}


class Metrics(Observer):
    """Measures the engine in its thread; `text` may be called from any other."""

    def __init__(self, model_name: str) -> None:
        self._registry = CollectorRegistry()
        self._name = model_name
        self._running = self._gauge("num_requests_running", "Requests in the engine's steps")
        self._waiting = self._gauge("num_requests_waiting", "Requests queued for the engine")
        self._kv_usage = self._gauge("kv_cache_usage_perc", "KV cache in use; 1 is all of it")
        self._queries = self._counter("prefix_cache_queries", "Prompt tokens looked up")
        self._hits = self._counter("prefix_cache_hits", "Prompt tokens found in the cache")
        self._preemptions = self._counter("num_preemptions", "Requests put back for lack of pages")
        self._prompt = self._counter("prompt_tokens", "Prompt tokens of answered requests")
        self._generated = self._counter("generation_tokens", "Tokens generated")
        self._finished = Counter(
            "ingot_request_success",
            "Requests ended, by reason",
            ["model_name", "finished_reason"],
            registry=self._registry,
        )
        self._first = self._histogram("time_to_first_token_seconds", _LONG)
        self._between = self._histogram("inter_token_latency_seconds", _SHORT)
        self._whole = self._histogram("e2e_request_latency_seconds", _LONG)
        self._queued = self._histogram("request_queue_time_seconds", _LONG)
        self._prefill = self._histogram("request_prefill_time_seconds", _LONG)
        self._decode = self._histogram("request_decode_time_seconds", _LONG)
        self._first_token_times: dict[int, float] = {}
        self._last = EngineState(0, 0, 0.0, 0, 0, 0)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def stepped(self, state: EngineState) -> None:
        self._running.set(state.num_running)
        self._waiting.set(state.num_waiting)
        self._kv_usage.set(state.kv_cache_usage)
        last, self._last = self._last, state
        self._queries.inc(state.num_prefix_queries - last.num_prefix_queries)
        self._hits.inc(state.num_prefix_hits - last.num_prefix_hits)
        self._preemptions.inc(state.num_preemptions - last.num_preemptions)

    def sampled(self, request: Request, now: float) -> None:
        self._generated.inc()
        if request.num_output > 0:
            self._between.observe(now - request.token_time)
            return
        self._first_token_times[request.request_id] = now
        self._prompt.inc(request.num_prompt)
        self._first.observe(now - request.arrival_time)
        self._queued.observe(request.start_time - request.arrival_time)
        self._prefill.observe(now - request.start_time)

    def finished(self, request: Request, now: float) -> None:
        assert request.finish_reason is not None
        self._finished.labels(self._name, _REASONS[request.finish_reason]).inc()
        self._whole.observe(now - request.arrival_time)
        if request.whole and request.start_time:
            self._prompt.inc(request.num_prompt)
            self._queued.observe(request.start_time - request.arrival_time)
            self._prefill.observe(now - request.start_time)
        first = self._first_token_times.pop(request.request_id, None)
        if first is not None:
            self._decode.observe(now - first)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        gauge = Gauge(f"ingot_{name}", help_text, ["model_name"], registry=self._registry)
        return gauge.labels(self._name)

    def _counter(self, name: str, help_text: str) -> Counter:
        counter = Counter(f"ingot_{name}", help_text, ["model_name"], registry=self._registry)
        return counter.labels(self._name)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        help_text = name.replace("_", " ").removesuffix(" seconds").capitalize() + ", in seconds"
        histogram = Histogram(
            f"ingot_{name}", help_text, ["model_name"], registry=self._registry, buckets=buckets
        )
        return histogram.labels(self._name)
