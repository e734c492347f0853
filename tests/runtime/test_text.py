"""Tokens to text and back: incremental decoding, stop strings, chat templates, defaults."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ArtifactError, RequestError
from ingot.runtime.sampling import SamplingParams
from ingot.runtime.text import (
    ChatTemplate,
    Detokenizer,
    ModelText,
    StopMatcher,
    TextStream,
    Tokenizer,
    load_chat_template,
    read_generation_config,
)

from .conftest import byte_level, sentence_piece

TEXTS = [
    "Hello, world!",
    "naïve café / 北京 🏳️‍🌈 👩🏽‍🚀 𓀀𓁐",
    "a � b",
    "  leading and   inner spaces\n\ttabs\r\n",
]


TOKENIZERS = {"byte_level": byte_level(), "sentence_piece": sentence_piece()}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TOKENIZERS[request.param]


@pytest.mark.parametrize("text", TEXTS)
def test_streaming_gives_the_whole_text(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    stream = Detokenizer(tokenizer)
    pieces = [stream.push(token) for token in tokens] + [stream.flush()]
    assert "".join(pieces) == tokenizer.decode(tokens)
    assert "".join(pieces).strip() == text.strip()
    whole = [piece for piece in pieces if piece]
    if "�" not in text:
        assert "�" not in "".join(whole) and len(whole) > len(text) // 3


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40), cut=st.integers(0, 60))
def test_a_continuation_is_what_the_whole_text_adds(name: str, text: str, cut: int) -> None:
    tokenizer = TOKENIZERS[name]
    tokens = tokenizer.encode(text)
    prompt, output = tokens[:cut], tokens[cut:]
    before = tokenizer.decode(prompt)
    if before.endswith("�"):
        prompt, output, before = [], tokens, ""
    stream = Detokenizer(tokenizer, prompt)
    added = "".join(stream.push(token) for token in output) + stream.flush()
    assert before + added == tokenizer.decode(tokens)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 260), max_size=40))
def test_any_bytes_come_out_as_the_decoder_has_them(tokens: list[int]) -> None:
    tokenizer = TOKENIZERS["byte_level"]
    stream = Detokenizer(tokenizer)
    text = "".join(stream.push(token) for token in tokens) + stream.flush()
    assert text == tokenizer.decode(tokens)


def test_a_run_of_special_tokens_does_not_pile_up() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    end = tokenizer.encode("</s>")
    assert len(end) == 1
    stream = Detokenizer(tokenizer)
    assert "".join(stream.push(end[0]) for _ in range(1000)) == ""
    assert len(stream._window) < 100
    assert stream.push(tokenizer.encode("x")[0]) == "x"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("abc", max_size=4), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_are_found_however_the_text_is_cut(
    pieces: list[str], stops: list[str]
) -> None:
    text = "".join(pieces)
    matcher = StopMatcher(stops)
    shown, stopped = "", False
    for index, piece in enumerate(pieces):
        delta, stopped = matcher.push(piece)
        shown += delta
        so_far = "".join(pieces[: index + 1])
        assert stopped == any(stop in so_far for stop in stops)
        if stopped:
            break
    else:
        shown += matcher.flush()
    ends = (
        [text.find(stop) for stop in stops if stop in "".join(pieces[: index + 1])]
        if pieces
        else []
    )
    assert shown == (text[: min(ends)] if ends else text)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    matcher = StopMatcher(["END"])
    assert matcher.push("the E") == ("the ", False)
    assert matcher.push("N") == ("", False)
    assert matcher.push("T") == ("ENT", False)
    assert matcher.push("xEN") == ("x", False)
    assert matcher.push("D more") == ("", True)


def test_a_stream_cuts_at_a_stop_string_and_flushes_the_rest() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    stream = TextStream(tokenizer, [], ["wor"])
    shown = ""
    for token in tokenizer.encode("Hello world"):
        delta, stopped = stream.push(token)
        shown += delta
        if stopped:
            break
    assert shown == "Hello " and stopped
    stream = TextStream(tokenizer, [], ["worst"])
    shown = "".join(stream.push(token)[0] for token in tokenizer.encode("Hello wor"))
    assert shown == "Hello " and stream.flush() == "wor"


def test_special_tokens_are_added_to_texts_and_left_out_of_output() -> None:
    tokenizer = TOKENIZERS["sentence_piece"]
    assert tokenizer.encode("ab")[0] == 1
    assert tokenizer.encode("ab", add_special_tokens=False)[0] != 1
    assert tokenizer.decode(tokenizer.encode("ab")) == "ab"
    assert tokenizer.decode(tokenizer.encode("ab"), skip_special_tokens=False).startswith("<s>")


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
RICH = (
    "{{ bos_token }}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}\n"
    "{%- for message in messages %}\n"
    "  {%- if message.role == 'system' and not loop.first %}\n"
    "    {{- raise_exception('system comes first') }}\n"
    "  {%- elif message.role == 'skip' %}{% continue %}\n"
    "  {%- endif %}\n"
    "{% generation %}[{{ message.role }}] {{ message.content | trim }}{% endgeneration %}\n"
    "{%- endfor %}\n"
    "{{ documents | tojson }} {{ strftime_now('%Y') | length }}\n"
)
MESSAGES = [
    {"role": "system", "content": " Be <brief> & 'kind' "},
    {"role": "skip", "content": "no"},
    {"role": "user", "content": "naïve?"},
]


@pytest.mark.parametrize("source", [CHATML, RICH])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_templates_render_as_transformers_renders_them(
    source: str, add_generation_prompt: bool
) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    tools = [{"type": "function", "function": {"name": "f<x>", "description": "é"}}]
    documents = [{"title": "t", "text": "d & e"}]
    [expected], _ = render_jinja_template(
        conversations=[MESSAGES],
        chat_template=source,
        tools=tools,
        documents=documents,
        add_generation_prompt=add_generation_prompt,
        bos_token="<s>",
    )
    rendered = ChatTemplate(source).render(
        MESSAGES,
        special_tokens={"bos_token": "<s>"},
        tools=tools,
        documents=documents,
        add_generation_prompt=add_generation_prompt,
    )
    assert rendered == expected and "Be <brief>" in rendered


def test_what_a_template_refuses_is_a_bad_request() -> None:
    with pytest.raises(RequestError, match="system comes first"):
        ChatTemplate(RICH).render(
            [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
            special_tokens={},
        )
    with pytest.raises(RequestError, match="refuses these messages"):
        ChatTemplate(CHATML).render([{"role": "user", "content": 3}], special_tokens={})
    with pytest.raises(ArtifactError, match="is not valid"):
        ChatTemplate("{% for %}").check()


def test_a_template_cannot_reach_python() -> None:
    escape = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(RequestError, match="unsafe"):
        ChatTemplate(escape).render([{"role": "user", "content": "a"}], special_tokens={})
    with pytest.raises(RequestError):
        ChatTemplate("{{ messages.append(1) }}").render([{"role": "u"}], special_tokens={})


def write(folder: Path, name: str, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / name).write_text(text, encoding="utf-8")


def test_where_a_template_is_found(tmp_path: Path) -> None:
    assert load_chat_template(tmp_path) is None
    named = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named})
    template = load_chat_template(tmp_path)
    assert template is not None and template.render([], special_tokens={}) == "d"
    write(tmp_path, "chat_template.jinja", "file")
    template = load_chat_template(tmp_path)
    assert template is not None and template.render([], special_tokens={}) == "file"


def test_the_text_of_a_folder(tmp_path: Path) -> None:
    TOKENIZERS["byte_level"]._backend.save(str(tmp_path / "tokenizer.json"))
    write(tmp_path, "tokenizer_config.json", {"eos_token": {"content": "</s>"}, "bos_token": None})
    write(tmp_path, "config.json", {"eos_token_id": 7})
    write(tmp_path, "generation_config.json", {"do_sample": True, "temperature": 0.6, "top_p": 0.9})
    text = ModelText.from_folder(tmp_path)
    assert text.tokenizer is not None and text.tokenizer.eos_id in text.defaults.end_ids
    assert text.defaults.end_ids == {7, text.tokenizer.eos_id}
    assert text.defaults.params == SamplingParams(max_tokens=None, temperature=0.6, top_p=0.9)
    assert text.encode("Hi") == text.tokenizer.encode("Hi") and text.encode([1, 2]) == [1, 2]
    with pytest.raises(RequestError, match="no chat template"):
        text.encode_chat(MESSAGES)
    with pytest.raises(RequestError, match="list of token ids"):
        text.encode([1.5])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="no tokenizer"):
        ModelText().encode("text")


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer.json", "{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        ModelText.from_folder(tmp_path)
    write(tmp_path, "generation_config.json", "[1")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"generation_config\.json: is no JSON object"):
        ModelText.from_folder(tmp_path)


def test_generation_defaults() -> None:
    greedy = read_generation_config({"eos_token_id": [1, 2], "top_p": 0.5}, eos_id=3)
    assert greedy.end_ids == {1, 2, 3}
    assert greedy.params == SamplingParams(max_tokens=None, temperature=0.0)
    said = read_generation_config({"do_sample": False, "temperature": 0.7, "max_new_tokens": 9})
    assert said.params == SamplingParams(max_tokens=9, temperature=0.0)
    assert read_generation_config({"temperature": 0.7}).params.temperature == 0.7
    with pytest.raises(ArtifactError, match="temperature"):
        read_generation_config({"temperature": -1})
    with pytest.raises(ArtifactError, match="is no token id"):
        read_generation_config({"eos_token_id": "x"})
