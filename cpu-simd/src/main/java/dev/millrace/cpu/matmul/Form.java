package dev.millrace.cpu.matmul;

/** In what form a format's kernels read activations. */
public enum Form {
    /** As they are. */
    FLOATS,
    /** A few as they are, many scaled, for {@link WinogradKernel}. */
    SCALED,
    /** Integers of 8 bits, as {@link NibbleFactors} has them beside int4 weights. */
    NIBBLES
}
