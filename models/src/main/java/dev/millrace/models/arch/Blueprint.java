package dev.millrace.models.arch;

/**
 * A model of one architecture whose configuration was read: it knows which tensors it has and which graph they make.
 * A new architecture is one record that implements this, and its line in {@link Architectures}.
 */
interface Blueprint {
    ModelConfig config();

    /** Names every tensor the graph needs, with the shape the configuration asks for. */
    void bind(Binder tensors);

    /** Adds the nodes, after {@link #bind}; weights are named by their node's path. */
    void build(Blocks graph);
}
