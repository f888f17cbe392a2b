package dev.millrace.cpu.matmul;

/** Formats of which a panel is unpacked, some columns at a time, for a kernel that multiplies many tokens. */
sealed interface UnpackedKernels extends PanelKernels permits FloatPanels, Q8Panels {
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
     * @param token which of {@code x}'s tokens; as rows
     * @param y gets {@link Panel#ROWS} sums from {@code yAt}
     */
    void gemv(long panel, int inputs, Activations x, int token, float[] y, int yAt);

    /**
     * y = W x for a few tokens, more than one, each of which gets the same bits as from {@link #gemv}.
     *
     * @param y gets [token][Panel.ROWS] sums; what is in the rows up to the next multiple of four may be lost
     */
    default void few(long panel, int inputs, Activations x, float[] y) {
        for (int t = 0; t < x.tokens; t++) {
            gemv(panel, inputs, x, t, y, t * Panel.ROWS);
        }
    }
}
