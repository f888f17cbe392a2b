package dev.millrace.cpu.matmul;

/** Formats of which a panel is unpacked, some columns at a time, for a kernel that multiplies many tokens. */
sealed interface UnpackedKernels extends PanelKernels permits F32Panels, F16Panels, Bf16Panels, Q8Panels {
    /**
     * Writes columns [from, to) of a panel to address {@code target} in the form that the kernel for many tokens reads:
     * for {@link Microkernel} floats, column after column, for {@link WinogradKernel} its blocks.
     *
     * @return where they are: {@code target}, or where they lie in that form already
     */
    long unpack(long panel, int from, int to, long target);

    /**
     * y = W x for one token.
     *
     * @param panel address of a panel
     * @param token which of {@code x}'s tokens; it holds a few ({@link Activations#FEW})
     * @param y gets {@link Panel#ROWS} sums from {@code yAt}
     */
    void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt);
}
