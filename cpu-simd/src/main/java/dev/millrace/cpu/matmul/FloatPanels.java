package dev.millrace.cpu.matmul;

/** Panels whose weights are floats of some width: a few tokens take them four at a time, as they are. */
sealed interface FloatPanels extends UnpackedKernels permits F32Panels, F16Panels, Bf16Panels {
    /**
     * y = W x for four tokens: each weight is loaded and widened once for four multiply-adds.
     *
     * @param x0 where the first token's columns begin in {@code x}; the others' likewise
     * @param y gets [token][Panel.ROWS] sums from {@code yAt}
     */
    void four(long panel, int inputs, float[] x, int x0, int x1, int x2, int x3, float[] y, int yAt);

    @Override
    default Form form() {
        return Form.FLOATS;
    }

    @Override
    default void few(long panel, int inputs, Activations x, float[] y) {
        Rows rows = x.rows;
        int last = x.tokens - 1;
        for (int t = 0; t < x.tokens; t += 4) {
            // what there are less than four, the last one makes up for
            int x1 = rows.at(Math.min(t + 1, last));
            int x2 = rows.at(Math.min(t + 2, last));
            int x3 = rows.at(Math.min(t + 3, last));
            four(panel, inputs, rows.data(), rows.at(t), x1, x2, x3, y, t * Panel.ROWS);
        }
    }
}
