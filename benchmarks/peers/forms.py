"""The forms in which each runtime holds a model: what is made, by which options, at which width."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One way of one runtime to store a model.

    `file` is the file or folder of the converted model, which two forms may share; `make` are the
    options of the conversion and `run` those at run time.
    """

    name: str
    peer: str
    width: str
    file: str
    make: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


def _llama(kind: str, width: str) -> tuple[Form, ...]:
    file = f"llama.cpp-{kind}.gguf"
    return tuple(
        Form(f"llama.cpp-{kind}{suffix}", "llama.cpp", width, file, (kind.upper(),), ("-fa", flash))
        for suffix, flash in (("", "off"), ("-flash", "on"))
    )


def _openvino(name: str, width: str, *options: str) -> Form:
    return Form(f"openvino-{name}", "openvino", width, f"openvino-{name}", options)


def _ingot(name: str, width: str, *options: str) -> Form:
    return Form(f"ingot-{name}", "ingot", width, f"ingot-{name}.ingot", options)


INT4 = ("--weight-format", "int4", "--sym", "--group-size", "128", "--ratio", "1.0")
FORMS = (
    _ingot("int4", "int4", "--quantize", "int4-g32-sym", "--embedding", "same"),
    _ingot("int4-head8", "int4", "--quantize", "int4-g32", "--embedding", "int8"),
    _ingot("int8", "int8", "--quantize", "int8", "--embedding", "int8"),
    _ingot("bf16", "bf16", "--quantize", "none", "--embedding", "none"),
    *_llama("q4_0", "int4"),
    *_llama("q8_0", "int8"),
    *_llama("bf16", "bf16"),
    _openvino("int4all", "int4", *INT4, "--all-layers"),
    _openvino("int4", "int4", *INT4),
    _openvino("int8", "int8", "--weight-format", "int8"),
    _openvino("bf16", "bf16", "--weight-format", "fp16"),
    Form("ort-int4", "ort", "int4", "ort-int4"),
)
OURS = {"int4": "ingot-int4", "int8": "ingot-int8", "bf16": "ingot-bf16"}
"""The form of each width that the bars are about; `int4` has 4.5 bits a weight, in all layers."""
WIDTHS = ("int4", "int8", "bf16")
