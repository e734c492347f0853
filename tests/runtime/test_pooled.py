"""Models that give a row for each text: the engine, the Python interface and the daemon."""

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, processors

from ingot.compiler.reference import ReferenceExecutor
from ingot.errors import RequestError
from ingot.ir import Module
from ingot.runtime.engine import EngineOptions
from ingot.runtime.llm import LLM
from ingot.runtime.pooled_head import PooledHead
from ingot.runtime.server import Metrics, ServerOptions, bind, serve
from ingot.runtime.text import ModelText, Tokenizer

WORDS = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[UNK]",
    *"the a cat dog sat ran on mat query: red blue".split(),
]
WIDTH = 4
STEP = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x{columns}xf32> {{
  %w = "lm.weight"() {{symbol = "words"}} : () -> tensor<15x4xf32>
  %s = "lm.weight"() {{symbol = "segments"}} : () -> tensor<2x4xf32>
  %x = "lm.embedding"(%t, %w) : (tensor<?xi32>, tensor<15x4xf32>) -> tensor<?x4xf32>
  %k = "lm.token_types"(%b) : (!lm.batch) -> tensor<?xi32>
  %y = "lm.embedding"(%k, %s) : (tensor<?xi32>, tensor<2x4xf32>) -> tensor<?x4xf32>
  %z = "lm.mul"(%x, %y) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %m = "lm.pool"(%z, %b) {{kind = "mean"}} : (tensor<?x4xf32>, !lm.batch) -> tensor<?x4xf32>
{end}
}}
"""
EMBED = """  %n = "lm.l2_normalize"(%m) {eps = 1.0e-12} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %n : tensor<?x4xf32>"""
CLASSIFY = """  %h = "lm.weight"() {symbol = "head"} : () -> tensor<1x4xf32>
  %n = "lm.linear"(%m, %h) {operandSegmentSizes = array<i32: 1, 1, 0>}
    : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x1xf32>
  return %n : tensor<?x1xf32>"""
EMBEDDER = PooledHead("embed", max_tokens=6, normalized=True, prompts={"query": "query: "})
RERANKER = PooledHead("classify", max_tokens=12, labels=("LABEL_0",))
TEXTS = ["the cat sat", "a dog ran on the mat", "red", "the cat sat on the red mat on the blue mat"]


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"words": (len(WORDS), WIDTH), "segments": (2, WIDTH), "head": (1, WIDTH)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def tokenizer() -> Tokenizer:
    backend = RustTokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return Tokenizer(backend, {"cls_token": "[CLS]", "sep_token": "[SEP]"})


def pooled_llm(head: PooledHead, **options: Any) -> LLM:
    columns, end = (WIDTH, EMBED) if head.task == "embed" else (1, CLASSIFY)
    executor = ReferenceExecutor(
        Module.parse(STEP.format(columns=columns, end=end)),
        weights(),
        vocab_size=len(WORDS),
        max_positions=64,
        max_step_tokens=24,
        row_width=columns,
        token_types=2,
    )
    text = ModelText(tokenizer())
    return LLM.from_executor(executor, text, head=head, name="toy", **options)


def rows(ids: list[int], types: list[int]) -> torch.Tensor:
    """What the module computes before its end."""
    stored = weights()
    return (stored["words"][ids] * stored["segments"][types]).mean(0)


def expected_embedding(words: str) -> np.ndarray:
    ids = [WORDS.index(word) for word in words.split()]
    row = rows(ids, [0] * len(ids))
    return (row / row.norm()).numpy()


def expected_score(first: str, second: str) -> float:
    words = ["[CLS]", *first.split(), "[SEP]", *second.split(), "[SEP]"]
    types = [0] * (len(first.split()) + 2) + [1] * (len(second.split()) + 1)
    row = rows([WORDS.index(word) for word in words], types)
    return float(row @ weights()["head"][0])


@pytest.fixture(scope="module")
def embedder() -> Iterator[LLM]:
    with pooled_llm(EMBEDDER) as model:
        yield model


@pytest.fixture(scope="module")
def reranker() -> Iterator[LLM]:
    with pooled_llm(RERANKER) as model:
        yield model


def test_texts_are_cut_and_embedded_in_their_order(embedder: LLM) -> None:
    found = embedder.embed(TEXTS)
    cut = ["the cat sat", "a dog ran on", "red", "the cat sat on"]
    expected = np.stack([expected_embedding(f"[CLS] {text} [SEP]") for text in cut])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(embedder.embed(TEXTS[2]), found[2:3])


def test_many_texts_take_several_steps(embedder: LLM) -> None:
    found = embedder.embed(TEXTS * 20)
    np.testing.assert_array_equal(found, np.tile(embedder.embed(TEXTS), (20, 1)))
    assert embedder.engine.state().kv_cache_usage == 0


def test_token_ids_are_taken_as_they_are(embedder: LLM) -> None:
    [found] = embedder.embed([[6, 7]])
    np.testing.assert_allclose(found, expected_embedding("cat dog"), rtol=1e-6)
    with pytest.raises(RequestError, match="leaves room for 24"):
        embedder.embed([[1] * 25])
    with pytest.raises(RequestError, match="no token 15"):
        embedder.embed([[15]])


def test_a_prompt_stands_before_the_text(embedder: LLM) -> None:
    [found] = embedder.embed("red cat", prompt_name="query")
    np.testing.assert_allclose(found, expected_embedding("[CLS] query: red cat [SEP]"), rtol=1e-6)
    with pytest.raises(RequestError, match="no prompt 'passage'"):
        embedder.embed("red", prompt_name="passage")


def test_fewer_dimensions_have_the_length_one_again(embedder: LLM) -> None:
    [whole], [short] = embedder.embed("red"), embedder.embed("red", dimensions=2)
    np.testing.assert_allclose(short, whole[:2] / np.linalg.norm(whole[:2]), rtol=1e-6)
    with pytest.raises(RequestError, match="5 is not possible"):
        embedder.embed("red", dimensions=5)


def test_an_embedder_scores_by_similarity(embedder: LLM) -> None:
    found = embedder.score("red cat", ["the mat", "blue"])
    query = expected_embedding("[CLS] query: red cat [SEP]")
    texts = [expected_embedding(f"[CLS] {text} [SEP]") for text in ("the mat", "blue")]
    np.testing.assert_allclose(found, [query @ text for text in texts], rtol=1e-5)


def test_a_cross_encoder_reads_pairs_with_their_token_types(reranker: LLM) -> None:
    pairs = [("red cat", "the mat"), ("red cat", "a dog ran on the mat")]
    found = reranker.score("red cat", [second for _, second in pairs])
    np.testing.assert_allclose(found, [expected_score(*pair) for pair in pairs], rtol=1e-5)
    one_by_one = reranker.score(["red cat", "a mat"], ["the mat", "blue"])
    np.testing.assert_allclose(one_by_one[1], expected_score("a mat", "blue"), rtol=1e-5)
    assert reranker.classify(["red", "blue cat"]).shape == (2, 1)
    with pytest.raises(RequestError, match="2 queries for 1"):
        reranker.score(["red", "blue"], ["cat"])


def test_a_model_refuses_what_it_was_not_made_for(embedder: LLM, reranker: LLM) -> None:
    with pytest.raises(RequestError, match="for the task embed, not generate"):
        embedder.generate("red")
    with pytest.raises(RequestError, match="for the task embed, not classify"):
        embedder.classify("red")
    with pytest.raises(RequestError, match="for the task classify, not embed"):
        reranker.embed("red")
    with pytest.raises(RequestError, match="for the task embed, not generate"):
        embedder.logits([1, 2])


def test_prompts_that_are_not_pooled_are_refused() -> None:
    with pooled_llm(replace(EMBEDDER, include_prompt=False)) as model:
        assert model.embed("red").shape == (1, WIDTH)
        with pytest.raises(RequestError, match="leaves prompts out"):
            model.embed("red", prompt_name="query")


class Daemon:
    """A daemon in a thread of this process."""

    def __init__(self, head: PooledHead) -> None:
        self.metrics = Metrics("toy")
        options = ServerOptions(port=0)
        self.model = pooled_llm(head, observer=self.metrics, options=EngineOptions(max_running=3))
        ready = threading.Event()

        def announce(url: str, stop: Callable[[], None]) -> None:
            self.url, self.stop = url, stop
            ready.set()

        self._thread = threading.Thread(
            target=serve,
            args=(self.model, options, self.metrics, bind(options)),
            kwargs={"ready": announce},
        )
        self._thread.start()
        assert ready.wait(10)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body)

    def close(self) -> None:
        self.stop()
        self._thread.join(30)


@pytest.fixture(scope="module")
def embedding_daemon() -> Iterator[Daemon]:
    daemon = Daemon(EMBEDDER)
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def scoring_daemon() -> Iterator[Daemon]:
    daemon = Daemon(RERANKER)
    yield daemon
    daemon.close()


def test_openais_client_gets_embeddings(embedding_daemon: Daemon, embedder: LLM) -> None:
    with openai.OpenAI(base_url=f"{embedding_daemon.url}/v1", api_key="none") as client:
        # The client asks for base64 by itself, and decodes it.
        answer = client.embeddings.create(model="toy", input=TEXTS * 3)
        plain = client.embeddings.create(model="toy", input="red", encoding_format="float")
        short = client.embeddings.create(model="toy", input=[[6, 7]], dimensions=2)
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="other", input="red")
    found = np.array([item.embedding for item in answer.data], np.float32)
    np.testing.assert_array_equal(found, embedder.embed(TEXTS * 3))
    assert [item.index for item in answer.data] == list(range(12))
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (60, 60)
    np.testing.assert_allclose(plain.data[0].embedding, embedder.embed("red")[0])
    np.testing.assert_allclose(short.data[0].embedding, embedder.embed([[6, 7]], dimensions=2)[0])


def test_base64_is_little_endian_float32(embedding_daemon: Daemon, embedder: LLM) -> None:
    body = {"input": ["red"], "encoding_format": "base64", "prompt_name": "query"}
    answer = embedding_daemon.post("/v1/embeddings", **body).json()
    data = base64.b64decode(answer["data"][0]["embedding"])
    np.testing.assert_array_equal(
        np.frombuffer(data, "<f4"), embedder.embed("red", prompt_name="query")[0]
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": []}, "input"),
        ({"input": ["red", 3]}, "input"),
        ({"input": [["red"]]}, "input"),
        ({"input": [[99]]}, "no token 99"),
        ({"input": "red", "dimensions": 5}, "dimensions"),
        ({"input": "red", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "red", "prompt_name": "none"}, "prompt_name"),
    ],
)
def test_bad_embedding_requests(embedding_daemon: Daemon, body: dict[str, Any], says: str) -> None:
    answer = embedding_daemon.post("/v1/embeddings", **body)
    assert answer.status_code == 400 and says in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_rerank(scoring_daemon: Daemon, reranker: LLM, path: str) -> None:
    documents = ["the mat", "blue", "a dog ran", "red red red"]
    answer = scoring_daemon.post(path, query="red cat", documents=documents, top_n=3).json()
    scores = reranker.score("red cat", documents)
    order = np.argsort(-scores)[:3].tolist()
    assert [result["index"] for result in answer["results"]] == order
    found = [result["relevance_score"] for result in answer["results"]]
    np.testing.assert_allclose(found, scores[order], rtol=1e-6)
    assert answer["results"][0]["document"] == {"text": documents[order[0]]}
    assert answer["usage"]["total_tokens"] == 4 * 5 + 2 + 1 + 3 + 3
    body = {"query": "red", "documents": [{"text": "cat"}], "return_documents": False}
    [result] = scoring_daemon.post(path, **body).json()["results"]
    assert set(result) == {"index", "relevance_score"}


def test_score(scoring_daemon: Daemon, embedding_daemon: Daemon, reranker: LLM) -> None:
    body = {"text_1": "red cat", "text_2": ["the mat", "blue"]}
    answer = scoring_daemon.post("/v1/score", **body).json()
    found = [item["score"] for item in answer["data"]]
    np.testing.assert_allclose(found, reranker.score("red cat", ["the mat", "blue"]), rtol=1e-6)
    assert scoring_daemon.post("/score", **body).json()["data"] == answer["data"]
    assert embedding_daemon.post("/v1/score", **body).status_code == 200
    uneven = scoring_daemon.post("/v1/score", text_1=["red", "cat"], text_2=["a", "b", "c"])
    assert uneven.status_code == 400


def test_other_tasks_are_answered_with_what_the_model_is_for(
    embedding_daemon: Daemon, scoring_daemon: Daemon
) -> None:
    messages = [{"role": "user", "content": "red"}]
    for path, body in (("chat/completions", {"messages": messages}), ("completions", {})):
        answer = embedding_daemon.post(f"/v1/{path}", **{"prompt": "red", **body})
        assert answer.status_code == 400
        assert "/v1/embeddings" in answer.json()["error"]["message"]
    answer = scoring_daemon.post("/v1/embeddings", input="red")
    assert answer.status_code == 400 and "/v1/rerank" in answer.json()["error"]["message"]
    models = httpx.get(f"{scoring_daemon.url}/v1/models").json()["data"]
    assert (models[0]["task"], models[0]["max_model_len"]) == ("classify", 12)


def test_tokens_of_texts_are_counted(embedding_daemon: Daemon) -> None:
    def count() -> float:
        name = 'ingot_prompt_tokens_total{model_name="toy"}'
        lines = httpx.get(f"{embedding_daemon.url}/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = count()
    embedding_daemon.post("/v1/embeddings", input=["red", "red cat"])
    assert count() - before == 3 + 4
