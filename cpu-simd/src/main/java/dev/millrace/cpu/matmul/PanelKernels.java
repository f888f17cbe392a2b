package dev.millrace.cpu.matmul;

import java.lang.foreign.MemorySegment;

/** One weight format: how a panel of it lies in memory, and the kernels that read it. Stateless. */
sealed interface PanelKernels permits UnpackedKernels, Q4Panels {
    /** Bytes of a panel with {@code inputs} columns. */
    long panelBytes(int inputs);

    /**
     * Lays out a panel.
     *
     * @param source {@link Panel#ROWS} rows in the checkpoint's layout, one after another
     * @param target address of the panel
     */
    void pack(MemorySegment source, int inputs, long target);

    /** The form in which they read activations. */
    Form form();
}
