package dev.millrace.cpu.matmul;

import java.lang.foreign.MemorySegment;

/** One weight format: how a panel of it lies in memory, and the kernels that read it. Stateless. */
sealed interface PanelKernels permits F32Panels, F16Panels, Bf16Panels, Q8Panels, Q4Panels {
    /** Bytes of a panel with {@code inputs} columns. */
    long panelBytes(int inputs);

    /**
     * Lays out a panel.
     *
     * @param source {@link Panel#ROWS} rows in the checkpoint's layout, one after another
     * @param target address of the panel
     */
    void pack(MemorySegment source, int inputs, long target);

    /**
     * y = W x for the rows of {@code panels} panels that follow each other at {@code weights}.
     *
     * @param y gets {@link Panel#ROWS} values for each panel from {@code yAt}
     */
    void gemv(long weights, int panels, int inputs, Activations x, float[] y, int yAt);

    /** Writes columns [from, to) of a panel as floats, column after column, to address {@code target}. */
    void unpack(long panel, int from, int to, long target);
}
