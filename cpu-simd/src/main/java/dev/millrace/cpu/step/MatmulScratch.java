package dev.millrace.cpu.step;

import dev.millrace.cpu.matmul.Activations;
import dev.millrace.cpu.matmul.Form;
import java.util.Set;

/** The work space that all linear steps share, made again when more tokens come at once than ever before. */
public final class MatmulScratch implements AutoCloseable {
    private final int inputs;
    private final int workers;
    private final Set<Form> forms;
    private final Buffer normalized;
    private Activations activations;

    /**
     * @param inputs most inputs of any linear map
     * @param normalizedInputs most inputs of any linear map with a norm before it
     * @param forms in which the linear maps read activations
     */
    public MatmulScratch(int inputs, int normalizedInputs, int workers, Set<Form> forms) {
        this.inputs = inputs;
        this.workers = workers;
        this.forms = forms;
        this.normalized = new Buffer(normalizedInputs);
    }

    /** Makes room for {@code tokens} rows. */
    public void ensure(int tokens) {
        normalized.ensure(tokens);
        if (activations == null || activations.maxTokens < tokens) {
            close();
            activations = new Activations(tokens, inputs, workers, forms);
        }
    }

    Activations activations() {
        return activations;
    }

    /** Where norms leave the input of the linear map behind them. */
    Buffer normalized() {
        return normalized;
    }

    public long bytes() {
        return normalized.bytes() + (activations == null ? 0 : activations.bytes());
    }

    @Override
    public void close() {
        if (activations != null) {
            activations.close();
            activations = null;
        }
    }
}
