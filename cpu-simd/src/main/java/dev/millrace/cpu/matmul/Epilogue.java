package dev.millrace.cpu.matmul;

import dev.millrace.core.graph.Act;

/**
 * What happens to a linear map's sums before they are written: {@code act(sum + bias)}, in a gated map {@code
 * act(gate + bias) * (up + bias)}, and then the residual is added where the call gives one.
 *
 * @param bias one per row of all parts side by side, null for none
 * @param act null for none
 */
public record Epilogue(float[] bias, Act act) {
    public static final Epilogue NONE = new Epilogue(null, null);
}
