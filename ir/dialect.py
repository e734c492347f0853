"""The `lm` dialect and its two types: encoded tensors, and the batch of a step."""

from .encoding import Encoding
from .mlir import Context, RankedTensorType, StringAttr, TypeAttr, announce_dialect, ext

announce_dialect("lm")


class LM(ext.Dialect, name="lm"):  # type: ignore[misc, call-arg]
    """The dialect itself; `new_context` loads it."""


class Quant(LM.Type, name="quant"):  # type: ignore[misc, name-defined, call-arg]
    """`!lm.quant<tensor<NxKxf32>, "int4-g32">`: a tensor stored in an encoding."""

    tensor_attribute: TypeAttr
    encoding_attribute: StringAttr

    @classmethod
    def of(cls, logical: RankedTensorType, encoding: Encoding | str) -> "Quant":
        """Return the type of `logical` stored in `encoding`."""
        context = logical.context
        name = StringAttr.get(str(encoding), context)
        quant = cls.get(TypeAttr.get(logical, context), name, context=context)
        assert isinstance(quant, Quant)
        return quant

    @property
    def logical(self) -> RankedTensorType:
        """The tensor that the stored form stands for."""
        return RankedTensorType(TypeAttr(self.tensor_attribute).value)

    @property
    def encoding(self) -> Encoding:
        """How it is stored; raises ValueError for a name that is not known."""
        return Encoding.parse(StringAttr(self.encoding_attribute).value)


class BatchType(LM.Type, name="batch"):  # type: ignore[misc, name-defined, call-arg]
    """`!lm.batch`: everything about a step that is not a tensor of the model."""

    @classmethod
    def of(cls, context: Context) -> "BatchType":
        """Return the type in `context`."""
        batch = cls.get(context=context)
        assert isinstance(batch, BatchType)
        return batch
