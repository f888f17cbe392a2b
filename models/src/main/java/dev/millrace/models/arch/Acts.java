package dev.millrace.models.arch;

import dev.millrace.core.graph.Act;

/** Activation functions by the names Hugging Face gives them. */
final class Acts {
    private Acts() {}

    /** The function under {@code key}. */
    static Act read(Settings settings, String key, String otherwise) {
        return switch (settings.text(key, otherwise)) {
            case "gelu", "gelu_python" -> Act.GELU;
            case "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "gelu_python_tanh" -> Act.GELU_TANH;
            case "relu" -> Act.RELU;
            case "silu", "swish" -> Act.SILU;
            case "tanh" -> Act.TANH;
            default -> throw settings.wrong(key, "gelu, gelu_new, gelu_pytorch_tanh, relu, silu or tanh");
        };
    }
}
