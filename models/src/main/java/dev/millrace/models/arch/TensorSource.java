package dev.millrace.models.arch;

import dev.millrace.core.tensor.Weight;
import java.util.Optional;
import java.util.Set;

/** The tensors of a checkpoint, by the names Hugging Face gives them. */
interface TensorSource {
    /** The file or folder, for messages. */
    String origin();

    /** All tensors, in the order of the file, in {@link #get}'s names. */
    Set<String> names();

    /**
     * A tensor as a matrix; a vector has one row.
     *
     * @throws dev.millrace.core.MillraceException when it is no float or block tensor of one or two dimensions
     */
    Weight get(String name);

    /** Whether linear layers of the GPT-2 family lie as [in, out], as Hugging Face's Conv1D keeps them. */
    boolean conv1d();

    /**
     * The weight [out, in] of a linear layer that GPTQ quantized.
     *
     * @param layer its tensors' common name, without {@code .qweight}
     * @return empty where the layer is an ordinary one
     */
    Optional<Ordered> quantized(String layer);

    /**
     * A weight whose columns stand in another order than its input.
     *
     * @param order column i belongs to input {@code order[i]}; null where the order is the input's own
     * @param tensors the names it was made of
     */
    record Ordered(Weight weight, int[] order, Set<String> tensors) {}
}
