package dev.millrace.models.arch;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import java.util.Collection;
import java.util.List;
import java.util.Optional;

/** The tensors of a checkpoint, by the names Hugging Face gives them. */
interface TensorSource {
    /** The file or folder, for messages. */
    String origin();

    /** All tensors, in the order of the file. */
    Collection<String> names();

    default boolean has(String name) {
        return names().contains(name);
    }

    /**
     * A tensor as a matrix; a vector has one row.
     *
     * @param shape what the configuration asks for, which the caller compares
     * @throws dev.millrace.core.MillraceException when it is of a type that is no weight
     */
    Weight get(String name, Shape shape);

    /** What the checkpoint itself calls the tensor, for messages. */
    default String own(String name) {
        return name;
    }

    /** Whether linear layers of the GPT-2 family lie as [in, out], as Hugging Face's Conv1D keeps them. */
    boolean conv1d();

    /**
     * The weight [out, in] of a linear layer that GPTQ quantized.
     *
     * @param layer its tensors' common name, without {@code .qweight}
     * @return empty where the layer is an ordinary one
     */
    default Optional<Ordered> quantized(String layer) {
        return Optional.empty();
    }

    /**
     * A weight whose columns may stand in another order than its input.
     *
     * @param order column i belongs to input {@code order[i]}; empty where the order is the input's own
     * @param tensors the names it was made of
     */
    record Ordered(Weight weight, Optional<int[]> order, List<String> tensors) {}
}
