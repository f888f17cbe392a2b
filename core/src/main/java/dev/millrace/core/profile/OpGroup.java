package dev.millrace.core.profile;

import dev.millrace.core.graph.Op;

/** The groups that profiles add ops up in. */
public enum OpGroup {
    MATMUL,
    ATTENTION,
    NORM,
    ELEMENTWISE,
    MEMORY,
    SAMPLING,
    OTHER;

    /** The group an op counts in; a fused op counts where most of its work is. */
    public static OpGroup of(Op op) {
        return switch (op) {
            case Op.Linear l -> MATMUL;
            case Op.FusedLinear f -> MATMUL;
            case Op.Attention a -> ATTENTION;
            case Op.SelfAttention s -> ATTENTION;
            case Op.Norm n -> NORM;
            case Op.Rope r -> ELEMENTWISE;
            case Op.Activation a -> ELEMENTWISE;
            case Op.Gate g -> ELEMENTWISE;
            case Op.Add a -> ELEMENTWISE;
            case Op.Embed e -> MEMORY;
            case Op.EmbedSum e -> MEMORY;
            case Op.Permute p -> MEMORY;
            case Op.Select s -> MEMORY;
            case Op.Pool p -> OTHER;
        };
    }
}
