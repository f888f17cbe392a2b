package dev.millrace.quant;

import dev.millrace.core.tensor.WeightFormat;

/** The codec of every format. */
public final class Codecs {
    private Codecs() {}

    public static BlockCodec of(WeightFormat format) {
        return switch (format) {
            case F32 -> FloatCodecs.F32;
            case F16 -> FloatCodecs.F16;
            case BF16 -> FloatCodecs.BF16;
            case Q4_0 -> FourBit.Q4_0;
            case Q4_1 -> FourBit.Q4_1;
            case Q5_0 -> FiveBit.Q5_0;
            case Q5_1 -> FiveBit.Q5_1;
            case Q8_0 -> EightBit.Q8_0;
            case Q2_K -> SuperBlock.Q2_K;
            case Q3_K -> SuperBlock.Q3_K;
            case Q4_K -> SuperBlockMin.Q4_K;
            case Q5_K -> SuperBlockMin.Q5_K;
            case Q6_K -> SuperBlock.Q6_K;
            case IQ4_NL -> NonLinear.IQ4_NL;
            case IQ4_XS -> NonLinear.IQ4_XS;
        };
    }
}
