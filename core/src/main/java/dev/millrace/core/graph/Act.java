package dev.millrace.core.graph;

/** Elementwise activation functions, named as in the field. */
public enum Act {
    /** x * Phi(x), with the exact error function (Hendrycks and Gimpel, 2016). */
    GELU,
    /** The tanh approximation of GELU: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); Hugging Face's gelu_new. */
    GELU_TANH,
    RELU,
    /** x * sigmoid(x), also called swish. */
    SILU,
    TANH
}
