// Whether multiplying bfloat16 by `vdpbf16ps` pays on this processor.
#pragma once

namespace ingot {

// How many times as many products a second one core adds by `vdpbf16ps` as by fused multiply-adds
// of float32, both 512 bits wide: about 2 on some processors, about 0.5 on others; 0 without the
// instruction.  Takes about a millisecond; whoever disturbs it disturbs both.
double bf16_speed();

}  // namespace ingot
